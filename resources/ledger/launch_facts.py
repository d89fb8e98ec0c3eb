"""What is known of a launch besides its record: its machines, all jobs on them, the prices.

Kept as LAUNCH.json beside the launch's rows, since AWS forgets machines within an hour, jobs
within days, and prices within months. Rows are always made from these facts and the record.
"""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from resources.batch.launch_record import Attempt, LaunchRecord
from resources.ledger.aws_usage import BatchJob, Machine, known_instance_ids
from resources.ledger.machine_bill import JobInterval
from resources.pricing.economics import Overheads
from resources.pricing.prices import Quote
from resources.storage.object_store import ObjectStore

# EC2 tells a launch in whole seconds, Batch its jobs' times in thousandths.
CLOCK_TOLERANCE_SECONDS = 1.0


class LaunchFacts(BaseModel):
    """Facts of one launch, as of a time.

    Args:
        at: when AWS was last asked, seconds since 1970 UTC.
        settled: nothing is to be learned any more.
        jobs: the launch's own, all that were on its machines, and those that waited as a machine
            was launched that then ran none.
        places: ids of machines by the ARNs of container instances; also of others' machines, since
            ECS tells of them only while they live.
    """

    model_config = ConfigDict(frozen=True)

    at: float
    settled: bool = False
    machines: dict[str, Machine] = {}
    jobs: dict[str, BatchJob] = {}
    places: dict[str, str] = {}
    quotes: tuple[Quote, ...] = ()
    remarks: tuple[str, ...] = ()

    def job_of(self, attempt: Attempt) -> BatchJob | None:
        """Batch's job of an attempt; one that was only intended is found by its name."""
        if attempt.job_id is not None:
            return self.jobs.get(attempt.job_id)
        return next((job for job in self.jobs.values() if job.name == attempt.name), None)

    def stays_on(self, instance_id: str) -> list[JobInterval]:
        """The times of all jobs on a machine."""
        return [
            JobInterval(job.job_id, job.started, job.stopped)
            for job in self.jobs.values()
            if job.instance_id == instance_id and job.started is not None
        ]

    def waiting_for(self, machine: Machine) -> list[BatchJob]:
        """The jobs that a machine was launched for: those then waiting in its market's queues."""
        return [
            job
            for job in self.jobs.values()
            if (job.queue == "ondemand") == (machine.market == "ondemand")
            and job.created <= machine.launched + CLOCK_TOLERANCE_SECONDS
            and (job.started or job.stopped or self.at) >= machine.launched
        ]


def load_facts(store: ObjectStore, launch: str) -> LaunchFacts | None:
    """What was known of a launch; None: nothing, or by another version of this program.

    Args:
        store: of the camera's ledger.
    """
    key = f"{launch}.json"
    if not store.exists(key):
        return None
    try:
        return LaunchFacts.model_validate_json(store.read_bytes(key))
    except ValidationError:
        return None


def save_facts(store: ObjectStore, launch: str, facts: LaunchFacts) -> None:
    """Write facts down.

    Raises:
        StoreError: the store cannot be written.
    """
    store.write_bytes(f"{launch}.json", facts.model_dump_json(indent=1).encode())


def is_settled(record: LaunchRecord, facts: LaunchFacts | None) -> bool:
    """Whether nothing is to be learned of a launch: it may have gone on since it was settled."""
    if facts is None or not facts.settled:
        return False
    return all(
        attempt.job_id is None or attempt.job_id in facts.jobs for attempt in record.attempts
    )


def update_facts(
    record: LaunchRecord,
    before: LaunchFacts | None,
    machines: Iterable[Machine],
    jobs: Mapping[str, BatchJob],
    now: float,
) -> LaunchFacts:
    """What a look at the account has added to what was known of a launch; no prices yet.

    Args:
        machines: that EC2 tells of.
        jobs: that Batch tells of, and those known before; with the machines that workers of other
            launches told of, see `with_instance_ids`.
    """
    told = {machine.instance_id: machine for machine in machines}
    known = merge_machines(before.machines if before else {}, told)
    look = LaunchFacts(
        at=now, machines=known, jobs=_deduced(with_instance_ids(record, jobs), known)
    )
    own = {job.job_id for attempt in record.attempts if (job := look.job_of(attempt))}
    used = {place for job in own if (place := look.jobs[job].instance_id)}
    known = known | {name: _assumed(record, look, name) for name in used - set(known)}
    look = look.model_copy(update={"machines": known})
    idle = {
        name
        for name, machine in known.items()
        if not look.stays_on(name) and any(job.job_id in own for job in look.waiting_for(machine))
    }
    waited = {job.job_id for name in idle for job in look.waiting_for(known[name])}
    kept = {
        name: job
        for name, job in look.jobs.items()
        if name in own | waited or job.instance_id in used
    }
    alive = any(known[name].ended is None for name in used | idle)
    return LaunchFacts(
        at=now,
        settled=not alive and all(job.end for job in kept.values()),
        machines={name: known[name] for name in sorted(used | idle)},
        places={**(before.places if before else {}), **known_instance_ids(look.jobs.values())},
        jobs=kept,
    )


