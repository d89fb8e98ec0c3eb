"""Stage 0: from the files of one camera to the rows of the MEDIA table.

Every file with a medium's name becomes a row, and so does every folder that cannot be listed:
nothing is left out in silence. What an earlier pass has read is not read again.
"""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from odins_ravne_assets.munin.media.camera_clock import CameraClock, CameraClocks
from odins_ravne_assets.munin.media.capture_time import (
    future_time_remark,
    time_from_file_date,
    time_from_file_name,
)
from odins_ravne_assets.munin.media.media_files import extension_of, is_hidden, kind_by_name
from odins_ravne_assets.munin.media.media_table import (
    StoredMedia,
    Row,
    open_media_table,
    write_media_table,
)
from odins_ravne_assets.munin.media.probe import Probe, join_remarks
from odins_ravne_assets.munin.tables.schemas import MEDIA
from resources.errors import MediaError, StoreError
from resources.settings.profile import Stage0
from resources.storage.object_store import ObjectStore, OnListError, StoredObject, key_order

CHUNK_BYTES = 2**20
# Of SHA-256, 16 bytes are kept to find duplicates: two different files in a billion would agree
# on them with a chance of 1 in 10^20.
DIGEST_BYTES = 16

ProbeFile = Callable[[Path], Probe]


@dataclass
class FootageCounts:
    """What a pass has come across so far."""

    media: int = 0  # rows, of which:
    ok: int = 0
    failed: int = 0
    duplicate: int = 0
    reused: int = 0  # rows of an earlier pass, not read again
    bytes: int = 0  # of all media
    hidden: int = 0  # files that operating systems left
    ignored: Counter[str] = field(default_factory=Counter)  # files that are no media, by extension

    def add(self, status: str) -> None:
        """Count one row."""
        self.media += 1
        self.ok += status == "ok"
        self.failed += status == "failed"
        self.duplicate += status == "duplicate"


class ReadResult(NamedTuple):
    """What came of reading a file: its header, or why it cannot be used."""

    content_hash: str | None
    probe: Probe | None
    failure: str | None


class FootageStore(Protocol):
    """What a pass asks of the store that the footage lies in; see ObjectStore."""

    url: str

    def list(self, prefix: str = "", on_error: OnListError | None = None) -> Iterator[StoredObject]:
        """Its objects, in `key_order`."""

    def reading(self, key: str) -> AbstractContextManager[Path]:
        """A local file with an object's content."""


class UnlistedFolder(NamedTuple):
    key: str
    reason: str


def refresh_media_table(
    camera_id: str,
    footage: ObjectStore,
    results: ObjectStore,
    key: str,
    settings: Stage0,
    probe: ProbeFile,
    corrections: CameraClocks,
    on_progress: Callable[[FootageCounts], None] = lambda counts: None,
) -> FootageCounts:
    """Bring the media table under `key` up to date with a camera's footage.

    Args: see `read_footage`.

    Raises:
        StoreError: the table is another camera's; or see `read_footage`.
    """
    counts = FootageCounts()
    rules = offset_rules(settings, corrections.of(camera_id))
    with open_media_table(results, key) as known:
        if known.camera_id not in {None, camera_id}:
            raise StoreError(
                f"{results.url}: holds the results of camera {known.camera_id}, which those of "
                f"{camera_id} would replace; name another OUTPUT"
            )
        rows = read_footage(
            camera_id, footage, settings, probe, known, corrections, counts, on_progress
        )
        write_media_table(rows, results, key, rules)
    return counts


def read_footage(
    camera_id: str,
    store: FootageStore,
    settings: Stage0,
    probe: ProbeFile,
    known: StoredMedia,
    corrections: CameraClocks,
    counts: FootageCounts,
    on_progress: Callable[[FootageCounts], None] = lambda counts: None,
) -> Iterator[Row]:
    """The rows of a camera's media, in `key_order`, one at a time.

    Args:
        probe: reads one header; raises MediaError for a file that cannot be used.
        known: the rows of an earlier pass. A file of the same path, size and date is not read
            again, unless it failed then.
        counts: is kept up to date; complete when the last row was taken.
        on_progress: called with `counts` before each row is given out.

    Raises:
        StoreError: the footage as a whole cannot be listed.
    """
    before: list[str] = []
    with closing(_Reader(camera_id, store, settings, probe, known, corrections, counts)) as reader:
        for found in _listed(store, counts):
            row = reader.row(found)
            order = key_order(found.key)
            if order <= before:
                raise StoreError(f"{store.url}: {found.key} is not listed in order")
            before = order
            on_progress(counts)
            yield row


