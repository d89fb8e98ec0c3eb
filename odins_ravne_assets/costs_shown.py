"""What `--cost-report` prints: the jobs of this call, how each ended, and their cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from rich import box
from rich.markup import escape
from rich.table import Table

from odins_ravne_assets.cameras import Camera
from odins_ravne_assets.home import home
from odins_ravne_assets.results_here import store_of
from odins_ravne_assets.terminal import out
from resources.aws_clients import AwsClients
from resources.clock import clock_at
from resources.launch_costs import AttemptCost, costs_of
from resources.launch_record import FOLDER, Attempt, LaunchRecord, all_records
from resources.price_sources import price_source
from resources.prices import remarks_on_age
from resources.profile import Aws, Profile

# A camera's name is folded where it is longer than this.
CAMERA_WIDTH = 20
MARKETS = {"ondemand": "on-demand"}


@dataclass(frozen=True)
class _Line:
    """An attempt of a camera's."""

    camera: str
    number: int  # among the camera's
    cost: AttemptCost


def print_costs(cameras: Sequence[Camera], profile: Profile, since: float) -> None:
    """A table of attempts with their costs, why each was made, and the total.

    Args:
        since: attempts that had ended by then belong to earlier calls; by the profile's clock.
    """
    if profile.cloud is None:
        out.print(
            f"cost: $0.00 for {len(cameras)} camera{'s' * (len(cameras) != 1)}; everything ran on "
            "this machine, nothing was rented or transferred"
        )
        return
    aws = profile.cloud.aws
    launches = {camera.camera_id: _launches(camera, profile, since) for camera in cameras}
    if not any(launches.values()):
        out.print("cost: $0.00; no job ran on AWS")
        return
    lines, remarks = _lines(launches, since, aws)
    out.print(_table(lines), crop=False)
    out.print(_reasons(lines))
    total = sum((line.cost.usd or Decimal(0) for line in lines), Decimal(0))
    instead = sum((line.cost.usd_on_demand or Decimal(0) for line in lines), Decimal(0))
    saved = f", {1 - total / instead:.0%} less" if total < instead else ""
    out.print(f"${total:.4f}; on demand the same minutes cost ${instead:.4f}{saved}")
    out.print("Not in it: boot and idle time of the machines, disks, storage and transfer.")
    for remark in remarks:
        out.print(remark)


def _launches(camera: Camera, profile: Profile, since: float) -> list[LaunchRecord]:
    records = all_records(store_of(f"{camera.output_url}/{FOLDER}", profile))
    ours = [each for each in records if any(_is_since(one, since) for one in each.attempts)]
    return sorted(ours, key=lambda record: record.began_at)


def _is_since(attempt: Attempt, since: float) -> bool:
    return attempt.ended_at is None or attempt.ended_at > since


def _lines(
    launches: dict[str, list[LaunchRecord]], since: float, aws: Aws
) -> tuple[list[_Line], list[str]]:
    """The attempts with their costs, and what is to be said of the prices."""
    now = clock_at(aws.clock_url).now()
    began = min(record.began_at for records in launches.values() for record in records)
    book = price_source(AwsClients(aws), aws, home()).book(began, now)

    def costs(records: Sequence[LaunchRecord]) -> Iterator[AttemptCost]:
        found = (cost for record in records for cost in costs_of(record, book))
        return (cost for cost in found if _is_since(cost.attempt, since))

    lines = [
        _Line(camera, number, cost)
        for camera, records in launches.items()
        for number, cost in enumerate(costs(records), start=1)
    ]
    used = {quote for line in lines for quote in line.cost.quotes}
    return lines, [*book.remarks, *remarks_on_age(used, now)]


def _table(lines: Sequence[_Line]) -> Table:
    """Fits a terminal of 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("camera", overflow="fold", max_width=CAMERA_WIDTH)
    table.add_column("job", justify="right")
    table.add_column("market", no_wrap=True)
    table.add_column("machine", overflow="fold")
    table.add_column("minutes", justify="right", no_wrap=True)
    table.add_column("end", overflow="fold")
    table.add_column("cost", justify="right", no_wrap=True)
    for line in lines:
        camera = escape(line.camera) if line.number == 1 else ""
        table.add_row(camera, str(line.number), *_cells(line.cost))
    return table


def _reasons(lines: Sequence[_Line]) -> Table:
    """Why each job was submitted, and there."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(overflow="fold", max_width=CAMERA_WIDTH)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for line in lines:
        camera = escape(line.camera) if line.number == 1 else ""
        grid.add_row(camera, f"{line.number}:", escape(line.cost.attempt.reason))
    return grid


def _cells(cost: AttemptCost) -> tuple[str, str, str, str, str]:
    attempt, host = cost.attempt, cost.attempt.host
    minutes = ""
    if attempt.started_at and attempt.ended_at:
        minutes = f"{(attempt.ended_at - attempt.started_at) / 60:.1f}"
    return (
        MARKETS.get(attempt.queue, attempt.queue),
        f"{host.get('instance_type', '')} {host.get('zone', '')}".strip() or "none",
        minutes,
        "moved" if attempt.moving and attempt.end == "cancelled" else attempt.end or "not yet",
        "" if cost.usd is None else f"${cost.usd:.4f}",
    )
