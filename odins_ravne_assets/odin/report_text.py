"""The cost report as text tables and sentences, for the terminal, the Dagster UI and the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from odins_ravne_assets.odin.formatting import (
    KIND_LABELS,
    MARKET_LABELS,
    STORAGE_CLASS_LABELS,
    format_count,
    format_duration,
    format_share,
    format_size,
    format_usd,
)
from odins_ravne_assets.odin.report import CostReport
from odins_ravne_assets.odin.totals import CostShare

# Limit for cameras and species; cost_report.json has all.
MAX_TABLE_ROWS = 20


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Args:
        columns: heading, and True if the column has numbers.
        note: an explanation for the reader, or empty.
    """

    heading: str
    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def report_tables(report: CostReport) -> Iterator[TextTable]:
    """Yield all tables that have rows, in order."""
    for table in (
        cost_breakdown_table(report),
        unit_cost_table(report),
        _markets(report),
        _machines(report),
        _wasted(report),
        _cameras(report),
        _species(report),
        _storage(report),
        _plans(report),
        _bill(report),
        _prices(report),
    ):
        if table.rows:
            yield table


def total_usd(report: CostReport) -> Decimal:
    """Return the USD for compute, and for storage to date if the report has all times."""
    stored = report.storage.usd_so_far if report.storage and report.scope.since is None else None
    return report.computing.usd + (stored or Decimal(0))


def summary_sentences(report: CostReport) -> Iterator[str]:
    """Yield the results in sentences."""
    jobs = report.jobs
    yield (
        f"{format_usd(total_usd(report))} for {format_count(jobs.total, 'job')} of "
        f"{format_count(len(report.by_camera) or len(report.scope.cameras), 'camera')}"
        f"{_job_states(report)}, {format_duration(jobs.processing_seconds)} of processing."
    )
    yield from _savings(report)
    wasted = report.computing.usd_wasted
    if wasted:
        yield f"{format_usd(wasted)} of it were wasted on lost work and idle machines."
    if report.estimated_usd:
        estimated = format_usd(report.estimated_usd)
        yield f"{estimated} of it are estimated; a later report has the final costs."
    month = report.month
    if month.usd:
        usd = month.forecast_usd
        forecast = "" if usd is None else f"; forecast for its end: {format_usd(usd)}"
        yield f"This month ({month.name}) to date: {format_usd(month.usd)}{forecast}."


def _job_states(report: CostReport) -> str:
    jobs = report.jobs
    states = [f"{jobs.failed} failed"] if jobs.failed else []
    states += [f"{jobs.cancelled} cancelled"] if jobs.cancelled else []
    states += [f"{jobs.open} not ended"] if jobs.open else []
    states += [format_count(jobs.interruptions, "interruption")] if jobs.interruptions else []
    if jobs.success_rate is not None:
        states.insert(0, f"success rate {format_share(jobs.success_rate)}")
    return f" ({', '.join(states)})" if states else ""


def _savings(report: CostReport) -> Iterator[str]:
    savings = report.savings
    if savings.rate is not None:
        yield (
            f"Rate savings {format_share(savings.rate)}: the same machine hours cost "
            f"{format_usd(savings.machine_usd_on_demand)} on demand; paid: "
            f"{format_usd(savings.machine_usd)}."
        )
    if savings.effective is not None:
        target = report.scope.least_saving
        met = "met" if savings.effective >= target else "missed"
        yield (
            f"Effective savings {format_share(savings.effective)}: the same work on demand without "
            f"interruptions costs {format_usd(savings.undisturbed_usd)}; the profile's target of "
            f"{target:.0%} is {met}."
        )


def cost_breakdown_table(report: CostReport) -> TextTable:
    """Return the table of costs by kind."""
    usd = total_usd(report)
    parts = [(KIND_LABELS[part.name], part.usd) for part in report.parts]
    if report.storage and report.scope.since is None:
        parts.append(("storage on S3 (estimated)", report.storage.usd_so_far))
    rows = [(name, format_usd(cost), _share_of(cost, usd)) for name, cost in parts]
    if rows:
        rows.append(("total", format_usd(usd), ""))
    columns = (("", False), ("USD", True), ("share", True))
    return TextTable("Costs by kind", columns, tuple(rows), _traffic_note(report))


def _traffic_note(report: CostReport) -> str:
    traffic = report.traffic
    requests = traffic.requests_put + traffic.requests_get
    if not requests:
        return ""
    within = (
        f"Workers read {format_size(traffic.bytes_read)} from S3 and wrote "
        f"{format_size(traffic.bytes_written)}, which is free within the region. "
        f"Requests to S3: {requests:,}."
    )
    if not traffic.bytes_home:
        return within
    return (
        f"{within} This machine downloaded {format_size(traffic.bytes_home)} from AWS; its cost "
        "here is an upper bound, as the first 100 GB of an account's month are free."
    )


def _share_of(part: Decimal, total: Decimal) -> str:
    return format_share(float(part / total)) if total else "-"


def unit_cost_table(report: CostReport) -> TextTable:
    """Return the table of costs per job, image, hour of video, camera and observation."""
    units = report.units
    rows = (
        ("job", units.per_job),
        ("1,000 images", units.per_1000_images),
        ("hour of video", units.per_video_hour),
        ("1,000 frames", units.per_1000_frames),
        ("camera", units.per_camera),
        ("observation of a known species", units.per_species_observation),
    )
    found = tuple((name, format_usd(cost)) for name, cost in rows if cost is not None)
    return TextTable("Costs per unit", (("", False), ("USD", True)), found, "Without storage.")


