"""The status of compute in AWS, as tables for the terminal."""

import shlex
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from resources.batch.names import MARKET_LABELS
from resources.compute.status import ComputeStatus, EnvironmentStatus, QueueStatus

HOUR_SECONDS, DAY_SECONDS = 3600, 86400


def compute_tables(found: ComputeStatus, profile_name: str) -> Iterator[Table | str]:
    """Yield the tables of the status in order; only a sentence if nothing is set up.

    Args:
        profile_name: name or path of the profile, for the command that sets up.
    """
    if not found.environments and not found.queues:
        setup = f"munin --profile {shlex.quote(profile_name)} cost setup"
        yield f"{found.name} has no compute in {found.region}; create it: {setup}"
        return
    age = f", set up {format_age(found.age_seconds)} ago" if found.age_seconds else ""
    yield f"{found.name} in {found.region}{age}"
    yield _environments(found)
    yield _queues(found)
    parts: list[EnvironmentStatus | QueueStatus] = [*found.environments, *found.queues]
    for part in parts:
        if part.status == "INVALID":
            yield f"{part.name} is INVALID: {escape(part.reason)}"
    yield _instances(found) if found.instances else "No machine is running."
    if found.spot_prices:
        yield _prices(found)


def format_age(seconds: float) -> str:
    """Return a duration in the largest unit that fits, for example `3 h`."""
    for unit, name in ((DAY_SECONDS, "d"), (HOUR_SECONDS, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def _environments(found: ComputeStatus) -> Table:
    table = _table("environment", "market", "state", right=("vCPUs now", "at most"))
    for each in found.environments:
        table.add_row(
            each.name,
            MARKET_LABELS[each.market],
            _state(each),
            str(each.desired_vcpus),
            str(each.max_vcpus),
        )
    return table


def _queues(found: ComputeStatus) -> Table:
    table = _table("queue", "state", right=("waiting", "starting", "running", "done", "failed"))
    for each in found.queues:
        waiting = each.jobs["SUBMITTED"] + each.jobs["PENDING"] + each.jobs["RUNNABLE"]
        rest = (each.jobs[state] for state in ("STARTING", "RUNNING", "SUCCEEDED", "FAILED"))
        table.add_row(each.name, _state(each), str(waiting), *map(str, rest))
    return table


def _state(part: EnvironmentStatus | QueueStatus) -> str:
    if (part.state, part.status) == ("ENABLED", "VALID"):
        return "ready"
    return part.status.lower() if part.state == "ENABLED" else f"{part.state} {part.status}".lower()


def _instances(found: ComputeStatus) -> Table:
    table = _table("machine", "market", "type", "zone", "state", right=("age",))
    for each in found.instances:
        table.add_row(
            each.instance_id,
            MARKET_LABELS[each.market],
            each.instance_type,
            each.zone,
            each.state,
            format_age(each.age_seconds),
        )
    return table


def _prices(found: ComputeStatus) -> Table:
    table = _table("spot price now", "zone", right=("USD an hour",))
    for each in found.spot_prices:
        table.add_row(each.instance_type, each.zone, f"{each.usd_per_hour:.4f}")
    return table


def _table(*headings: str, right: tuple[str, ...] = ()) -> Table:
    table = Table()
    for heading in headings:
        table.add_column(heading, no_wrap=heading == headings[0])
    for heading in right:
        table.add_column(heading, justify="right")
    return table
