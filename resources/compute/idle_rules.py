"""Rules for idle compute and orphaned jobs: pure functions over repeated checks.

Clocks of two machines are never compared: a lease is live if it was seen to change within its
expiry time, by the clock of the machine that checks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from resources.compute.usage_lease import EXPIRY_SECONDS
from resources.settings.profile import Unused


@dataclass(frozen=True)
class ComputeUsage:
    """The usage of compute at one moment.

    Args:
        at: seconds since 1970 UTC.
        set_up: there are queues or environments.
        live_jobs: names of jobs that have not ended, by job id.
        leases: see `usage_lease.list_leases`.
        launched_jobs: ids of live jobs of unfinished launches of cameras known on this machine, by
            the folder of the camera's leases.
    """

    at: float
    set_up: bool
    live_jobs: Mapping[str, str]
    leases: Mapping[str, int]
    launched_jobs: Mapping[str, frozenset[str]]


class LeaseRenewal(BaseModel):
    """The last renewal of a lease, and when a check first saw it (seconds since 1970 UTC)."""

    model_config = ConfigDict(frozen=True)

    renewed_ns: int
    seen_at: float


class IdleState(BaseModel):
    """The state between checks; its JSON is the cursor of the sensor.

    Args:
        version: of the stored form; release 0.1.0 stores none.
        unused_since: start of the idle time; None if compute is in use or not set up.
        unwatched_since: start of the time in which no run monitors a camera's jobs, by the folder
            of the camera's leases.
        leases: last renewals, by key.
    """

    model_config = ConfigDict(frozen=True, validate_by_name=True, serialize_by_alias=True)

    version: Literal[1] = 1
    unused_since: float | None = None
    unwatched_since: dict[str, float] = {}
    leases: dict[str, LeaseRenewal] = Field(
        default_factory=dict, validation_alias="holds", serialization_alias="holds"
    )

    @classmethod
    def read(cls, cursor: str | None) -> "tuple[IdleState, str]":
        """Return the state of a cursor; a new one, and the reason, if it cannot be read."""
        try:
            return (cls.model_validate_json(cursor) if cursor else cls()), ""
        except ValidationError as error:
            first = error.errors()[0]
            return cls(), f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip()

    def not_after(self, now: float) -> "IdleState":
        """Return the state without future times, which it has if the time was set back."""
        return IdleState(
            unused_since=None if self.unused_since is None else min(self.unused_since, now),
            unwatched_since={key: min(since, now) for key, since in self.unwatched_since.items()},
            leases={
                key: LeaseRenewal(renewed_ns=each.renewed_ns, seen_at=min(each.seen_at, now))
                for key, each in self.leases.items()
            },
        )


@dataclass(frozen=True)
class CleanupDecision:
    """The decision after a check.

    Args:
        tear_down: tear the compute down.
        end_jobs: names of orphaned jobs to terminate, by job id.
        summary: the usage as a sentence.
        expired_leases: leases of runs that have died: last renewal, by key.
    """

    tear_down: bool
    end_jobs: Mapping[str, str]
    summary: str
    expired_leases: Mapping[str, int]


def decide_cleanup(
    state: IdleState, usage: ComputeUsage, rules: Unused, after_sleep: bool = False
) -> tuple[IdleState, CleanupDecision]:
    """Return the next state and the decision after a check.

    Args:
        state: of the checks before.
        after_sleep: the machine that checks was asleep: earlier checks say nothing of the time
            between, so all times start again.

    - Compute is idle while there is no live job and no live lease. After
      `tear_down_after_minutes` it is torn down.
    - A job is orphaned while its camera has no live lease. After `end_jobs_after_minutes` it is
      terminated; its finished work is in the journal.
    - A job of a camera that is not known on this machine belongs to another machine: it is left
      alone, and counts as usage.
    """
    if after_sleep:
        state = IdleState(leases=state.leases)
    state = state.not_after(usage.at)
    leases = {
        key: _renewal(state.leases.get(key), ns, usage.at) for key, ns in usage.leases.items()
    }
    live = {key for key, each in leases.items() if usage.at - each.seen_at < EXPIRY_SECONDS}
    watched = {key.partition("/")[0] for key in live}
    idle = usage.set_up and not usage.live_jobs and not live
    since = usage.at if state.unused_since is None else state.unused_since
    state = IdleState(
        unused_since=since if idle else None,
        unwatched_since={
            folder: state.unwatched_since.get(folder, usage.at)
            for folder, jobs in usage.launched_jobs.items()
            if jobs and folder not in watched
        },
        leases=leases,
    )
    expired = {key: usage.leases[key] for key in leases.keys() - live}
    return state, _decision(state, usage, rules, len(live), expired)


def _renewal(before: LeaseRenewal | None, renewed_ns: int, now: float) -> LeaseRenewal:
    if before is not None and before.renewed_ns == renewed_ns:
        return before
    return LeaseRenewal(renewed_ns=renewed_ns, seen_at=now)


def _decision(
    state: IdleState,
    usage: ComputeUsage,
    rules: Unused,
    live_leases: int,
    expired: Mapping[str, int],
) -> CleanupDecision:
    orphans = {
        job: usage.live_jobs[job]
        for folder, since in state.unwatched_since.items()
        if _is_over(since, usage.at, rules.end_jobs_after_minutes)
        for job in usage.launched_jobs[folder]
        if job in usage.live_jobs
    }
    tear_down = state.unused_since is not None and _is_over(
        state.unused_since, usage.at, rules.tear_down_after_minutes
    )
    return CleanupDecision(tear_down, orphans, _summary(state, usage, live_leases), expired)


def _is_over(since: float, now: float, minutes: float | None) -> bool:
    return minutes is not None and now - since >= minutes * 60


def _summary(state: IdleState, usage: ComputeUsage, live_leases: int) -> str:
    if not usage.set_up:
        return "nothing is set up"
    if state.unused_since is not None:
        return f"unused for {_minutes(state.unused_since, usage.at)} minutes"
    parts = [f"{len(usage.live_jobs)} jobs have not ended, {live_leases} runs use the queues"]
    for folder, since in state.unwatched_since.items():
        names = ", ".join(sorted(usage.live_jobs[job] for job in usage.launched_jobs[folder]))
        parts.append(f"no run has monitored {names} for {_minutes(since, usage.at)} minutes")
    known = {job for jobs in usage.launched_jobs.values() for job in jobs}
    if others := usage.live_jobs.keys() - known:
        names = ", ".join(sorted(usage.live_jobs[job] for job in others))
        parts.append(f"left alone, since their cameras are not known on this machine: {names}")
    return "; ".join(parts)


def _minutes(since: float, now: float) -> int:
    return int((now - since) / 60)
