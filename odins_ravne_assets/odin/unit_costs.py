"""Cost per job, per 1,000 images, per hour of video, per camera and per observation.

Compute only: the cost of storage depends on how long data is stored. Images and videos share the
cost by their processed frames; an image is one frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from odins_ravne_assets.odin.formatting import HOUR_SECONDS
from odins_ravne_assets.odin.totals import CostShare


@dataclass(frozen=True)
class SpeciesVisits:
    """Visits of a species at all cameras, as currently in the tables.

    Args:
        known: it is an identified animal; not a person, a vehicle or an unknown animal.
    """

    species: str
    scientific_name: str
    visits: int
    known: bool


@dataclass(frozen=True)
class UnitCosts:
    """USD; None if there is nothing to divide by."""

    per_job: Decimal | None
    per_1000_images: Decimal | None
    per_video_hour: Decimal | None
    per_1000_frames: Decimal | None
    per_camera: Decimal | None
    per_species_observation: Decimal | None


def unit_costs(
    compute: CostShare, jobs_done: int, cameras: int, species: Sequence[SpeciesVisits]
) -> UnitCosts:
    """Divide the total cost of compute by jobs, images, hours, frames, cameras and observations."""
    images = compute.usd * compute.images / compute.frames if compute.frames else None
    hours = Decimal(compute.video_seconds) / HOUR_SECONDS
    return UnitCosts(
        per_job=_per(compute.usd, jobs_done),
        per_1000_images=_per(images, Decimal(compute.images) / 1000),
        per_video_hour=_per(None if images is None else compute.usd - images, hours),
        per_1000_frames=_per(compute.usd, Decimal(compute.frames) / 1000),
        per_camera=_per(compute.usd, cameras),
        per_species_observation=_per(
            compute.usd, sum(each.visits for each in species if each.known)
        ),
    )


def _per(usd: Decimal | None, count: int | Decimal) -> Decimal | None:
    return usd / count if usd is not None and count else None
