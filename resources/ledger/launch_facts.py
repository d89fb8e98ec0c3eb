"""The facts about a launch besides its record: its machines, all jobs on them, the prices.

Stored as LAUNCH.json next to the launch's rows, since AWS forgets machines within an hour, jobs
within days, and prices within months. Rows are always computed from these facts and the record.
"""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from resources.batch.launch_record import Attempt, LaunchRecord
from resources.ledger.aws_usage import BatchJob, Machine, known_instance_ids
from resources.ledger.machine_bill import JobInterval
from resources.pricing.economics import Overheads
from resources.pricing.prices import Market, Quote
from resources.storage.object_store import ObjectStore

# EC2 reports a launch in whole seconds, Batch the times of its jobs in milliseconds.
CLOCK_TOLERANCE_SECONDS = 1.0


class LaunchFacts(BaseModel):
    """The facts about one launch as of a time.

    Args:
        at: when AWS was last queried, seconds since 1970 UTC.
        settled: no fact can change any more.
        jobs: the launch's own jobs, all jobs on its machines, and those that were queued when a
            machine without jobs was launched.
        places: ids of machines by the ARNs of container instances; also of other launches'
            machines, since ECS reports running machines only.
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
        """Return the job of an attempt; without a job id, the job of its name."""
        if attempt.job_id is not None:
            return self.jobs.get(attempt.job_id)
        return next((job for job in self.jobs.values() if job.name == attempt.name), None)

    def intervals_on(self, instance_id: str) -> list[JobInterval]:
        """Return the time intervals of all jobs on a machine."""
        return [
            JobInterval(job.job_id, job.started, job.stopped)
            for job in self.jobs.values()
            if job.instance_id == instance_id and job.started is not None
        ]

    def jobs_queued_at_launch(self, machine: Machine) -> list[BatchJob]:
        """Return the jobs for which a machine was launched: those queued for its market then."""
        return [
            job
            for job in self.jobs.values()
            if job.on_demand == (machine.market == Market.ON_DEMAND)
            and job.created <= machine.launched + CLOCK_TOLERANCE_SECONDS
            and (job.started or job.stopped or self.at) >= machine.launched
        ]


def load_facts(store: ObjectStore, launch: str) -> LaunchFacts | None:
    """Load the facts about a launch; None if there are none, or those of another version.

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
    """Save the facts about a launch.

    Raises:
        StoreError: the store cannot be written.
    """
    store.write_bytes(f"{launch}.json", facts.model_dump_json(indent=1).encode())


def is_settled(record: LaunchRecord, facts: LaunchFacts | None) -> bool:
    """Return True if no fact about a launch can change; a launch may resume after it settled."""
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
    """Merge new answers of AWS into the known facts about a launch, without prices.

    Args:
        machines: as EC2 reports them now.
        jobs: as Batch reports them now, and those known before; with the instance ids that workers
            of other launches reported, see `with_instance_ids`.
    """
    reported = {machine.instance_id: machine for machine in machines}
    known = merge_machines(before.machines if before else {}, reported)
    jobs = _infer_instance_ids(with_instance_ids(record, jobs), known)
    facts = LaunchFacts(at=now, machines=known, jobs=jobs)
    own = {job.job_id for attempt in record.attempts if (job := facts.job_of(attempt))}
    used = {instance for job in own if (instance := jobs[job].instance_id)}
    known = known | {name: _assume_machine(record, facts, name) for name in used - set(known)}
    facts = facts.model_copy(update={"machines": known})
    idle = {
        name
        for name, machine in known.items()
        if not facts.intervals_on(name)
        and any(job.job_id in own for job in facts.jobs_queued_at_launch(machine))
    }
    queued = {job.job_id for name in idle for job in facts.jobs_queued_at_launch(known[name])}
    relevant = {
        name: job for name, job in jobs.items() if name in own | queued or job.instance_id in used
    }
    running = any(known[name].ended is None for name in used | idle)
    return LaunchFacts(
        at=now,
        settled=not running and all(job.end for job in relevant.values()),
        machines={name: known[name] for name in sorted(used | idle)},
        places={**(before.places if before else {}), **known_instance_ids(jobs.values())},
        jobs=relevant,
    )


