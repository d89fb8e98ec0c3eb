"""The places of cameras in everything that is shared: `stage3/`, exports, pages, metadata.

One function decides which cameras are covered, `covered_cameras`; one gives their coordinates,
`Places.position`, and one the further columns of their deployments, `Places.remarks`. The private
tables, `tables/` and `journal/`, stay exact.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import polars as pl

from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy
from odins_ravne_assets.hugin.privacy.sensitive_taxa import sensitive_taxa
from resources.settings.profile import Privacy

# Columns of a deployment that name or describe its place.
PLACE_COLUMNS = frozenset(
    {"locationID", "locationName", "deploymentGroups", "deploymentTags", "deploymentComments"}
)
# Cameras that are closer than about this many degrees (100 m) are at one station: the place of one
# is that of the other.
STATION_DEGREES = 0.001
# A text with coordinates: a number of three or more decimals, or a degree sign.
_COORDINATES = re.compile(r"\d[.,]\d{3,}|°")


@dataclass(frozen=True)
class Places:
    """The places of cameras as they may be shared.

    Attributes:
        covered: ids of the cameras whose places are covered.
        decimals: of their coordinates.
    """

    covered: frozenset[str]
    decimals: int

    def covers(self, camera_id: str) -> bool:
        """Return True if the camera's place is covered."""
        return camera_id in self.covered

    def with_unknown(self, camera_ids: Iterable[str], privacy: Privacy) -> "Places":
        """Return the places with those of cameras whose visits are not known; see
        `places_before_visits`."""
        return replace(
            self, covered=self.covered | places_before_visits(camera_ids, privacy).covered
        )

    def position(self, camera_id: str, latitude: float, longitude: float) -> tuple[float, float]:
        """Return latitude and longitude in degrees, rounded if the camera is covered."""
        if not self.covers(camera_id):
            return latitude, longitude
        return round(latitude, self.decimals), round(longitude, self.decimals)

    def remarks(self, camera_id: str, remarks: Mapping[str, str]) -> dict[str, str]:
        """Return the columns of a deployment that do not reveal the place of a covered camera."""
        if not self.covers(camera_id):
            return dict(remarks)
        return {
            name: text
            for name, text in remarks.items()
            if name not in PLACE_COLUMNS and not _COORDINATES.search(text)
        }


def covered_cameras(
    visits: Iterable[tuple[str, pl.DataFrame, Taxonomy]],
    positions: Iterable[tuple[str, float, float]],
    privacy: Privacy,
) -> Places:
    """Return the places of cameras, covered where a sensitive taxon was, or may have been, seen.

    A camera at the station of a covered one is covered, too.

    Args:
        visits: of each camera its id, rows of `tables.OBSERVATIONS`, and its taxonomy.
        positions: exact positions of cameras: id, latitude and longitude in degrees.
        privacy: the privacy settings.

    Raises:
        UsageError: a name of `privacy.sensitive_species` is unknown.
    """
    cameras = list(visits)
    taxa = sensitive_taxa(privacy.sensitive_species, [taxonomy for *_, taxonomy in cameras])
    covered = {camera for camera, rows, _ in cameras if taxa.cover_any(rows)}
    cells = [(camera, _cell(latitude, longitude)) for camera, latitude, longitude in positions]
    near = {
        (row + rows, column + columns)
        for camera, (row, column) in cells
        if camera in covered
        for rows in (-1, 0, 1)
        for columns in (-1, 0, 1)
    }
    covered |= {camera for camera, cell in cells if cell in near}
    return Places(frozenset(covered), privacy.sensitive_decimals)


def _cell(latitude: float, longitude: float) -> tuple[int, int]:
    return round(latitude / STATION_DEGREES), round(longitude / STATION_DEGREES)


def places_before_visits(camera_ids: Iterable[str], privacy: Privacy) -> Places:
    """Return the places of cameras whose visits are not known yet.

    They are covered if there are sensitive species.
    """
    covered = frozenset(camera_ids) if privacy.sensitive_species else frozenset()
    return Places(covered, privacy.sensitive_decimals)
