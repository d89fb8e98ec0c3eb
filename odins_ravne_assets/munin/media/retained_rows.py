"""The rows of sources that are not available, and the contents that a pass has seen so far."""

import sqlite3
from collections.abc import Iterable, Iterator

from odins_ravne_assets.munin.media.camera_clock import CameraClock
from odins_ravne_assets.munin.media.media_table import (
    OTHER_OFFSETS,
    OTHER_READER,
    Row,
    StoredMedia,
)
from odins_ravne_assets.munin.media.source_store import SourceFootage

# Bytes of SHA-256 that are compared to find duplicates: two different files in a billion agree
# with a chance of 1 in 10^20.
DIGEST_BYTES = 16


class ContentIndex:
    """The first path of each content, on disk, so that memory does not grow with the files."""

    def __init__(self) -> None:
        # The empty name stands for a private temporary file.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            "CREATE TABLE seen (digest BLOB PRIMARY KEY, path TEXT) WITHOUT ROWID",
            "BEGIN",
        ):
            self._database.execute(statement)

    def has(self, content_hash: str) -> bool:
        return self._path_of(_digest(content_hash)) is not None

    def first_path(self, content_hash: str, path: str) -> str:
        """Return the first path of this content; `path` if it is new."""
        digest = _digest(content_hash)
        first = self._path_of(digest)
        if first is None:
            self._database.execute("INSERT INTO seen VALUES (?, ?)", (digest, path))
        return first or path

    def _path_of(self, digest: bytes) -> str | None:
        query = "SELECT path FROM seen WHERE digest = ?"
        found = self._database.execute(query, (digest,)).fetchone()
        return str(found[0]) if found else None

    def close(self) -> None:
        self._database.close()


def retained_rows(
    rows: Iterable[Row], prefix: str, clock: CameraClock | None, contents: ContentIndex
) -> Iterator[Row]:
    """Yield the rows of a source that is not available, with today's paths and clock corrections.

    Args:
        rows: those of the previous pass, with paths relative to the source.
        prefix: what the paths of the source's media begin with.
        clock: None: times stay as they are.
        contents: of the sources before it; a row whose content is in one of them is a duplicate.
    """
    for row in rows:
        kept = row | {"path": prefix + row["path"], "source": prefix.rstrip("/") or None}
        if clock is not None:
            captured_at, offset = clock.corrected(row["recorded_at"], row["utc_offset_minutes"])
            kept |= {"captured_at": captured_at, "utc_offset_minutes": offset}
        if row["status"] != "failed":
            first = contents.first_path(row["content_hash"], kept["path"])
            if first != kept["path"]:
                kept |= {"status": "duplicate", "reason": f"same content as {first}"}
            elif row["status"] == "duplicate":  # the other file is gone
                kept |= {"status": "ok", "reason": None}
        yield kept


def retained_rules(footage: object, known: StoredMedia, rules: str) -> dict[str, str]:
    """Return how the rows of sources that are not available differ from the rest, by name.

    Args:
        footage: of the pass, with all sources of the camera or one.
        known: the previous pass.
        rules: the offset rules of the pass.
    """
    if not isinstance(footage, SourceFootage):
        return {}
    missing = [each.source.name for each in footage.sources if each.store is None]
    before = {name: known.rules_of(name) for name in missing}
    return {
        name: OTHER_READER if old == OTHER_READER else OTHER_OFFSETS
        for name, old in before.items()
        if old not in {None, rules}
    }


def _digest(content_hash: str) -> bytes:
    return bytes.fromhex(content_hash)[:DIGEST_BYTES]
