"""When compute is unused, and when a job's run is gone: pure rules over repeated looks.

Nobody compares two machines' clocks: a hold is that of a living run if it was seen to change within
its time, by the clock of the one who looks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from resources.compute.usage_lease import EXPIRY_SECONDS
from resources.settings.profile import Unused


@dataclass(frozen=True)
class ComputeUsage:
    """What there is at one moment.

    Args:
        at: seconds since 1970 UTC.
        set_up: there are queues or environments.
        live_jobs: names of jobs that have not ended, by their ids.
        holds: see `compute_hold.holds_in`.
        launches: ids of live jobs that belong to unfinished launches of cameras known here, by the
            folder of the camera's holds.
    """

    at: float
    set_up: bool
    live_jobs: Mapping[str, str]
    holds: Mapping[str, int]
    launches: Mapping[str, frozenset[str]]


class LeaseRenewal(BaseModel):
    """A hold as it was last seen to change."""

    model_config = ConfigDict(frozen=True)

    renewed_ns: int
    seen_at: float


class IdleState(BaseModel):
    """What earlier looks have left.

    Args:
        unused_since: nothing has used the compute since; None: something does, or there is none.
        unwatched_since: no run has watched a camera's jobs since, by the folder of its holds.
    """

    model_config = ConfigDict(frozen=True)

    unused_since: float | None = None
    unwatched_since: dict[str, float] = {}
    holds: dict[str, LeaseRenewal] = {}


@dataclass(frozen=True)
class CleanupDecision:
    """What is to be done.

    Args:
        tear_down: take the compute away.
        end_jobs: names of jobs whose runs are gone, to be terminated, by their ids.
        says: what was seen, for people.
        dead: holds of runs that are gone.
    """

    tear_down: bool
    end_jobs: Mapping[str, str]
    says: str
    dead: Mapping[str, int]


def decide_cleanup(
    memory: IdleState, look: ComputeUsage, rules: Unused, overslept: bool = False
) -> tuple[IdleState, CleanupDecision]:
    """What a look means after the looks before it.

    Args:
        overslept: whoever looks was away for long: what was seen before says nothing of the time
            between, and all times begin anew.

    - Compute is unused while there is no job that has not ended and no living hold. After
      `tear_down_after_minutes` it is taken away.
    - A job is orphaned while no living hold of its camera is there. After
      `end_jobs_after_minutes` it is terminated; what it finished is in the journal.
    - A job of no camera that is known here is another machine's: it is left alone, and keeps the
      compute up.
    """
    if overslept:
        memory = IdleState(holds=memory.holds)
    holds = {key: _seen(memory.holds.get(key), ns, look.at) for key, ns in look.holds.items()}
    living = {key for key, seen in holds.items() if look.at - seen.seen_at < EXPIRY_SECONDS}
    watched = {key.partition("/")[0] for key in living}
    unused = look.set_up and not look.live_jobs and not living
    since = look.at if memory.unused_since is None else memory.unused_since
    memory = IdleState(
        unused_since=since if unused else None,
        unwatched_since={
            place: memory.unwatched_since.get(place, look.at)
            for place, jobs in look.launches.items()
            if jobs and place not in watched
        },
        holds=holds,
    )
    dead = {key: look.holds[key] for key in holds.keys() - living}
    return memory, _verdict(memory, look, rules, len(living), dead)


def _seen(before: LeaseRenewal | None, renewed_ns: int, now: float) -> LeaseRenewal:
    if before is not None and before.renewed_ns == renewed_ns:
        return before
    return LeaseRenewal(renewed_ns=renewed_ns, seen_at=now)


def _verdict(
    memory: IdleState, look: ComputeUsage, rules: Unused, living: int, dead: Mapping[str, int]
) -> CleanupDecision:
    orphans = {
        job: look.live_jobs[job]
        for place, since in memory.unwatched_since.items()
        if _is_over(since, look.at, rules.end_jobs_after_minutes)
        for job in look.launches[place]
        if job in look.live_jobs
    }
    tear_down = memory.unused_since is not None and _is_over(
        memory.unused_since, look.at, rules.tear_down_after_minutes
    )
    return CleanupDecision(tear_down, orphans, _says(memory, look, living), dead)


def _is_over(since: float, now: float, minutes: float | None) -> bool:
    return minutes is not None and now - since >= minutes * 60


def _says(memory: IdleState, look: ComputeUsage, living: int) -> str:
    if not look.set_up:
        return "nothing is set up"
    if memory.unused_since is not None:
        return f"unused for {_minutes(memory.unused_since, look.at)} minutes"
    told = [f"{len(look.live_jobs)} jobs have not ended, {living} runs use the queues"]
    for place, since in memory.unwatched_since.items():
        names = ", ".join(sorted(look.live_jobs[job] for job in look.launches[place]))
        told.append(f"no run has watched {names} for {_minutes(since, look.at)} minutes")
    strangers = look.live_jobs.keys() - {job for jobs in look.launches.values() for job in jobs}
    if strangers:
        names = ", ".join(sorted(look.live_jobs[job] for job in strangers))
        told.append(f"of no camera known here, so left alone: {names}")
    return "; ".join(told)


def _minutes(since: float, now: float) -> int:
    return int((now - since) / 60)