def merge_machines(
    before: Mapping[str, Machine], reported: Mapping[str, Machine]
) -> dict[str, Machine]:
    """Merge the machines of now and before.

    The first report of an end is final. A machine that EC2 no longer reports ended some time after
    it was last seen.
    """
    merged = dict(reported)
    for name, machine in before.items():
        if machine.ended is not None:
            merged[name] = machine
        elif name not in reported:
            merged[name] = machine.model_copy(update={"ended": machine.seen_at})
    return merged


def _assume_machine(record: LaunchRecord, facts: LaunchFacts, name: str) -> Machine:
    """A machine that a worker reported, but not EC2, which was queried too late."""
    host = next((each.host for each in record.attempts if each.host.get("instance_id") == name), {})
    intervals = facts.intervals_on(name)
    first = min((interval.start for interval in intervals), default=facts.at)
    return Machine(
        instance_id=name,
        instance_type=host.get("instance_type", ""),
        zone=host.get("zone", ""),
        market=Market.SPOT if host.get("market") == Market.SPOT else Market.ON_DEMAND,
        launched=first - Overheads().boot_seconds,
        seen_at=first,
        ended=max((interval.end or facts.at for interval in intervals), default=facts.at),
    )


def with_instance_ids(record: LaunchRecord, jobs: Mapping[str, BatchJob]) -> dict[str, BatchJob]:
    """Return the jobs with the instance ids and ends that the record has.

    An instance id that a worker reported applies to all jobs on the same container instance. Ends
    in the record replace those that Batch has forgotten.
    """
    own = {each.job_id: each for each in record.attempts if each.job_id}
    by_container = {
        jobs[name].container_instance: attempt.host["instance_id"]
        for name, attempt in own.items()
        if name in jobs and attempt.host.get("instance_id")
    }

    def instance_id(job: BatchJob) -> str | None:
        if job.job_id in own and (reported := own[job.job_id].host.get("instance_id")):
            return reported
        shared = by_container.get(job.container_instance) if job.container_instance else None
        return job.instance_id or shared

    return {
        name: _with_recorded_end(job, own.get(name)).model_copy(
            update={"instance_id": instance_id(job)}
        )
        for name, job in jobs.items()
    }


def _infer_instance_ids(
    jobs: Mapping[str, BatchJob], machines: Mapping[str, Machine]
) -> dict[str, BatchJob]:
    """The jobs with instance ids inferred where only one machine is possible.

    Container instances and machines correspond one to one.
    """
    assigned = {job.instance_id for job in jobs.values()}
    unknown: dict[str, list[BatchJob]] = {}
    for job in jobs.values():
        if job.started is not None and job.container_instance and not job.instance_id:
            unknown.setdefault(job.container_instance, []).append(job)
    inferred = {}
    for arn, on_container in unknown.items():
        possible = [
            machine.instance_id
            for machine in machines.values()
            if machine.instance_id not in assigned and _can_have_run(machine, on_container)
        ]
        if len(possible) == 1:
            inferred[arn] = possible[0]
    names = list(inferred.values())
    unique = {arn: name for arn, name in inferred.items() if names.count(name) == 1}
    return {
        name: job.model_copy(update={"instance_id": unique[job.container_instance]})
        if job.container_instance in unique
        else job
        for name, job in jobs.items()
    }


def _can_have_run(machine: Machine, jobs: Sequence[BatchJob]) -> bool:
    """True if all of these jobs can have run on a machine."""
    ended = machine.ended if machine.end_known else None
    return all(
        job.on_demand == (machine.market == Market.ON_DEMAND)
        and machine.launched <= (job.started or 0.0)
        and (ended is None or (job.stopped or 0.0) <= ended + CLOCK_TOLERANCE_SECONDS)
        for job in jobs
    )


def _with_recorded_end(job: BatchJob, attempt: Attempt | None) -> BatchJob:
    if job.end or attempt is None or attempt.end is None:
        return job
    recorded = {
        "started": job.started or attempt.started_at,
        "stopped": job.stopped or attempt.ended_at,
        "end": attempt.end,
    }
    return job.model_copy(update=recorded)
