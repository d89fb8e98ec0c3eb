"""Which camera the next card is of, and what the catalog remembers of the cards before it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.one_camera import DATE
from odins_ravne_assets.cameras.results_store import store_of
from odins_ravne_assets.munin.media.sources import load_sources
from resources.errors import StoreError, UsageError
from resources.settings.camera_ids import suggest_camera_id
from resources.settings.profile import Profile
from resources.storage.layout import MEDIA_TABLE
from resources.storage.object_store import S3_SCHEME
from resources.storage.open_store import display_url

# Names of cards, not of cameras: the labels that cards come with. Dates are too (`DATE`).
CARD_LABEL = re.compile(
    r"(no[ _-]?name|untitled|(memory|sd)?[ _-]?card|sd(hc|xc)?|usb|(removable|usb)?[ _-]?disk)"
    r"[ _-]?\d*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Holder:
    """The camera whose results are at an OUTPUT, and the places of its footage."""

    camera_id: str
    places: tuple[str, ...]


def camera_of_next_card(
    derived: str, footage: str, output: str, catalog: CameraCatalog, profile: Profile
) -> str:
    """Return the id of the camera that footage is of, where --camera names none.

    It is that of the results at OUTPUT, if OUTPUT has the camera's name, or if the folders have the
    names of cards: dates, and labels that cards come with.

    Args:
        derived: the id by the name of the footage's folder.
        footage, output: URLs.

    Raises:
        UsageError: OUTPUT holds the results of another camera; names both ways out.
        StoreError: the results cannot be read.
    """
    holder = _holder(output, catalog, profile)
    if holder is None or holder.camera_id == derived or footage in holder.places:
        return derived if holder is None else holder.camera_id
    name = PurePosixPath(output.rstrip("/")).name
    both_cards = is_card_name(derived) and is_card_name(holder.camera_id)
    if suggest_camera_id(name) == holder.camera_id or both_cards:
        return holder.camera_id
    shown = display_url(output)
    raise UsageError(
        f"OUTPUT {shown}: holds the results of camera {holder.camera_id}; add --camera "
        f"{holder.camera_id} if {display_url(footage)} is its next card, or name another OUTPUT "
        f"for camera {derived}"
    )


def _holder(output: str, catalog: CameraCatalog, profile: Profile) -> Holder | None:
    for known in catalog.list():
        if known.output_url.rstrip("/") == output.rstrip("/"):
            return Holder(known.camera_id, known.places)
    listed = load_sources(store_of(output, profile))
    if listed is None:
        return None
    return Holder(listed.camera_id, tuple(each.place or "" for each in listed.sources))


def is_card_name(name: str) -> bool:
    """Return True if a folder is named as a card: by a date, or a label that cards come with."""
    if CARD_LABEL.fullmatch(name):
        return True
    # A year alone may be a season of another study.
    is_number = re.fullmatch(r"[\d\W_]+", name) is not None
    return is_number and DATE.fullmatch(" ".join(re.findall(r"\d+", name))) is not None


def remember(
    camera: Camera, catalog: CameraCatalog, profile: Profile, log: Callable[[str], None]
) -> Camera:
    """Put a camera into the catalog with the places of its footage so far, and return it.

    Args:
        log: prints that the results are in another place than before.
    """
    known = catalog.find(camera.camera_id)
    camera = with_history(camera, catalog)
    is_elsewhere = known is not None and not _same(known.output_url, camera.output_url)
    if known is not None and is_elsewhere and _holds_results(known, profile):
        log(
            f"{camera.camera_id}: its results are in {display_url(camera.output_url)} from now on; "
            f"those in {display_url(known.output_url)} stay as they are, and hold its earlier "
            f"footage. To add this footage to them: munin batch "
            f"{display_url(camera.footage_url)} {display_url(known.output_url)} --camera "
            f"{camera.camera_id}"
        )
    catalog.put(camera)
    return camera


def with_history(camera: Camera, catalog: CameraCatalog) -> Camera:
    """Return a camera with the places of its footage before, if its results are where they were."""
    known = catalog.find(camera.camera_id)
    if known is None or not _same(known.output_url, camera.output_url):
        return camera
    return with_place(known, camera.footage_url)


def without_place(camera: Camera, removed: str | None, left: Sequence[str]) -> Camera:
    """Return a camera after the removal of a source: its next run must not add it again.

    Args:
        removed: the place of the source.
        left: the places of the others.
    """
    if removed is None or not any(_same(each, removed) for each in camera.places) or not left:
        return camera
    earlier = tuple(each for each in camera.earlier_footage if not _same(each, removed))
    last = camera.footage_url if not _same(camera.footage_url, removed) else left[-1]
    return replace(camera, footage_url=last, earlier_footage=tuple(e for e in earlier if e != last))


def with_place(camera: Camera, footage_url: str) -> Camera:
    """Return a camera whose next run reads another place, with the places before it."""
    if _same(camera.footage_url, footage_url):
        return camera
    earlier = tuple(each for each in camera.places if not _same(each, footage_url))
    return replace(camera, footage_url=footage_url, earlier_footage=earlier)


def _same(url: str, other: str) -> bool:
    return url.rstrip("/") == other.rstrip("/")


def _holds_results(camera: Camera, profile: Profile) -> bool:
    if camera.output_url.startswith(S3_SCHEME) and profile.cloud is None:
        return True
    try:
        return store_of(camera.output_url, profile).exists(MEDIA_TABLE)
    except StoreError:
        return True