def _markets(report: CostReport) -> TextTable:
    columns = (
        ("market", False),
        ("machine hours", True),
        ("USD", True),
        ("on demand", True),
        ("saving", True),
    )
    rows = tuple(
        (MARKET_LABELS.get(each.name, each.name), *_market_cells(each)) for each in report.markets
    )
    return TextTable("Spot and on-demand", columns, rows)


def _market_cells(each: CostShare) -> tuple[str, ...]:
    saving = float(1 - each.usd / each.usd_on_demand) if each.usd_on_demand else None
    return (
        f"{each.machine_hours:.2f}",
        format_usd(each.usd),
        format_usd(each.usd_on_demand),
        format_share(saving),
    )


def _machines(report: CostReport) -> TextTable:
    columns = (
        ("machine", False),
        ("hours", True),
        ("frames", True),
        ("USD", True),
        ("USD per 1,000 frames", True),
    )
    rows = tuple(
        (
            each.name,
            f"{each.machine_hours:.2f}",
            f"{each.frames:,}",
            format_usd(each.usd),
            format_usd(each.usd * 1000 / each.frames) if each.frames else "-",
        )
        for each in report.machines
    )
    return TextTable("By machine type", columns, rows)


def _wasted(report: CostReport) -> TextTable:
    rows = tuple(
        (each.name, format_usd(each.usd_wasted)) for each in report.wasted if each.usd_wasted
    )
    columns = (("reason", False), ("USD", True))
    return TextTable("Wasted costs", columns, rows, "They are part of the sums above.")


def _cameras(report: CostReport) -> TextTable:
    columns = (
        ("camera", False),
        ("attempts", True),
        ("images", True),
        ("video", True),
        ("USD", True),
        ("on demand", True),
    )
    rows = tuple(
        (
            each.name,
            str(each.attempts),
            f"{each.images:,}",
            format_duration(each.video_seconds),
            format_usd(each.usd),
            format_usd(each.usd_on_demand),
        )
        for each in report.by_camera[:MAX_TABLE_ROWS]
    )
    return TextTable("By camera", columns, rows, _more(report.by_camera, "cameras"))


def _more(found: Sequence[object], things: str) -> str:
    left = len(found) - MAX_TABLE_ROWS
    return f"{left:,} more {things} are in cost_report.json." if left > 0 else ""


def _species(report: CostReport) -> TextTable:
    paid = report.computing.usd
    rows = tuple(
        (each.species, each.scientific_name, f"{each.visits:,}", format_usd(paid / each.visits))
        for each in report.species[:MAX_TABLE_ROWS]
        if each.visits
    )
    columns = (
        ("species", False),
        ("scientific name", False),
        ("observations", True),
        ("USD each, if all costs were for it", True),
    )
    return TextTable("By species", columns, rows, _more(report.species, "species"))


def _storage(report: CostReport) -> TextTable:
    columns = (
        ("data", False),
        ("class", False),
        ("objects", True),
        ("size", True),
        ("USD a month", True),
    )
    found = report.storage.lines if report.storage else ()
    rows = tuple(
        (
            f"{each.area}, old versions" if each.old else each.area,
            STORAGE_CLASS_LABELS.get(each.storage_class, each.storage_class),
            f"{each.objects:,}",
            format_size(each.bytes),
            "price not known" if each.usd_per_month is None else format_usd(each.usd_per_month),
        )
        for each in found
    )
    return TextTable("Storage on S3", columns, rows, _forecast_note(report))


def _forecast_note(report: CostReport) -> str:
    if not report.storage or not report.storage.ahead:
        return ""
    last = report.storage.ahead[-1]
    year = sum((month.usd_with_policy for month in report.storage.ahead), Decimal(0))
    alone = sum((month.usd_left_alone for month in report.storage.ahead), Decimal(0))
    download = report.storage.usd_to_take_home
    return (
        f"If nothing is added, the next twelve months cost {format_usd(year)} with the lifecycle "
        f"policy ({format_usd(last.usd_with_policy)} in the last), and {format_usd(alone)} without "
        f"it. Downloading all results from AWS costs {format_usd(download)} each time; the first "
        "100 GB of an account's month are free."
    )


def _plans(report: CostReport) -> TextTable:
    columns = (
        ("camera", False),
        ("planned", True),
        ("5 to 95 %", True),
        ("paid", True),
        ("diff", True),
        ("planned time", True),
        ("time", True),
        ("deviations", False),
    )
    rows = tuple(
        (
            each.camera_id,
            format_usd(each.planned_usd),
            f"{format_usd(each.low)} – {format_usd(each.high)}",
            format_usd(each.usd),
            f"{each.difference:+.1%}" if each.planned_usd else "-",
            format_duration(each.planned_seconds),
            "-" if each.seconds is None else format_duration(each.seconds),
            "; ".join(each.why),
        )
        for each in report.plans[-MAX_TABLE_ROWS:]
    )
    note = "Compute costs by munin plan, and those of the runs after it."
    return TextTable("Compared with the plan", columns, rows, note)


def _bill(report: CostReport) -> TextTable:
    columns = (("part", False), ("ledger", True), ("AWS", True), ("explanation", False))
    rows = tuple(
        (each.part, format_usd(each.ours), format_usd(each.aws), each.explanation)
        for each in report.aws or ()
    )
    note = "This month, by Cost Explorer."
    return TextTable("Compared with AWS's bill", columns, rows, note)


def _prices(report: CostReport) -> TextTable:
    columns = (("source", False), ("as of", False), ("verified", False))
    rows = tuple(
        (
            each.source,
            f"{each.as_of:%Y-%m-%d}",
            "yes" if each.verified else "no (verified: false)",
        )
        for each in report.prices
    )
    return TextTable("Prices", columns, rows)
