"""Choose the models and settings of a run: the profile's, or those of the results that exist.

Finished work stays finished: a run processes new media under the settings that the results were
made with, unless it is an update. Whoever starts or plans the run chooses, once; workers get a
profile with the chosen settings.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import polars as pl
from pydantic import ValidationError

from odins_ravne_assets.munin.detection.journal_key import stage1_journal_key, stage1_keys
from odins_ravne_assets.munin.tables import build
from odins_ravne_assets.munin.tables.journal import Stage1Journal, Stage2Journal, journal_key
from odins_ravne_assets.munin.workload.recorded_settings import (
    STAGE1,
    STAGE2,
    SettingsRecord,
    StageSettings,
)
from odins_ravne_assets.munin.workload.unrecorded_settings import recognise
from resources.errors import ModelError, StoreError, UsageError
from resources.settings.profile import Models, Profile
from resources.storage import layout
from resources.storage.object_store import ObjectStore
from resources.storage.parquet_files import read_parquet, scan_parquet

# Entries of `StageSettings.depends_on` that lines for the user name otherwise, or not at all.
NOT_NAMED = ("version", "engine", "models", "model")


FetchModels = Callable[[Models], None]


@dataclass(frozen=True)
class UsedSettings:
    """The settings of a run of one camera.

    Args:
        profile: with the models and settings that the run uses.
        stage1_key: of the settings of the boxes, as `stage1_key` returns it for their profile.
        notice: a line for the user, if the profile's settings are others than the results'.
    """

    profile: Profile
    stage1_key: str
    notice: str | None = None


@dataclass(frozen=True)
class _Change:
    """The settings of a stage's results, and those of the profile, which differ.

    Args:
        own: the profile's; the error, if its models cannot be used.
        interrupted: the results have these settings since an update that has not ended.
    """

    record: SettingsRecord
    before: StageSettings
    own: StageSettings | ModelError
    interrupted: bool = False

    @property
    def done(self) -> str:
        verb = "analysed" if self.record is STAGE1 else "classified"
        return f"{verb} with {_difference(self.before, self.own, earlier=True)}"

    @property
    def continues(self) -> str:
        return f"{self._work} again with {_difference(self.before, self.own, earlier=True)}"

    @property
    def again(self) -> str:
        if isinstance(self.own, ModelError):
            return f"{self._work} again with a profile whose models can be used ({self.own})"
        return f"{self._work} again with {_difference(self.own, self.before)}"

    @property
    def _work(self) -> str:
        return "analyse all media" if self.record is STAGE1 else "classify all boxes"


def choose_settings(
    output: ObjectStore,
    profile: Profile,
    stages: Collection[str],
    update: bool,
    fetch: FetchModels = lambda _: None,
) -> UsedSettings:
    """Choose the settings of a run of one camera.

    Args:
        output: the camera's results.
        stages: names of assets; the settings of the others do not change.
        update: use the profile's settings: finished work under other settings is done again.
        fetch: copies the models of a profile to this machine, if they are elsewhere; raises
            ModelError.

    Raises:
        ModelError: a model of the results is no longer available, or has changed.
        UsageError: the results are made with settings that are neither recorded nor recognised.
        StoreError: the results cannot be read.
    """
    run, changes = profile, []
    if "detections" in stages:
        before = _settings_of_boxes(output, profile, update)
        run, change = _choose(STAGE1, run, before, update, fetch)
        changes += [change] if change else []
        boxes = stage1_journal_key(output, run)
        stage1_key = STAGE1.of_profile(run).key
    else:
        boxes, stage1_key = _boxes_of_results(output, run)
    if not {"detections", "classifications"}.isdisjoint(stages):  # work units of Stage 1 label too
        before = _settings_of_labels(output, profile, boxes, update)
        update_labels = update and "classifications" in stages
        run, change = _choose(STAGE2, run, before, update_labels, fetch)
        changes += [change] if change and "classifications" in stages else []
    changes = [_with_progress(output, change) for change in changes]
    return UsedSettings(run, stage1_key, _notice(output, [boxes], changes, update))


def differ_from_profile(output: ObjectStore, profile: Profile) -> bool:
    """Return True if a camera's results are made with other settings than the profile's.

    Reads no journal.

    Raises:
        ModelError: the models of the profile cannot be used.
        StoreError: the results cannot be read.
    """
    boxes, labels = (
        _table_key(output, table)
        for table in (layout.DETECTIONS_TABLE, layout.CLASSIFICATIONS_TABLE)
    )
    own1, own2 = STAGE1.of_profile(profile), STAGE2.of_profile(profile)
    if boxes is not None and boxes not in stage1_keys(own1.depends_on):
        return True
    return labels is not None and labels != _labels_key(own2.depends_on, boxes or "")


def _choose(
    record: SettingsRecord,
    run: Profile,
    before: StageSettings | None,
    update: bool,
    fetch: FetchModels,
) -> tuple[Profile, _Change | None]:
    """Return the profile of the run, and the difference to the results, if there is one."""
    own = _own_settings(record, run)
    if isinstance(own, ModelError):
        if before is None or update:
            raise own
    elif before is None or before.key == own.key:
        return run, None
    change = _Change(record, before, own)
    return (run if update else _with_settings(run, change, fetch)), change


def _own_settings(record: SettingsRecord, profile: Profile) -> StageSettings | ModelError:
    """Return the profile's settings, or why they cannot be used: results may not need them."""
    try:
        return record.of_profile(profile)
    except ModelError as error:
        return error


