"""Stage 0: read the files of one camera, of all its sources, into the rows of the media table.

Every file with the extension of a medium becomes a row, and so does every folder that cannot be
listed: nothing is skipped silently. Unchanged files are not read again.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from pydantic import ValidationError

from odins_ravne_assets.munin.media.camera_clock import CameraClock, CameraClocks
from odins_ravne_assets.munin.media.capture_time import (
    RecordedTime,
    remarks_on_time,
    time_from_file_date,
    time_from_file_name,
)
from odins_ravne_assets.munin.media.media_files import (
    hidden_part,
    kind_by_name,
    path_in_table,
)
from odins_ravne_assets.munin.media.media_table import (
    OTHER_READER,
    TAG_READER,
    PreviousRows,
    Row,
    StoredMedia,
    open_media_table,
    write_media_table,
)
from odins_ravne_assets.munin.media.other_files import RAW_COPY, OtherFiles
from odins_ravne_assets.munin.media.other_files_table import write_other_files
from odins_ravne_assets.munin.media.probe import (
    CHANGED,
    Probe,
    check_file_size,
    join_remarks,
)
from odins_ravne_assets.munin.media.raw_pairs import without_raw_copies
from odins_ravne_assets.munin.media.retained_rows import ContentIndex, retained_rows, retained_rules
from odins_ravne_assets.munin.media.source_store import Footage, SourceFootage
from odins_ravne_assets.munin.tables.schemas import MEDIA
from resources.errors import MediaError, StoreError
from resources.settings.profile import Stage0
from resources.storage.object_store import (
    ObjectStore,
    OnListError,
    StoredObject,
    key_order,
    modified_ns,
)

# More than any camera writes into one file, 64 GiB: the time to hash it is bounded.
MAX_VIDEO_BYTES = 2**36

# Sources of times that are in the file itself.
FROM_CONTENT = frozenset({"exif", "xmp", "container"})

ProbeFile = Callable[[Path], Probe]


@dataclass
class FootageCounts:
    """Counts of a pass so far.

    Attributes:
        media: rows of the table.
        other_files: files that are not media.
        hidden: files with the extension of a medium that are hidden or below a hidden folder or a
            recycle bin, by the name of that folder; "": hidden files.
        older_tags: the table has rows whose tags an earlier version read.
    """

    media: int = 0
    other_files: OtherFiles = field(default_factory=OtherFiles)
    hidden: Counter[str] = field(default_factory=Counter)
    older_tags: bool = False


class ReadResult(NamedTuple):
    """The result of reading a file: its header, or the reason why it cannot be used."""

    content_hash: str | None
    probe: Probe | None
    failure: str | None


class FootageStore(Protocol):
    """The methods of the footage's store that a pass uses; see ObjectStore."""

    url: str

    def list(self, prefix: str = "", on_error: OnListError | None = None) -> Iterator[StoredObject]:
        """Yield its objects, in `key_order`."""

    def reading(self, key: str) -> AbstractContextManager[Path]:
        """Open a local file with an object's content."""


class Unlisted(NamedTuple):
    """A folder that cannot be listed, or an entry with the name of a medium that is not a file."""

    key: str
    reason: str


def refresh_media_table(
    camera_id: str,
    footage: Footage,
    results: ObjectStore,
    key: str,
    settings: Stage0,
    probe: ProbeFile,
    clocks: CameraClocks,
    on_progress: Callable[[FootageCounts], None] = lambda counts: None,
    update: bool = False,
) -> FootageCounts:
    """Update the media table under `key` from a camera's footage.

    Args: see `read_footage`.
        update: read the headers again that an earlier version read.

    Raises:
        StoreError: the table belongs to another camera; or see `read_footage`.
    """
    counts = FootageCounts()
    rules = offset_rules(settings, clocks.of(camera_id))
    with open_media_table(results, key) as known:
        require_camera(known, camera_id, results)
        tag_reader = known.tag_reader
        if update and tag_reader < TAG_READER:
            known, tag_reader = known.read_again(), TAG_READER
        counts.older_tags = tag_reader < TAG_READER
        rows = read_footage(camera_id, footage, settings, probe, known, clocks, counts, on_progress)
        kept = retained_rules(footage, known, rules)
        write_media_table(rows, results, key, rules, kept, tag_reader)
    write_other_files(counts.other_files, results)
    return counts


