"""The sources of a camera's footage: its memory cards, folders and prefixes on S3.

A camera has one source for each card. `sources.json` of its results lists them, in the order in
which they were added:

    {"camera_id": "ridge", "sources": [{"name": "20260501", "place": "file:///cards/20260501"}]}

With several sources, the path of a medium begins with the name of its source; with one it does not,
so that the results of one card stay as they are.
"""

import json
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from urllib.parse import unquote, urlsplit

from odins_ravne_assets.munin.media.media_files import is_hidden
from resources.errors import StoreError
from resources.printable import printable
from resources.storage.layout import SOURCES_FILE
from resources.storage.object_store import ObjectStore
from resources.storage.stored_json import read_json_object

REMEDY = "delete it, and the next run makes it again"
# The folder of DCF 2.0 that every card has: it, and what is in it, name no card.
DCIM = "dcim"
MAX_NAME_CHARACTERS = 100


@dataclass(frozen=True)
class Source:
    """A source of a camera's footage.

    Args:
        name: unique within the camera, whatever the case of its letters; without slashes.
        place: the URL of its folder when it was last read; None: unknown, for results of earlier
            versions.
        copy: the URL on S3 of the copy that jobs read; None: there is none.
    """

    name: str
    place: str | None
    copy: str | None = None


@dataclass(frozen=True)
class OpenedSource:
    """A source with the store of its media.

    Args:
        store: None: the source is not available now, and its rows stay as they are.
        reason: why it is not available.
    """

    source: Source
    store: ObjectStore | None
    reason: str = ""


@dataclass(frozen=True)
class CameraSources:
    """The camera of results, and its sources in the order in which they were added."""

    camera_id: str
    sources: tuple[Source, ...]


def load_sources(results: ObjectStore) -> CameraSources | None:
    """Return the sources of results; None for results of earlier versions, and if there are none.

    Raises:
        StoreError: the list is damaged, or the store refuses.
    """
    if not results.exists(SOURCES_FILE):
        return None
    tree = read_json_object(results, SOURCES_FILE, REMEDY, "camera_id", "sources")
    try:
        found = tuple(
            Source(str(each["name"]), each.get("place"), each.get("copy"))
            for each in tree["sources"]
        )
    except (AttributeError, KeyError, TypeError):
        found = ()
    if not found or len({fold_name(each.name) for each in found}) < len(found):
        raise StoreError(f"{results.url}/{SOURCES_FILE}: is damaged; {REMEDY}")
    return CameraSources(str(tree["camera_id"]), found)


def save_sources(results: ObjectStore, camera_id: str, sources: Sequence[Source]) -> None:
    """Write the list of sources, unless it is the stored one.

    Raises:
        StoreError: the store refuses.
    """
    tree = {
        "camera_id": camera_id,
        "sources": [
            {key: value for key, value in asdict(each).items() if value is not None}
            for each in sources
        ],
    }
    data = json.dumps(tree, indent=1).encode() + b"\n"
    if not results.exists(SOURCES_FILE) or results.read_bytes(SOURCES_FILE) != data:
        results.write_bytes(SOURCES_FILE, data)


def path_prefix(source: Source, sources: Sequence[Source]) -> str:
    """Return what the paths of a source's media begin with."""
    return f"{source.name}/" if len(sources) > 1 else ""


def source_name(place: str | None, taken: Collection[str], default: str) -> str:
    """Return a name for a new source: that of its folder, made unique.

    Args:
        place: its URL.
        taken: the names of the camera's other sources.
        default: for a place without a name, as the root of a drive.
    """
    name = _folder_name(place) or default
    used = {fold_name(each) for each in taken}
    unique, number = name, 1
    while fold_name(unique) in used:
        number += 1
        unique = f"{name}-{number}"
    return unique


def fold_name(name: str) -> str:
    """Return what two names share that are one folder on a case-insensitive disk."""
    return unicodedata.normalize("NFC", name).casefold()


def _folder_name(place: str | None) -> str:
    if place is None:
        return ""
    parts = urlsplit(place)
    path = place.partition("://")[2] if parts.scheme == "s3" else unquote(parts.path)
    names = [
        printable(each).strip().replace(":", "") for each in path.replace("\\", "/").split("/")
    ]
    folded = [each.casefold() for each in names]
    if DCIM in folded[-2:]:
        names = names[: folded.index(DCIM, max(0, len(folded) - 2))]
    named = [each for each in names if each.strip(".$#@ ")]
    if not named:
        return ""
    name = unicodedata.normalize("NFC", named[-1])[:MAX_NAME_CHARACTERS].strip()
    return name.strip(".$#@ ") if is_hidden(name) else name
