"""Where the footage of a project's cameras is on disk, relative to one folder.

Timelapse opens that folder, so exports name media by their paths below it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.results_store import OpenStore
from odins_ravne_assets.hugin.exports.megadetector import Folders
from odins_ravne_assets.munin.media.sources import fold_name, load_sources

Parts = tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    camera_id: str
    source: str | None
    parts: Parts  # empty: unknown


def project_folders(cameras: Iterable[Camera], open_store: OpenStore) -> Folders:
    """Return the folders of the cameras' sources, relative to the folder above all of them.

    Places without a common folder, or of which one is unknown, are named by their own folder; if
    two have the same name, by the id of the camera and the name of the source.

    Raises:
        StoreError: the list of a camera's sources is damaged.
    """
    places = [place for camera in cameras for place in _places(camera, open_store)]
    above = _common([place.parts[:-1] for place in places])
    distinct = {(place.camera_id, place.parts): place for place in places}
    names = Counter(fold_name(_name(place)) for place in distinct.values())
    found: dict[str, dict[str | None, str]] = {}
    for place in places:
        folder = "/".join(place.parts[len(above) :])
        if not above or not place.parts:
            folder = _name(place)
            if names[fold_name(folder)] > 1:
                folder = "/".join(filter(None, [place.camera_id, place.source]))
        found.setdefault(place.camera_id, {})[place.source] = folder
    return found


def _places(camera: Camera, open_store: OpenStore) -> list[_Place]:
    listed = load_sources(open_store(camera.output_url))
    sources = listed.sources if listed else ()
    if len(sources) > 1:
        places = [_Place(camera.camera_id, each.name, _parts(each.place)) for each in sources]
        return [_Place(camera.camera_id, None, places[0].parts), *places]
    place = sources[0].place if sources else camera.footage_url
    if place and place.startswith(f"{camera.output_url}/"):  # of results that were copied here
        place = None
    return [_Place(camera.camera_id, None, _parts(place))]


def _parts(place: str | None) -> Parts:
    """The folders of a URL, with the bucket or the drive; () without a place."""
    if not place:
        return ()
    url = urlsplit(place)
    path = PurePosixPath(url.netloc, *unquote(url.path).split("/"))
    return tuple(part for part in path.parts if part != "/")


def _name(place: _Place) -> str:
    return place.parts[-1] if place.parts else place.camera_id


def _common(places: list[Parts]) -> Parts:
    """The folders with which all places begin."""
    common = places[0] if places else ()
    for parts in places:
        shared = [one == other for one, other in zip(common, parts, strict=False)]
        common = common[: shared.index(False) if False in shared else len(shared)]
    return common
