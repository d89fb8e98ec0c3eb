"""What `footage` shows of where its camera stands."""

from collections.abc import Sequence
from datetime import datetime

from odins_ravne_assets.munin.progress import Facts
from odins_ravne_assets.worker.asset_metadata import cell
from resources.settings.project import Deployment


def deployment_facts(stays: Sequence[Deployment], now: datetime) -> Facts:
    """Where the camera stands, or stood last; nothing when nobody told.

    Args:
        stays: the camera's own deployments.
        now: by the clock of the place, more or less: days matter.
    """
    if not stays:
        return {}
    in_order = sorted(stays, key=lambda stay: stay.starts or datetime.min)
    last = in_order[-1]
    facts: Facts = {"deployment/state": _state(in_order, now), "deployment/place": _place(last)}
    facts["deployment/coordinates"] = f"{last.latitude}, {last.longitude}"
    if last.starts:
        facts["deployment/first_day"] = f"{last.starts:%Y-%m-%d}"
    if last.ends:
        facts["deployment/last_day"] = f"{last.ends:%Y-%m-%d}"
    if last.clockShift or last.utcOffset:
        facts["deployment/clock"] = " ".join(filter(None, (last.clockShift, last.utcOffset)))
    if len(in_order) > 1:
        lines = [
            f"| {cell(_place(stay))} | {stay.latitude}, {stay.longitude} | "
            f"{_day(stay.starts)} | {_day(stay.ends)} |"
            for stay in in_order
        ]
        head = "| place | coordinates | first day | last day |\n|---|---|---|---|\n"
        facts["md:deployments"] = head + "\n".join(lines)
    return facts


def _state(in_order: Sequence[Deployment], now: datetime) -> str:
    if all(stay.ends and stay.ends < now for stay in in_order):
        return "retired"
    begun = any(stay.starts is None or stay.starts <= now for stay in in_order)
    return "standing" if begun else "to be put up"


def _place(stay: Deployment) -> str:
    told = (stay.remarks.get(name) for name in ("locationName", "locationID"))
    return next(filter(None, told), stay.deploymentID or stay.cameraID)


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else ""