def offset_rules(settings: Stage0, clock: CameraClock) -> str:
    """All that decides on UTC offsets beside the files themselves, as text to compare.

    The table holds the offset that resulted, not the one that the camera wrote, so it takes the
    rules of then to tell whether a row's offset still holds.
    """
    offsets = [
        (one.start.isoformat(), one.until.isoformat(), one.utc_offset_minutes)
        for one in clock.corrections
        if one.utc_offset_minutes is not None
    ]
    return json.dumps([settings.container_time, offsets])


def _listed(store: FootageStore, counts: FootageCounts) -> Iterator[StoredObject | UnlistedFolder]:
    """The media of a store, and the folders that hide some, in order."""
    unlisted: list[UnlistedFolder] = []

    def note(key: str, reason: str) -> None:
        if key in {"", "."}:
            raise StoreError(f"{store.url}: cannot be listed: {reason}")
        if is_hidden(key):
            counts.hidden += 1
        else:
            unlisted.append(UnlistedFolder(f"{key}/", reason))

    for found in store.list("", on_error=note):
        yield from unlisted
        unlisted.clear()
        if is_hidden(found.key):
            counts.hidden += 1
        elif kind_by_name(found.key) is None:
            counts.ignored[extension_of(found.key)] += 1
        else:
            yield found
    yield from unlisted


class _Reader:
    """Makes rows; holds what rows have to do with each other and with those of an earlier pass."""

    def __init__(
        self,
        camera_id: str,
        store: FootageStore,
        settings: Stage0,
        probe: ProbeFile,
        known: StoredMedia,
        corrections: CameraClocks,
        counts: FootageCounts,
    ) -> None:
        self._camera_id = camera_id
        self._store = store
        self._settings = settings
        self._probe = probe
        self._clock = corrections.of(camera_id)
        self._counts = counts
        self._known = _KnownRows(known.rows)
        self._same_offsets = known.offset_rules == offset_rules(settings, self._clock)
        self._seen = _SeenContent()

    def close(self) -> None:
        self._seen.close()

    def row(self, found: StoredObject | UnlistedFolder) -> Row:
        """The row of a file, or of a folder that cannot be listed."""
        row: Row = dict.fromkeys(MEDIA.names())
        row |= {"camera_id": self._camera_id, "path": _printable(found.key)}
        if isinstance(found, UnlistedFolder):
            row |= {"status": "failed", "reason": f"folder cannot be listed: {found.reason}"}
        else:
            row |= {
                "bytes": found.size,
                "modified_ns": found.modified_ns,
                "kind": kind_by_name(found.key),
            }
            row |= self._outcome(found, self._reading_of(found))
            self._counts.bytes += found.size
        self._counts.add(row["status"])
        return row

    def _reading_of(self, found: StoredObject) -> ReadResult:
        if not _is_unicode(found.key):
            return ReadResult(None, None, "its name is not valid UTF-8: rename it")
        old = self._known.find(found.key)
        if old is not None and self._still_holds(old, found):
            self._counts.reused += 1
            return _reading_from(old)
        return self._read(found)

    def _still_holds(self, old: Row, found: StoredObject) -> bool:
        """Whether reading the file again would give what an earlier row says."""
        if (old["bytes"], old["modified_ns"]) != (found.size, found.modified_ns):
            return False
        if old["status"] == "duplicate" and not self._seen.has(old["content_hash"]):
            return False  # the original is gone, and the row never told what is odd about this one
        if old["width"] * old["height"] > self._settings.max_megapixels * 1e6:
            return False
        if self._same_offsets or old["time_source"] not in {"exif", "container"}:
            return True
        correction = self._clock.correction_at(old["recorded_at"])
        if correction and correction.utc_offset_minutes is not None:
            return True  # it stands over whatever the camera says
        return old["time_source"] == "exif" and old["utc_offset_minutes"] is None

    def _read(self, found: StoredObject) -> ReadResult:
        content_hash = None
        try:
            with self._store.reading(found.key) as path:
                content_hash, size = _sha256(path)
                if size != found.size:
                    raise MediaError("changed while it was read: run again when copying has ended")
                probe = self._probe(path)
        except (MediaError, StoreError) as error:
            return ReadResult(content_hash, None, str(error))
        except OSError as error:
            return ReadResult(content_hash, None, f"cannot be read: {error.strerror or error}")
        if probe.recorded_at:
            odd = future_time_remark(probe.recorded_at, found.modified_ns)
            probe = probe.model_copy(update={"remark": join_remarks([probe.remark, odd])})
        return ReadResult(content_hash, probe, None)

    def _outcome(self, found: StoredObject, reading: ReadResult) -> Row:
        """The columns that depend on the file's content."""
        content_hash, probe, failure = reading
        if probe is None or content_hash is None:
            return {"content_hash": content_hash, "status": "failed", "reason": failure}
        first = self._seen.first_path(content_hash, found.key)
        return {
            "content_hash": content_hash,
            **probe.model_dump(exclude={"remark"}),
            **self._times(found, probe),
            "status": "ok" if first == found.key else "duplicate",
            "reason": probe.remark if first == found.key else f"same content as {first}",
        }

    def _times(self, found: StoredObject, probe: Probe) -> Row:
        recorded_at, offset = probe.recorded_at, probe.utc_offset_minutes
        source: str | None = probe.time_source
        if recorded_at is None:
            recorded_at, offset, _ = time_from_file_name(found.key)
            source = "filename" if recorded_at else None
        if recorded_at is None and self._settings.use_file_date:
            recorded_at, offset, _ = time_from_file_date(found.modified_ns)
            source = "file_date" if recorded_at else None
        captured_at, offset = self._clock.corrected(recorded_at, offset)
        return {
            "recorded_at": recorded_at,
            "captured_at": captured_at,
            "utc_offset_minutes": offset,
            "time_source": source,
        }