def _boxes_of_results(output: ObjectStore, profile: Profile) -> tuple[str, str]:
    """Return the keys of the boxes that exist: of their journal, and of their settings.

    Raises:
        ModelError: there are none, and the profile's models cannot be used.
    """
    boxes = _table_key(output, layout.DETECTIONS_TABLE)
    own = STAGE1.read(output) or _own_settings(STAGE1, profile)
    if isinstance(own, ModelError):
        if boxes is None:
            raise own
        return boxes, boxes
    if boxes is None or boxes in stage1_keys(own.depends_on):
        return boxes or own.key, own.key
    return boxes, boxes


def _settings_of_boxes(output: ObjectStore, profile: Profile, update: bool) -> StageSettings | None:
    """Return the settings of Stage 1's finished work; None if there is none.

    The record counts, if there is one: an update writes it before its first result, and continues
    in the next run.

    Args:
        update: settings that are neither recorded nor recognised are none.
    """
    folders = output.folders(layout.JOURNAL_STAGE1)
    keys = {key for key in folders if Stage1Journal(output, key).has_finished()}
    recorded = STAGE1.read(output) if keys else None
    if recorded or not keys:
        return recorded
    current = _table_key(output, layout.DETECTIONS_TABLE)
    theirs = {current} if current in keys else keys

    def is_theirs(depends_on: dict[str, Any]) -> bool:
        return not theirs.isdisjoint(stage1_keys(depends_on))

    named = _models_of_table(output, layout.DETECTIONS_TABLE)
    if found := recognise(STAGE1, output, profile, named, is_theirs):
        return found
    if update:
        return None
    raise _unrecognised(STAGE1, named, profile)