def merge_machines(
    before: Mapping[str, Machine], told: Mapping[str, Machine]
) -> dict[str, Machine]:
    """The machines of now and before. The first word on an end stands; one that EC2 has forgotten
    meanwhile ended some time after it was last seen."""
    known = dict(told)
    for name, machine in before.items():
        if machine.ended is not None:
            known[name] = machine
        elif name not in told:
            known[name] = machine.model_copy(update={"ended": machine.seen_at})
    return known


def _assumed(record: LaunchRecord, look: LaunchFacts, name: str) -> Machine:
    """A machine that a worker told of, and EC2 never did: it was asked too late."""
    host = next((each.host for each in record.attempts if each.host.get("instance_id") == name), {})
    stays = look.stays_on(name)
    first = min((stay.start for stay in stays), default=look.at)
    return Machine(
        instance_id=name,
        instance_type=host.get("instance_type", ""),
        zone=host.get("zone", ""),
        market="spot" if host.get("market") == "spot" else "ondemand",
        launched=first - Overheads().boot_seconds,
        seen_at=first,
        ended=max((stay.end or look.at for stay in stays), default=look.at),
    )


def with_instance_ids(record: LaunchRecord, jobs: Mapping[str, BatchJob]) -> dict[str, BatchJob]:
    """The jobs with the machines that our workers told of, also for others on the same; and with
    the ends that the record knows of those that Batch has forgotten."""
    own = {each.job_id: each for each in record.attempts if each.job_id}
    places = {
        jobs[name].container_instance: attempt.host["instance_id"]
        for name, attempt in own.items()
        if name in jobs and attempt.host.get("instance_id")
    }

    def place(job: BatchJob) -> str | None:
        if job.job_id in own and (told := own[job.job_id].host.get("instance_id")):
            return told
        behind = places.get(job.container_instance) if job.container_instance else None
        return job.instance_id or behind

    return {
        name: _ended(job, own.get(name)).model_copy(update={"instance_id": place(job)})
        for name, job in jobs.items()
    }


def _deduced(jobs: Mapping[str, BatchJob], machines: Mapping[str, Machine]) -> dict[str, BatchJob]:
    """The jobs with the machines that they can only have been on: each ARN of ECS stands for one
    machine, and each machine for one ARN."""
    taken = {job.instance_id for job in jobs.values()}
    lost: dict[str, list[BatchJob]] = {}
    for job in jobs.values():
        if job.started is not None and job.container_instance and not job.instance_id:
            lost.setdefault(job.container_instance, []).append(job)
    places = {}
    for arn, here in lost.items():
        fitting = [m for m in machines.values() if m.instance_id not in taken and _fits(m, here)]
        if len(fitting) == 1:
            places[arn] = fitting[0].instance_id
    only = {arn: name for arn, name in places.items() if list(places.values()).count(name) == 1}
    return {
        name: job.model_copy(update={"instance_id": only[job.container_instance]})
        if job.container_instance in only
        else job
        for name, job in jobs.items()
    }


def _fits(machine: Machine, jobs: Sequence[BatchJob]) -> bool:
    """Whether these jobs can have run on a machine."""
    ended = machine.ended if machine.end_known else None
    return all(
        (job.queue == "ondemand") == (machine.market == "ondemand")
        and machine.launched <= (job.started or 0.0)
        and (ended is None or (job.stopped or 0.0) <= ended + CLOCK_TOLERANCE_SECONDS)
        for job in jobs
    )


def _ended(job: BatchJob, attempt: Attempt | None) -> BatchJob:
    if job.end or attempt is None or attempt.end is None:
        return job
    known = {
        "started": job.started or attempt.started_at,
        "stopped": job.stopped or attempt.ended_at,
        "end": attempt.end,
    }
    return job.model_copy(update=known)