class _KnownRows:
    """The usable rows of an earlier pass, taken in step with the listing: both are in order."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = (row for row in rows if row["status"] != "failed")
        self._next = next(self._rows, None)

    def find(self, key: str) -> Row | None:
        """The row of a path. Asked for in `key_order`."""
        order = key_order(key)
        while self._next is not None and key_order(self._next["path"]) < order:
            self._next = next(self._rows, None)
        return self._next if self._next is not None and self._next["path"] == key else None


class _SeenContent:
    """Under which path each content was first seen. On disk, so that a million files fit."""

    def __init__(self) -> None:
        # An empty name is SQLite's for a temporary file that nobody else sees.
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            "CREATE TABLE seen (digest BLOB PRIMARY KEY, path TEXT) WITHOUT ROWID",
            "BEGIN",
        ):
            self._base.execute(statement)

    def has(self, content_hash: str) -> bool:
        return self._path_of(_digest(content_hash)) is not None

    def first_path(self, content_hash: str, path: str) -> str:
        """The first path of this content, which is `path` when it was not seen before."""
        digest = _digest(content_hash)
        first = self._path_of(digest)
        if first is None:
            self._base.execute("INSERT INTO seen VALUES (?, ?)", (digest, path))
        return first or path

    def _path_of(self, digest: bytes) -> str | None:
        query = "SELECT path FROM seen WHERE digest = ?"
        found = self._base.execute(query, (digest,)).fetchone()
        return str(found[0]) if found else None

    def close(self) -> None:
        self._base.close()


def _digest(content_hash: str) -> bytes:
    return bytes.fromhex(content_hash)[:DIGEST_BYTES]


def _reading_from(row: Row) -> ReadResult:
    """What an earlier row says of the file itself; its time only where the file told it."""
    facts = {name: row[name] for name in Probe.model_fields if name != "remark"}
    if row["time_source"] not in {"exif", "container"}:
        facts |= {"recorded_at": None, "utc_offset_minutes": None, "time_source": None}
    return ReadResult(row["content_hash"], Probe(**facts, remark=row["reason"]), None)


def _sha256(path: Path) -> tuple[str, int]:
    """SHA-256 in hexadecimal, and how many bytes it was of."""
    digest = hashlib.sha256()
    piece = memoryview(bytearray(CHUNK_BYTES))
    total = 0
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(piece):
            digest.update(piece[:size])
            total += size
    return digest.hexdigest(), total


def _is_unicode(key: str) -> bool:
    """Whether a name can be written down: file systems allow bytes that no text stands for."""
    return _printable(key) == key


def _printable(key: str) -> str:
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
