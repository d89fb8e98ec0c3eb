"""Import a reviewer's file into the results of cameras; the next run of Stage 3 applies it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

import polars as pl

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.results_store import store_opener
from odins_ravne_assets.hugin.identification.taxonomy import project_taxonomy
from odins_ravne_assets.hugin.review.camera_labels import (
    CameraLabels,
    Review,
    ReviewTables,
    parse_camera_labels,
)
from odins_ravne_assets.hugin.review.corrections import read_all_corrections
from odins_ravne_assets.hugin.review.media_paths import CameraNames
from odins_ravne_assets.hugin.review.review_files import ReviewFile, read_review_file
from odins_ravne_assets.hugin.visits.stage3 import TABLE_SOURCES, read_model_taxa, read_table
from odins_ravne_assets.munin.tables import schemas
from odins_ravne_assets.munin.tables.build import check_same_journal
from odins_ravne_assets.munin.tables.parquet_io import writing_table
from odins_ravne_assets.results.renamed_camera import load_earlier_ids
from resources.errors import UsageError
from resources.printable import printable
from resources.settings.profile import Profile
from resources.storage.layout import CORRECTIONS_FOLDER, OBSERVATIONS_TABLE
from resources.storage.object_store import ObjectStore

MAX_LISTED = 20  # rows that were not imported, or that differ from another reviewer's
CAMERAS_NAMED = 5


@dataclass(frozen=True)
class ImportResult:
    """The result of an import.

    Attributes:
        cameras: the cameras that the file has labels of, in the given order.
        new, changed, known: the number of labels of each of them.
        failed: the reason for each line that was not imported.
        lines: what was imported, and what was not, for users.
    """

    cameras: tuple[Camera, ...]
    new: int = 0
    changed: int = 0
    known: int = 0
    failed: Mapping[int, str] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def import_corrections(
    cameras: Sequence[Camera],
    others: Iterable[Camera],
    profile: Profile,
    path: Path,
    review: Review,
    column: str | None = None,
) -> ImportResult:
    """Store the labels of a review file with the tables of cameras.

    Labels that are known already are not stored again. Rows that cannot be used are left out.

    Args:
        cameras: those whose labels are imported; of several, those that have visits.
        others: further cameras that the file may mention.
        column: see `read_review_file`.

    Raises:
        UsageError: the file cannot be read, or no row can be used; nothing is stored.
        StoreError: a table is missing or damaged, or a store refuses access.
    """
    file = read_review_file(path, column)
    open_store = store_opener(profile)
    stores = {each.camera_id: open_store(each.output_url) for each in cameras}
    names = {each.camera_id: _names(each, each.earlier_ids) for each in others}
    names |= {
        each.camera_id: _names(each, load_earlier_ids(stores[each.camera_id])) for each in cameras
    }
    found: dict[str, CameraLabels] = {}
    if len(stores) > 1:  # one camera without visits is an error that names the stage to run
        stores = {each: store for each, store in stores.items() if store.exists(OBSERVATIONS_TABLE)}
    for camera_id, store in stores.items():
        rest = tuple(each for each in names.values() if each.camera_id != camera_id)
        with ExitStack() as stack:
            taxonomy = project_taxonomy(profile.project.species, read_model_taxa(store, stack))
            tables = _review_tables(store, names[camera_id], rest, stack)
            found[camera_id] = parse_camera_labels(file, tables, taxonomy, review)
    _refuse_ambiguous(found)
    failed, skipped = _not_imported(found)
    if not any(labels.placed for labels in found.values()):
        raise UsageError(_no_labels(file, list(found), failed, skipped))
    for camera_id, labels in found.items():
        _store(stores[camera_id], labels.corrections(), path.name, review)
    return ImportResult(
        cameras=tuple(
            each for each in cameras if each.camera_id in found and found[each.camera_id].placed
        ),
        new=sum(len(each.new) for each in found.values()),
        changed=sum(len(each.changed) for each in found.values()),
        known=sum(len(each.known) for each in found.values()),
        failed=failed,
        lines=tuple(map(printable, _summary(file, found, failed, skipped, review.by))),
    )


def _names(camera: Camera, earlier_ids: Iterable[str]) -> CameraNames:
    places = (PurePath(unquote(urlsplit(place).path)) for place in camera.places)
    return CameraNames(camera.camera_id, places, earlier_ids)


def _review_tables(
    store: ObjectStore, names: CameraNames, others: tuple[CameraNames, ...], stack: ExitStack
) -> ReviewTables:
    media = read_table(store, stack, *TABLE_SOURCES["media"])
    detections = read_table(store, stack, *TABLE_SOURCES["detections"])
    check_same_journal(store)
    observations = read_table(
        store, stack, OBSERVATIONS_TABLE, schemas.OBSERVATIONS, "Stage 3 (observations)"
    )
    return ReviewTables(
        names,
        media.select("path", "content_hash", "source").collect(),
        detections.collect(),
        observations.collect(),
        read_all_corrections(store, stack),
        others,
    )


def _refuse_ambiguous(found: Mapping[str, CameraLabels]) -> None:
    """Take out rows whose path several cameras have: only a name of the camera would decide."""
    cameras_of: dict[int, list[str]] = defaultdict(list)
    named = {line for each in found.values() for line in each.placed if line not in each.by_path}
    for camera_id, labels in found.items():
        for line in labels.by_path:
            cameras_of[line].append(camera_id)
    for line, cameras in cameras_of.items():
        if len(cameras) > 1 or line in named:
            for camera_id in cameras:
                found[camera_id].remove(line)
        if len(cameras) > 1 and line not in named:
            shown = ", ".join(cameras[:CAMERAS_NAMED])
            found[cameras[0]].failed[line] = (
                f"cameras {shown} have a file of this name; add a column camera_id"
            )


def _not_imported(found: Mapping[str, CameraLabels]) -> tuple[dict[int, str], dict[int, str]]:
    """The reason for each line that was not imported, and the camera of each that was skipped."""
    placed = {line for each in found.values() for line in each.placed}
    failed: dict[int, str] = {}
    skipped: dict[int, str] = {}
    for each in found.values():
        failed |= {line: why for line, why in each.failed.items() if line not in placed}
        skipped |= {line: camera for line, camera in each.others.items() if line not in placed}
    # A camera of these skips the row for another of these, which says why it cannot be used.
    return failed, {line: camera for line, camera in skipped.items() if line not in failed}


def _no_labels(
    file: ReviewFile, cameras: Sequence[str], failed: Mapping[int, str], skipped: Mapping[int, str]
) -> str:
    """The message of a file without any label that can be imported."""
    if failed:
        line = min(failed)
        others = len(failed) - 1
        more = f" (and {others} more row{'s' * (others > 1)})" if others else ""
        return f"{file.name}, line {line}: {failed[line]}{more}"
    shown = f"camera {cameras[0]}" if len(cameras) == 1 else "these cameras"
    rest = f" {_skipped_line(skipped)};" if skipped else ""
    return f"{file.name}: has no label for {shown};{rest} fill in its column {file.label_column}"


def _store(store: ObjectStore, corrections: pl.DataFrame, name: str, review: Review) -> None:
    if corrections.is_empty():
        return
    said = corrections.drop("imported_at").write_csv()
    content = f"{review.by} {name} ".encode() + said.encode()
    key = _corrections_key(store, review.on, hashlib.sha256(content).hexdigest()[:12])
    with writing_table(store, key) as path:
        corrections.write_parquet(path)


def _corrections_key(store: ObjectStore, reviewed_on: date, checksum: str) -> str:
    """The key of a file's corrections; keys of one day sort in the order of their import."""
    day = f"{CORRECTIONS_FOLDER}/{reviewed_on}-"
    existing = sorted(
        found.key for found in store.list(CORRECTIONS_FOLDER) if found.key.startswith(day)
    )
    number = int(existing[-1].removeprefix(day).partition("-")[0]) + 1 if existing else 1
    return f"{day}{number:04d}-{checksum}.parquet"


