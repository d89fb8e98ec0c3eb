"""The cost report in Dagster: one asset over the ledgers of all cameras."""

from decimal import Decimal
from typing import Any

import dagster as dg

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.costs.report_inputs import (
    collect_inputs,
    costs_folder,
    refresh_ledgers,
    write_cost_report,
)
from odins_ravne_assets.odin.formatting import IDLE_PART
from odins_ravne_assets.odin.report import CostReport
from odins_ravne_assets.odin.report_markdown import report_markdown
from odins_ravne_assets.odin.report_text import total_usd
from resources.pricing.prices import CostKind
from resources.settings.dagster_resource import RunSettings

PERCENT = 100


@dg.asset(
    name="cost_report",
    group_name="odin",
    deps=["observations"],
    kinds={"json", "csv"},
    code_version="1",
    description="The costs of all cameras, from the cost ledger: spot against on-demand, "
    "per job, image, video hour and observation, storage, and what was wasted.",
)
def cost_report_asset(
    settings: RunSettings, catalog: dg.ResourceParam[CameraCatalog]
) -> dg.MaterializeResult[Any]:
    profile, cameras = settings.load(), catalog.list()
    found = collect_inputs(
        cameras, profile, remarks=refresh_ledgers(cameras, profile), all_cameras=True
    )
    page, *others = write_cost_report(found, costs_folder())
    report = found.report()
    return dg.MaterializeResult(
        metadata={
            "costs": dg.MetadataValue.md(report_markdown(report)),
            **_numbers(report),
            "files/page": dg.MetadataValue.path(page),
            **{f"files/{path.name}": dg.MetadataValue.path(path) for path in others},
        }
    )


def _part(report: CostReport, name: str) -> Decimal:
    """Return the USD of a part of the report; 0 if it is absent."""
    return sum((part.usd for part in report.parts if part.name == name), Decimal(0))


def _numbers(report: CostReport) -> dict[str, float | int]:
    """Return flat metadata that Dagster can plot; unknown values are omitted."""
    savings, units, storage = report.savings, report.units, report.storage
    known = {
        "cost/usd_total": total_usd(report),
        "cost/usd_computing": report.computing.usd,
        "cost/usd_on_demand": report.computing.usd_on_demand,
        "cost/usd_wasted": report.computing.usd_wasted,
        "cost/usd_transfer": _part(report, CostKind.TRANSFER),
        "cost/usd_machines_that_waited": _part(report, IDLE_PART),
        "cost/usd_this_month": report.month.usd,
        "cost/usd_month_forecast": report.month.forecast_usd,
        "cost/usd_storage_per_month": storage.usd_per_month if storage else None,
        "cost/savings_pct": None if savings.rate is None else savings.rate * PERCENT,
        "cost/effective_savings_pct": (
            None if savings.effective is None else savings.effective * PERCENT
        ),
        "cost/usd_per_job": units.per_job,
        "cost/usd_per_1000_images": units.per_1000_images,
        "cost/usd_per_video_hour": units.per_video_hour,
        "cost/usd_per_camera": units.per_camera,
        "cost/usd_per_species_observation": units.per_species_observation,
    }
    counts = {
        "jobs/total": report.jobs.total,
        "jobs/failed": report.jobs.failed,
        "jobs/cancelled": report.jobs.cancelled,
        "compute/attempts": report.jobs.attempts,
        "compute/interruptions": report.jobs.interruptions,
    }
    return {key: round(float(value), 6) for key, value in known.items() if value is not None} | (
        counts
    )
