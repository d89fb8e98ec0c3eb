"""What `--summary` prints: what was seen, by all cameras together."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from odins_ravne_assets.cli.terminal import out

Report = dict[str, Any]

MINUTE = len("2026-05-01T02:14")


def print_summary(reports: Sequence[Report]) -> None:
    """Counts, time range, cameras and species.

    Args:
        reports: the content of each camera's `stage3/report.json`.
    """
    for line in summary_lines(reports):
        out.print(line, soft_wrap=True, markup=False)
    cameras = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("camera", "first", "last"):
        cameras.add_column(heading, overflow="fold")
    for heading in ("media", "visits"):
        cameras.add_column(heading, justify="right")
    for report in reports:
        for camera in report["cameras"]:
            cameras.add_row(
                escape(camera["camera_id"]),
                _minute(camera["first_time"]),
                _minute(camera["last_time"]),
                str(camera["media"]),
                str(camera["observations"]),
            )
    species = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    species.add_column("species", overflow="fold")
    for heading in ("visits", "to review"):
        species.add_column(heading, justify="right")
    for name, (visits, review) in species_counts(reports):
        species.add_row(escape(name), str(visits), str(review))
    out.print(cameras)
    out.print(species)


def summary_lines(reports: Sequence[Report]) -> Iterator[str]:
    """The counts in words."""
    totals = [report["totals"] for report in reports]

    def total(key: str) -> int:
        return sum(int(each[key]) for each in totals)

    yield (
        f"{total('observations')} visits ({total('needs_review')} to review) at "
        f"{len(reports)} camera{'s' * (len(reports) != 1)}, "
        f"of {total('stills')} pictures and {total('videos')} videos"
    )
    times = [report["time_range"]["media"] for report in reports]
    known = [each for each in times if each["first_time"]]
    if known:
        first = min(each["first_time"] for each in known)
        last = max(each["last_time"] for each in known)
        yield f"from {_minute(first)} to {_minute(last)}, by the cameras' clocks"
    if total("failed"):
        yield f"{total('failed')} media could not be used; the report says why"


def species_counts(reports: Sequence[Report]) -> list[tuple[str, tuple[int, int]]]:
    """Each species and its visits, in all and to review; the one with most first."""
    counts: dict[str, tuple[int, int]] = {}
    for report in reports:
        for row in report["species"]:
            visits, review = counts.get(row["species"], (0, 0))
            counts[row["species"]] = (visits + row["observations"], review + row["needs_review"])
    return sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))


def _minute(time: str | None) -> str:
    return time[:MINUTE].replace("T", " ") if time else "not known"
