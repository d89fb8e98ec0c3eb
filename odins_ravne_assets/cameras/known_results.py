"""The cameras whose results are in a folder: known ones, and results copied from elsewhere.

Results say of which camera they are, and where its footage was. So a folder of results that was
copied to a stick or another machine can be used there: it is added to the catalog.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import polars as pl

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.results_store import OpenStore, store_opener
from odins_ravne_assets.munin.media.sources import Source, load_sources, path_prefix
from resources.errors import StoreError, UsageError
from resources.settings.profile import Profile
from resources.storage.layout import MEDIA_TABLE
from resources.storage.local_store import LocalStore, local_path
from resources.storage.object_store import S3_SCHEME, ObjectStore
from resources.storage.open_store import display_url
from resources.storage.parquet_files import scan_parquet

# Folders above the results in which moved footage is looked for, and media that it must have.
LEVELS, MEDIA_COMPARED = 4, 20

Print = Callable[[str], None]


def cameras_of_results(
    output: str, catalog: CameraCatalog, profile: Profile, print_line: Print
) -> list[Camera]:
    """Return the cameras whose results are at OUTPUT, or in its folders.

    Results that the catalog does not know are added to it.

    Args:
        print_line: prints what was added.

    Raises:
        UsageError: there are no results, or the catalog has another camera of the same id.
        StoreError: results cannot be read.
    """
    url = output.rstrip("/") if output.startswith(S3_SCHEME) else local_path(output).as_uri()
    known = {each.output_url.rstrip("/"): each for each in catalog.list()}
    if url in known:
        return [known[url]]
    open_store = store_opener(profile)
    if _is_reachable(url, profile) and open_store(url).exists(MEDIA_TABLE):
        return [_added(url, catalog, open_store, print_line)]
    below = {place: each for place, each in known.items() if place.startswith(f"{url}/")}
    unknown = [place for place in _result_folders(url) if place not in known]
    added = [_added(place, catalog, open_store, print_line) for place in unknown]
    if not below and not added:
        raise UsageError(
            f"OUTPUT {output}: holds no results of a camera; `munin status` lists the known ones"
        )
    return sorted((*below.values(), *added), key=lambda each: each.camera_id)


def camera_of_results(
    output: str, catalog: CameraCatalog, profile: Profile, print_line: Print
) -> Camera:
    """Return the camera whose results are at OUTPUT; see `cameras_of_results`.

    Raises:
        UsageError: also if there are several.
    """
    found = cameras_of_results(output, catalog, profile, print_line)
    if len(found) > 1:
        raise UsageError(
            f"OUTPUT {output}: holds the results of {len(found)} cameras; name the folder of one, "
            f"such as {display_url(found[0].output_url)}"
        )
    return found[0]


def _is_reachable(url: str, profile: Profile) -> bool:
    return profile.cloud is not None or not url.startswith(S3_SCHEME)


def _result_folders(url: str) -> list[str]:
    """The URLs of a local folder's folders that hold results."""
    folder = None if url.startswith(S3_SCHEME) else local_path(url)
    if folder is None or not folder.is_dir():
        return []
    try:
        return [
            each.as_uri() for each in sorted(folder.iterdir()) if (each / MEDIA_TABLE).is_file()
        ]
    except OSError as error:
        raise UsageError(f"{folder}: cannot be listed: {error.strerror or error}") from None


def _added(url: str, catalog: CameraCatalog, open_store: OpenStore, print_line: Print) -> Camera:
    """Add the camera of results to the catalog."""
    results = open_store(url)
    camera_id, sources = _origin(results)
    shown = display_url(url)
    for known in catalog.list():
        if known.camera_id.casefold() == camera_id.casefold():
            _require_gone(known, shown, open_store)
            print_line(
                f"{camera_id}: its results are at {shown}, and not at "
                f"{display_url(known.output_url)} any more"
            )
    found = _footage_near(results, sources)
    known_place = sources[-1].place if sources else None
    footage = found or (known_place if _can_be_opened(known_place) else None) or f"{url}/footage"
    camera = Camera(camera_id, footage, url)
    catalog.put(camera)
    print_line(f"{camera_id}: results at {shown} are added to the cameras of this machine")
    if found:
        print_line(f"{camera_id}: its footage is at {display_url(found)}")
    elif not _exists(footage):
        print_line(
            f"{camera_id}: its footage is not on this machine; visits, reports and exports need "
            f"none. To add media: munin batch FOOTAGE {shown} --camera {camera_id}"
        )
    return camera


def _origin(results: ObjectStore) -> tuple[str, tuple[Source, ...]]:
    """The camera of results, and the sources of its footage, where these are known."""
    if listed := load_sources(results):
        return listed.camera_id, listed.sources
    with results.reading(MEDIA_TABLE) as path:
        rows = scan_parquet(path).select("camera_id").head(1).collect()
    if rows.is_empty():
        raise StoreError(
            f"{results.url}: has no media, so its camera is unknown; run munin batch INPUT OUTPUT"
        )
    return str(rows.item()), ()


def _require_gone(known: Camera, shown: str, open_store: OpenStore) -> None:
    """Refuse a second camera of the same id, unless the results have been moved."""
    place = display_url(known.output_url)
    is_there = known.output_url.startswith(S3_SCHEME) or open_store(known.output_url).exists(
        MEDIA_TABLE
    )
    if is_there:
        raise UsageError(
            f"OUTPUT {shown}: holds the results of a camera {known.camera_id}, and this machine "
            f"has those of its own camera {known.camera_id} at {place}; name these, or set "
            "DAGSTER_HOME to another folder to work on both"
        )


def _exists(place: str) -> bool:
    return place.startswith(S3_SCHEME) or local_path(place).is_dir()


def _can_be_opened(place: str | None) -> bool:
    """False for a place that only another system has, as a share of Windows."""
    if place is None or place.startswith(S3_SCHEME):
        return place is not None
    try:
        local_path(place)
    except UsageError:
        return False
    return True


def _footage_near(results: ObjectStore, sources: Sequence[Source]) -> str | None:
    """The URL of footage that was copied along with results, to the same place relative to them.

    Of several sources, the last one is looked for.
    """
    if not isinstance(results, LocalStore) or not sources or not sources[-1].place:
        return None
    prefix = path_prefix(sources[-1], sources)
    with results.reading(MEDIA_TABLE) as path:
        mine = pl.col("bytes").is_not_null() & pl.col("path").str.starts_with(prefix)
        table = scan_parquet(path).filter(mine).select("path", "bytes")
        sizes = table.head(MEDIA_COMPARED).collect().rows()
    for folder in _candidates(results.root, sources[-1].place):
        if sizes and all(_has(folder / path[len(prefix) :], size) for path, size in sizes):
            return folder.as_uri()
    return None


def _candidates(root: Path, place: str) -> Iterator[Path]:
    """Folders above the results, continued by the end of a known place, longest first."""
    if place.startswith(S3_SCHEME):
        return
    parts = [part for part in unquote(urlsplit(place).path).split("/") if part.strip(".")]
    for above in list(root.parents)[:LEVELS]:
        for start in range(len(parts)):
            folder = above.joinpath(*parts[start:])
            if folder != root and folder.is_dir():
                yield folder


def _has(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
