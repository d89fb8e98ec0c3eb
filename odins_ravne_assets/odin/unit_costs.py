"""What a job, a thousand pictures, an hour of video, a camera and a visit cost.

Computing alone: what storage costs depends on how long it is kept. Pictures and video share the
money by the frames that were looked at, of which a picture is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from odins_ravne_assets.odin.totals import CostShare

HOUR_SECONDS = 3600


@dataclass(frozen=True)
class SpeciesVisits:
    """Visits of a species to all cameras, as they are in the tables now.

    Args:
        known: it is an animal whose species was told; not a person, a vehicle, or an unknown one.
    """

    species: str
    scientific_name: str
    visits: int
    known: bool


@dataclass(frozen=True)
class UnitCosts:
    """USD; None where there is nothing to divide by."""

    per_job: Decimal | None
    per_1000_images: Decimal | None
    per_video_hour: Decimal | None
    per_1000_frames: Decimal | None
    per_camera: Decimal | None
    per_species_observation: Decimal | None


def unit_costs(
    spent: CostShare, jobs_done: int, cameras: int, species: Sequence[SpeciesVisits]
) -> UnitCosts:
    """Divide what was spent.

    Args:
        spent: for computing, on everything that is counted here.
    """
    images = spent.usd * spent.images / spent.frames if spent.frames else None
    hours = Decimal(spent.video_seconds) / HOUR_SECONDS
    return UnitCosts(
        per_job=_each(spent.usd, jobs_done),
        per_1000_images=_each(images, Decimal(spent.images) / 1000),
        per_video_hour=_each(None if images is None else spent.usd - images, hours),
        per_1000_frames=_each(spent.usd, Decimal(spent.frames) / 1000),
        per_camera=_each(spent.usd, cameras),
        per_species_observation=_each(
            spent.usd, sum(each.visits for each in species if each.known)
        ),
    )


def _each(usd: Decimal | None, number: int | Decimal) -> Decimal | None:
    return usd / number if usd is not None and number else None