def require_camera(known: StoredMedia, camera_id: str, results: ObjectStore) -> None:
    """Check that a media table is that of a camera.

    Raises:
        StoreError: it is another camera's; names both ways out.
    """
    if known.camera_id not in {None, camera_id}:
        raise StoreError(
            f"{results.url}: holds the results of camera {known.camera_id}, not of {camera_id}; "
            f"name another OUTPUT, or --camera {known.camera_id} to add the footage to that camera"
        )


def read_footage(
    camera_id: str,
    store: FootageStore | SourceFootage,
    settings: Stage0,
    probe: ProbeFile,
    known: StoredMedia,
    clocks: CameraClocks,
    counts: FootageCounts,
    on_progress: Callable[[FootageCounts], None] = lambda counts: None,
) -> Iterator[Row]:
    """Yield the rows of a camera's media: source by source, each in `key_order`.

    The rows of a source that is not available are those of the previous pass.

    Args:
        probe: reads one header; raises MediaError for a file that cannot be used.
        known: the rows of the previous pass. A file with the same path, size and date is not read
            again, unless it failed.
        counts: updated with each row.
        on_progress: called with `counts` before each row is yielded.

    Raises:
        StoreError: the footage as a whole cannot be listed.
    """
    with closing(ContentIndex()) as contents:
        if not isinstance(store, SourceFootage):
            build = _RowBuilder(camera_id, store, settings, probe, known, clocks, counts, contents)
            yield from _rows_of_store(store, build, counts, on_progress)
            return
        clock = clocks.of(camera_id)
        for number, opened in enumerate(store.sources):
            prefix = store.prefix(opened.source)
            rows = known.rows_of(opened.source.name, is_first=number == 0)
            rules = known.rules_of(opened.source.name)
            if opened.store is None:
                for row in retained_rows(rows, prefix, clock, contents):
                    counts.media += 1
                    on_progress(counts)
                    yield row
                continue
            mine = replace(known, rows=() if rules == OTHER_READER else rows, offset_rules=rules)
            build = _RowBuilder(
                camera_id, opened.store, settings, probe, mine, clocks, counts, contents, prefix
            )
            yield from _rows_of_store(opened.store, build, counts, on_progress)


def _rows_of_store(
    store: FootageStore,
    builder: "_RowBuilder",
    counts: FootageCounts,
    on_progress: Callable[[FootageCounts], None],
) -> Iterator[Row]:
    previous: list[str] = []
    for found in _listed(store, counts, builder.prefix):
        row = builder.row(found)
        order = key_order(found.key)
        if order <= previous:
            raise StoreError(f"{store.url}: {found.key} is not listed in order")
        previous = order
        on_progress(counts)
        yield row


def offset_rules(settings: Stage0, clock: CameraClock) -> str:
    """Return the settings that determine UTC offsets, next to the files themselves, as text.

    The table holds the resulting offset, not the recorded one, so a row's offset is valid only
    under the rules that it was made with.
    """
    offsets = [
        (one.start.isoformat(), one.until.isoformat(), one.time_zone or one.utc_offset_minutes)
        for one in clock.corrections
        if one.time_zone or one.utc_offset_minutes is not None
    ]
    zone = [clock.time_zone] if clock.time_zone else []
    return json.dumps([settings.container_time, offsets, *zone])


def _listed(
    store: FootageStore, counts: FootageCounts, prefix: str = ""
) -> Iterator[StoredObject | Unlisted]:
    """Yield the media of a store, and what cannot be listed, in order; count all other files."""

    def on_raw_copy(key: str) -> None:
        counts.other_files.add(prefix + path_in_table(key), RAW_COPY)

    return without_raw_copies(
        _media_by_name(store, counts, prefix), lambda each: each.key, on_raw_copy
    )