def _settings_of_labels(
    output: ObjectStore, profile: Profile, boxes: str, update: bool
) -> StageSettings | None:
    """Return the settings of Stage 2's finished work, of any boxes; None if there is none.

    As `_settings_of_boxes`: new boxes are labelled as those were that they replace.

    Args:
        boxes: the key of Stage 1's journal; its labels are tried first.
        update: settings that are neither recorded nor recognised are none.
    """
    folders = output.folders(layout.JOURNAL_STAGE2)
    keys = {key for key in folders if Stage2Journal(output, key).has_finished()}
    recorded = STAGE2.read(output) if keys else None
    if recorded or not keys:
        return recorded
    current = _table_key(output, layout.CLASSIFICATIONS_TABLE)
    theirs = {current} if current in keys else keys
    named = _models_of_table(output, layout.CLASSIFICATIONS_TABLE)
    # The labels may be those of other boxes, of an earlier run of all stages.
    for stage1 in (boxes, *output.folders(layout.JOURNAL_STAGE1)):

        def is_theirs(depends_on: dict[str, Any], stage1: str = stage1) -> bool:
            return _labels_key(depends_on, stage1) in theirs

        if found := recognise(STAGE2, output, profile, named, is_theirs):
            return found
    if update:
        return None
    raise _unrecognised(STAGE2, named, profile)


def _labels_key(depends_on: dict[str, Any], boxes: str) -> str:
    return journal_key({**depends_on, "stage1": boxes})


def _with_settings(profile: Profile, change: _Change, fetch: FetchModels) -> Profile:
    """Return the profile with the models and settings of the results.

    A model may have another name now: that of the profile, or of its manifest.

    Raises:
        ModelError: the models of the results are not available any more.
    """
    record, before = change.record, change.before
    choices = [
        dict.fromkeys((model, getattr(profile.models, role), *(before.names if model else ())))
        for role, model in before.models.items()
    ]
    reason = "their files or manifests have changed since"
    for number, models in enumerate(product(*choices)):
        named = dict(zip(before.models, models, strict=True))
        try:
            candidate = record.apply(profile, named, before.depends_on)
            fetch(candidate.models)
            theirs = record.dependencies(candidate)
            if theirs == before.depends_on:
                return candidate
            if theirs["version"] != before.depends_on.get("version"):
                reason = "this version of the program gives other results with them"
        except ValidationError as error:
            key, value = error.errors()[0]["loc"][0], error.errors()[0]["input"]
            reason = f"this version of the program does not allow their setting {key} {value}"
            break
        except (ModelError, UsageError) as error:  # UsageError: a path in an unknown user's home
            reason = reason if number else str(error)  # under the names that were recorded
    raise ModelError(
        f"finished media were {change.done}, and new media need the same models, but {reason}; "
        f"restore {' and '.join(before.names)}, or pass --update to {change.again}"
    )


def _unrecognised(record: SettingsRecord, named: dict[str, str], profile: Profile) -> UsageError:
    done, again = (
        ("media were analysed", "analyse all media")
        if record is STAGE1
        else ("boxes were classified", "classify all boxes")
    )
    models = f" ({' and '.join(named.values())})" if named else ""
    return UsageError(
        f"finished {done} with settings that are not recorded, and that this profile does not "
        f"name{models}; use the profile that they were made with, or pass --update to {again} "
        f"again with {' and '.join(record.of_profile(profile).names)}"
    )


def _origin(output: ObjectStore, table: str) -> build.Origin | None:
    try:
        return build.read_origin(output, table) if output.exists(table) else None
    except StoreError:  # damaged: the run builds it again
        return None


def _table_key(output: ObjectStore, table: str) -> str | None:
    """Return the key of the journal that a table was built from; None if there is no table."""
    origin = _origin(output, table)
    return origin.journal_key if origin else None


def _models_of_table(output: ObjectStore, table: str) -> dict[str, str]:
    """Return the names of the models of a table, by role; empty if there is no table."""
    origin = _origin(output, table)
    models = origin.models if origin else {}
    return {role: version.rpartition(" ")[0] for role, version in models.items()}


def _difference(
    one: StageSettings, other: StageSettings | ModelError, *, earlier: bool = False
) -> str:
    """Describe in which of its models and settings `one` differs from `other`.

    Args:
        earlier: `one` is the earlier of the two.
    """
    if isinstance(other, ModelError):
        return " and ".join(one.names)
    words = []
    if any(one.depends_on.get(key) != other.depends_on.get(key) for key in ("models", "model")):
        words.append(_models(one, other, earlier))
    for key, value in one.depends_on.items():
        if key not in NOT_NAMED and (key not in other.depends_on or other.depends_on[key] != value):
            words.append(f"{key} {'of the model' if value is None else value}")
    return ", ".join(words) or " and ".join(one.names)