def _summary(
    file: ReviewFile,
    found: Mapping[str, CameraLabels],
    failed: Mapping[int, str],
    skipped: Mapping[int, str],
    by: str,
) -> Iterable[str]:
    for camera_id, labels in found.items():
        if labels.placed:
            count = len(labels.placed)
            yield (
                f"{camera_id}: {count} label{'s' * (count > 1)} of {by}: {len(labels.new)} new, "
                f"{len(labels.changed)} changed, {len(labels.known)} known already"
            )
    differences = {line: text for each in found.values() for line, text in each.differences.items()}
    if differences:
        yield f"labels that differ from those of other reviewers: {len(differences)}"
        yield from _listed(differences)
    if skipped:
        yield _skipped_line(skipped)
    if failed:
        yield (f"{file.name}: {_rows(len(failed))} not imported; correct and import the file again")
        yield from _listed(failed)


def _skipped_line(skipped: Mapping[int, str]) -> str:
    counts = Counter(skipped.values()).most_common()
    named = [f"{camera} ({number})" for camera, number in counts[:CAMERAS_NAMED]]
    named += [f"{len(counts) - CAMERAS_NAMED} more"] * (len(counts) > CAMERAS_NAMED)
    return f"{_rows(len(skipped))} of other cameras skipped: {', '.join(named)}"


def _listed(lines: Mapping[int, str]) -> Iterable[str]:
    for line in sorted(lines)[:MAX_LISTED]:
        yield f"  line {line}: {lines[line]}"
    if len(lines) > MAX_LISTED:
        yield f"  and {len(lines) - MAX_LISTED} more"


def _rows(number: int) -> str:
    return f"{number} row{'s' * (number != 1)}"