def _media_by_name(
    store: FootageStore, counts: FootageCounts, prefix: str
) -> Iterator[StoredObject | Unlisted]:
    """Yield what has the name of a medium, and folders that cannot be listed, in order."""
    unlisted: list[Unlisted] = []

    def on_error(key: str, reason: str) -> None:
        if key in {"", "."}:
            raise StoreError(f"{store.url}: cannot be listed: {reason}")
        if hidden_part(key) is not None:
            return
        if key.endswith("/"):
            unlisted.append(Unlisted(key, f"folder cannot be listed: {reason}"))
        elif kind_by_name(key):
            unlisted.append(Unlisted(key, reason))
        else:
            counts.other_files.add(prefix + path_in_table(key))

    for found in store.list("", on_error=on_error):
        yield from unlisted
        unlisted.clear()
        hidden = hidden_part(found.key)
        if hidden is not None:
            if kind_by_name(found.key):
                is_folder = found.key.rpartition("/")[2] != hidden
                counts.hidden[hidden if is_folder else ""] += 1
            continue
        if kind_by_name(found.key) is None:
            counts.other_files.add(prefix + path_in_table(found.key))
        else:
            yield found
    yield from unlisted


class _RowBuilder:
    """Builds rows; finds duplicates, and reuses the rows of the previous pass."""

    def __init__(
        self,
        camera_id: str,
        store: FootageStore,
        settings: Stage0,
        probe: ProbeFile,
        known: StoredMedia,
        clocks: CameraClocks,
        counts: FootageCounts,
        contents: ContentIndex,
        prefix: str = "",
    ) -> None:
        """Args:
        prefix: what the paths of the store's media begin with: the name of its source.
        """
        self._camera_id = camera_id
        self._store = store
        self._settings = settings
        self._probe = probe
        self._clock = clocks.of(camera_id)
        self._counts = counts
        self._previous = PreviousRows(known.rows)
        self._same_offsets = known.offset_rules == offset_rules(settings, self._clock)
        self._contents = contents
        self.prefix = prefix

    def row(self, found: StoredObject | Unlisted) -> Row:
        """Build the row of a file, or of what cannot be listed."""
        row: Row = dict.fromkeys(MEDIA.names())
        row |= {
            "camera_id": self._camera_id,
            "path": self.prefix + path_in_table(found.key),
            "source": self.prefix.rstrip("/") or None,
        }
        if isinstance(found, Unlisted):
            is_folder = found.key.endswith("/")
            kind = None if is_folder else kind_by_name(found.key)
            row |= {"status": "failed", "reason": found.reason, "kind": kind}
        else:
            row |= {
                "bytes": found.size,
                "modified_ns": found.modified_ns,
                "kind": kind_by_name(found.key),
            }
            row |= self._content_columns(found, self._read_or_reuse(found))
        self._counts.media += 1
        return row

    def _read_or_reuse(self, found: StoredObject) -> ReadResult:
        if not _is_unicode(found.key):
            return ReadResult(None, None, "its name is not valid UTF-8: rename it")
        old = self._previous.find(found.key)
        if old is not None and self._is_valid(old, found):
            with suppress(ValidationError):  # a row from before the bounds of headers
                return _result_from_row(old)
        return self._read(found)

    def _is_valid(self, old: Row, found: StoredObject) -> bool:
        """Return True if reading the file again would give the values of the old row."""
        if (old["bytes"], old["modified_ns"]) != (found.size, found.modified_ns):
            return False
        if old["status"] == "duplicate" and not self._contents.has(old["content_hash"]):
            return False  # the original was deleted, and the row has no remarks on this file
        if old["width"] * old["height"] > self._settings.max_megapixels * 1e6:
            return False
        if self._same_offsets or old["time_source"] not in FROM_CONTENT:
            return True
        correction = self._clock.correction_at(old["recorded_at"])
        if correction and correction.utc_offset_minutes is not None:
            return True  # it overrides the camera's offset
        return old["time_source"] in {"exif", "xmp"} and old["utc_offset_minutes"] is None

    def _read(self, found: StoredObject) -> ReadResult:
        content_hash = None
        try:
            self._check_size(found)
            with self._store.reading(found.key) as path:
                content_hash = _sha256(path)
                probe = self._probe(path)
                stat = path.stat()
                if (stat.st_size, modified_ns(stat)) != (found.size, found.modified_ns):
                    raise MediaError(CHANGED)
        except (MediaError, StoreError) as error:
            return ReadResult(content_hash, None, str(error))
        except OSError as error:
            return ReadResult(content_hash, None, f"cannot be read: {error.strerror or error}")
        recorded = RecordedTime(probe.recorded_at, probe.utc_offset_minutes)
        may_be_utc = probe.time_source == "container" and probe.format != "avi"
        zone = self._settings.container_time if may_be_utc else None
        remarks = [probe.remark, *remarks_on_time(recorded, found.key, found.modified_ns, zone)]
        probe = probe.model_copy(update={"remark": join_remarks(remarks)})
        return ReadResult(content_hash, probe, None)

    def _check_size(self, found: StoredObject) -> None:
        """Refuse a file that no camera writes, before it is read: a sparse one may be huge."""
        if kind_by_name(found.key) == "image":
            check_file_size(found.size, self._settings.max_megapixels * 1e6)
        elif found.size > MAX_VIDEO_BYTES:
            raise MediaError(f"its file has {found.size / 1e9:,.0f} GB, too many for a video")

    def _content_columns(self, found: StoredObject, result: ReadResult) -> Row:
        """Return the columns that depend on the file's content."""
        content_hash, probe, failure = result
        if probe is None or content_hash is None:
            return {"content_hash": content_hash, "status": "failed", "reason": failure}
        path = self.prefix + found.key
        first = self._contents.first_path(content_hash, path)
        times, of_zone = self._times(found, probe)
        known = of_zone and of_zone in (probe.remark or "")  # of a row that is used again
        remark = join_remarks([probe.remark, None if known else of_zone])
        return {
            "content_hash": content_hash,
            **probe.model_dump(exclude={"remark"}),
            **times,
            "status": "ok" if first == path else "duplicate",
            "reason": remark if first == path else f"same content as {first}",
        }

    def _times(self, found: StoredObject, probe: Probe) -> tuple[Row, str | None]:
        """The columns of times, and a remark of the camera's time zone."""
        recorded_at, offset = probe.recorded_at, probe.utc_offset_minutes
        source: str | None = probe.time_source
        if recorded_at is None:
            recorded_at, offset, _ = time_from_file_name(found.key)
            source = "filename" if recorded_at else None
        if recorded_at is None and self._settings.use_file_date:
            recorded_at, offset, _ = time_from_file_date(found.modified_ns)
            source = "file_date" if recorded_at else None
        remark = self._clock.remark(recorded_at, offset)
        captured_at, offset = self._clock.corrected(recorded_at, offset)
        times = {
            "recorded_at": recorded_at,
            "captured_at": captured_at,
            "utc_offset_minutes": offset,
            "time_source": source,
        }
        return times, remark


def _result_from_row(row: Row) -> ReadResult:
    """Return the header from an earlier row; its time only if it came from the file."""
    values = {name: row[name] for name in Probe.model_fields if name != "remark"}
    if row["time_source"] not in FROM_CONTENT:
        values |= {"recorded_at": None, "utc_offset_minutes": None, "time_source": None}
    return ReadResult(row["content_hash"], Probe(**values, remark=row["reason"]), None)


def _sha256(path: Path) -> str:
    """Return the SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_unicode(key: str) -> bool:
    """Return True if a name is valid text: file systems allow other bytes too."""
    return path_in_table(key) == key