def _models(one: StageSettings, other: StageSettings, earlier: bool) -> str:
    """Return words for the models of `one`, which are not those for the models of `other`."""
    names = " and ".join(one.names)
    if one.names != other.names:
        return names
    differing = [
        f"{role} {model or 'none'}"
        for role, model in one.models.items()
        if other.models.get(role) != model
    ]
    if differing:
        return f"{names} ({', '.join(differing)})"
    return f"an earlier {names}" if earlier else f"today's {names}"


def _with_progress(output: ObjectStore, change: _Change) -> _Change:
    """Return the change, and whether the tables are still those of before the recorded update."""
    depends_on = change.before.depends_on
    if change.record is STAGE1:
        theirs, table = stage1_keys(depends_on), layout.DETECTIONS_TABLE
        begun = any(Stage1Journal(output, key).has_finished() for key in theirs)
    else:
        boxes = output.folders(layout.JOURNAL_STAGE1)
        theirs = [_labels_key(depends_on, key) for key in boxes]
        table = layout.CLASSIFICATIONS_TABLE
        begun = any(Stage2Journal(output, key).has_finished() for key in theirs)
    current = _table_key(output, table)
    unended = current is not None and current not in theirs
    return replace(change, interrupted=unended or not begun)


def _notice(
    output: ObjectStore, boxes: list[str], changes: list[_Change], update: bool
) -> str | None:
    """Return the line for the user about the differences, if there are any.

    Args:
        boxes: the key of Stage 1's journal in this run.
    """
    if not changes:
        return None
    kept = [change for change in changes if not change.interrupted]
    begun = " and ".join(change.continues for change in changes if change.interrupted)
    again = " and ".join(change.again for change in changes)
    lines = []
    if begun and update:
        lines.append(f"an update was interrupted that began to {begun}")
    elif begun:
        lines.append(f"an update that was interrupted continues: {begun}")
    if kept:
        done = " and ".join(change.done for change in kept)
        lines.append(f"{_media_of(output, boxes, kept)} {done}")
        lines[-1] += "" if update else ", and new media are too"
    lines.append(f"--update: {again}" if update else f"pass --update to {again}")
    return "; ".join(lines)


def _media_of(output: ObjectStore, boxes: list[str], kept: list[_Change]) -> str:
    """Return the number of media with settings that are kept, as the subject of a sentence."""
    if kept[0].record is STAGE1:
        boxes = stage1_keys(kept[0].before.depends_on)
    elif key := _table_key(output, layout.PROCESSED_TABLE):
        boxes = [key]  # with labels, though the boxes of the run may be new
    count = _finished_media(output, boxes)
    return f"{count:,} media were" if count != 1 else "1 medium was"


def _finished_media(output: ObjectStore, boxes: list[str]) -> int:
    """Return the number of finished media: of the table, which is one object, or of the journal."""
    if _table_key(output, layout.PROCESSED_TABLE) not in boxes:
        return max(_done_media(Stage1Journal(output, key)) for key in boxes)
    with output.reading(layout.PROCESSED_TABLE) as path:
        finished = scan_parquet(path).filter(pl.col("status") == "done")
        return int(finished.select(pl.col("content_hash").n_unique()).collect().item())


def _done_media(journal: Stage1Journal) -> int:
    """Return the number of media that did not fail: the table counts those, too."""
    done = set[str]()
    for part in journal.parts():
        with journal.reading(part, "media") as path:
            media = read_parquet(path, columns=["content_hash", "status"])
        done.update(media.filter(pl.col("status") == "done")["content_hash"])
    return len(done)
