"""What `--cost-report` prints: the jobs of the last launch of each camera, and their cost."""

from collections.abc import Sequence
from decimal import Decimal

from rich import box
from rich.markup import escape
from rich.table import Table

from odins_ravne_assets.cameras import Camera
from odins_ravne_assets.home import home
from odins_ravne_assets.results_here import store_of
from odins_ravne_assets.terminal import out
from resources.aws_clients import AwsClients
from resources.batch_step_launcher import price_source
from resources.clock import clock_at
from resources.launch_costs import AttemptCost, costs_of
from resources.launch_record import FOLDER, LaunchRecord, all_records
from resources.prices import PriceBook
from resources.profile import Profile


def print_costs(cameras: Sequence[Camera], profile: Profile) -> None:
    """A table of attempts with their costs, and the total."""
    if profile.cloud is None:
        out.print(
            f"cost: $0.00 for {len(cameras)} camera{'s' * (len(cameras) != 1)}; everything ran on "
            "this machine, nothing was rented or transferred"
        )
        return
    aws = profile.cloud.aws
    clock = clock_at(aws.clock_url)
    records = {camera.camera_id: _launches(camera, profile) for camera in cameras}
    began = [each.began_at for found in records.values() for each in found]
    book = price_source(AwsClients(aws), aws, home()).book(
        min(began, default=clock.now()), clock.now()
    )
    table, total, instead = _table(records, book)
    out.print(table, crop=False)
    saved = f", {1 - total / instead:.0%} less" if instead else ""
    out.print(f"${total:.4f}; on demand the same seconds cost ${instead:.4f}{saved}")
    out.print("Boot and idle time of the machines, disks, storage and transfer are not in it.")
    for remark in [*book.remarks, *book.remarks_on_age(clock.now())]:
        out.print(remark, soft_wrap=True)


def _launches(camera: Camera, profile: Profile) -> list[LaunchRecord]:
    records = all_records(store_of(f"{camera.output_url}/{FOLDER}", profile))
    return sorted(records, key=lambda record: record.began_at)


def _table(
    records: dict[str, list[LaunchRecord]], book: PriceBook
) -> tuple[Table, Decimal, Decimal]:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("camera", "market", "machine", "minutes", "end", "cost"):
        table.add_column(heading, overflow="fold")
    table.add_column("why it was submitted there", overflow="fold")
    total = instead = Decimal(0)
    for camera, launches in records.items():
        for record in launches:
            for cost in costs_of(record, book):
                table.add_row(escape(camera), *_cells(cost))
                total += cost.usd or 0
                instead += cost.usd_on_demand or 0
    return table, total, instead


def _cells(cost: AttemptCost) -> tuple[str, str, str, str, str, str]:
    attempt = cost.attempt
    host = attempt.host
    minutes = ""
    if attempt.started_at and attempt.ended_at:
        minutes = f"{(attempt.ended_at - attempt.started_at) / 60:.1f}"
    return (
        attempt.queue,
        f"{host.get('instance_type', '')} {host.get('zone', '')}".strip(),
        minutes,
        attempt.end or "still there",
        "" if cost.usd is None else f"${cost.usd:.4f}",
        escape(attempt.reason),
    )
