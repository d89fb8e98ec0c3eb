"""Choose the models and settings of a run: the profile's, or those of the results that exist.

Finished work stays finished: a run processes new media under the settings that the results were
made with, unless it is an update. Whoever starts or plans the run chooses, once; workers get a
profile with the chosen settings.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import product
from typing import Any

import polars as pl

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
from resources.storage.parquet_files import scan_parquet

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
    """The settings of a stage's results, and those of the profile, which differ."""

    record: SettingsRecord
    before: StageSettings
    own: StageSettings

    @property
    def done(self) -> str:
        verb = "analysed" if self.record is STAGE1 else "classified"
        return f"{verb} with {_difference(self.before, self.own)}"

    @property
    def again(self) -> str:
        work = "analyse all media" if self.record is STAGE1 else "classify all boxes"
        return f"{work} again with {_difference(self.own, self.before)}"


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
    labelled = []  # keys of the boxes whose labels an update replaces
    if "detections" in stages:
        before = _settings_of_boxes(output, profile, update)
        run, change = _choose(STAGE1, run, before, update, fetch)
        changes += [change] if change else []
        boxes = stage1_journal_key(output, run)
        if update and change:
            labelled = stage1_keys(change.before.depends_on)
        stage1_key = STAGE1.of_profile(run).key
    else:
        recorded = STAGE1.read(output)
        own = recorded or STAGE1.of_profile(run)
        boxes = _table_key(output, layout.DETECTIONS_TABLE) or own.key
        stage1_key = own.key if boxes in stage1_keys(own.depends_on) else boxes
    if not {"detections", "classifications"}.isdisjoint(stages):  # work units of Stage 1 label too
        labels = (_settings_of_labels(output, profile, key, update) for key in labelled or [boxes])
        before = next((found for found in labels if found), None)
        run, change = _choose(STAGE2, run, before, update, fetch)
        changes += [change] if change and "classifications" in stages else []
    return UsedSettings(run, stage1_key, _notice(output, [boxes], changes, update))


def differ_from_profile(output: ObjectStore, profile: Profile) -> bool:
    """Return True if a camera's results are made with other settings than the profile's.

    Reads no journal.

    Raises:
        ModelError: a model of the profile cannot be found.
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
    own = record.of_profile(run)
    if before is None or before.key == own.key:
        return run, None
    change = _Change(record, before, own)
    return (run if update else _with_settings(run, change, fetch)), change


def _settings_of_boxes(output: ObjectStore, profile: Profile, update: bool) -> StageSettings | None:
    """Return the settings of Stage 1's finished work; None if there is none.

    Args:
        update: do not search for settings that are not recorded.
    """
    folders = output.folders(layout.JOURNAL_STAGE1)
    keys = {key for key in folders if Stage1Journal(output, key).has_finished()}
    recorded = STAGE1.read(output) if keys else None
    if recorded or update or not keys:
        holds = recorded is not None and not keys.isdisjoint(stage1_keys(recorded.depends_on))
        return recorded if holds else None
    current = _table_key(output, layout.DETECTIONS_TABLE)
    theirs = {current} if current in keys else keys

    def is_theirs(depends_on: dict[str, Any]) -> bool:
        return not theirs.isdisjoint(stage1_keys(depends_on))

    named = _models_of_table(output, layout.DETECTIONS_TABLE)
    if found := recognise(STAGE1, output, profile, named, is_theirs):
        return found
    raise _unrecognised(STAGE1, named, profile)


def _settings_of_labels(
    output: ObjectStore, profile: Profile, boxes: str, update: bool
) -> StageSettings | None:
    """Return the settings of the labels of these boxes; None if they have none.

    Args:
        boxes: the key of Stage 1's journal.
        update: do not search for settings that are not recorded.
    """
    folders = output.folders(layout.JOURNAL_STAGE2)
    keys = {key for key in folders if Stage2Journal(output, key).has_finished()}
    recorded = STAGE2.read(output) if keys else None
    if recorded or update or not keys:
        holds = recorded is not None and _labels_key(recorded.depends_on, boxes) in keys
        return recorded if holds else None
    current = _table_key(output, layout.CLASSIFICATIONS_TABLE)
    theirs = {current} if current in keys else keys
    named = _models_of_table(output, layout.CLASSIFICATIONS_TABLE)
    # The labels may be those of other boxes, of an earlier run of all stages.
    for stage1 in (boxes, *output.folders(layout.JOURNAL_STAGE1)):

        def is_theirs(depends_on: dict[str, Any], stage1: str = stage1) -> bool:
            return _labels_key(depends_on, stage1) in theirs

        if found := recognise(STAGE2, output, profile, named, is_theirs):
            return found if stage1 == boxes else None
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
    if before.depends_on.get("version") != change.own.depends_on["version"]:
        reason = "this version of the program gives other results with them"
    for number, models in enumerate(product(*choices)):
        named = dict(zip(before.models, models, strict=True))
        candidate = record.apply(profile, named, before.depends_on)
        try:
            fetch(candidate.models)
            if record.dependencies(candidate) == before.depends_on:
                return candidate
        except ModelError as error:
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
        f"finished {done} by an older version with settings that this profile does not name"
        f"{models}; use the profile that they were made with, or pass --update to {again} again "
        f"with {' and '.join(record.of_profile(profile).names)}"
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


def _difference(one: StageSettings, other: StageSettings) -> str:
    """Describe in which of its models and settings `one` differs from `other`."""
    words = []
    if any(one.depends_on.get(key) != other.depends_on.get(key) for key in ("models", "model")):
        words.append(" and ".join(one.names))
    for key, value in one.depends_on.items():
        if key not in NOT_NAMED and (key not in other.depends_on or other.depends_on[key] != value):
            words.append(f"{key} {'of the model' if value is None else value}")
    return ", ".join(words) or " and ".join(one.names)


def _notice(
    output: ObjectStore, boxes: list[str], changes: list[_Change], update: bool
) -> str | None:
    """Return the line for the user about the differences, if there are any.

    Args:
        boxes: the key of Stage 1's journal in this run.
    """
    if not changes:
        return None
    if changes[0].record is STAGE1:
        boxes = stage1_keys(changes[0].before.depends_on)
    done = " and ".join(change.done for change in changes)
    again = " and ".join(change.again for change in changes)
    count = _finished_media(output, boxes)
    media = f"{count:,} media were" if count != 1 else "1 medium was"
    if update:
        return f"{media} {done}; --update: {again}"
    return f"{media} {done}, and new media are too; pass --update to {again}"


def _finished_media(output: ObjectStore, boxes: list[str]) -> int:
    """Return the number of finished media: of the table, which is one object, or of the journal."""
    if _table_key(output, layout.PROCESSED_TABLE) not in boxes:
        return max(len(Stage1Journal(output, key).finished()) for key in boxes)
    with output.reading(layout.PROCESSED_TABLE) as path:
        finished = scan_parquet(path).filter(pl.col("status") == "done")
        return int(finished.select(pl.col("content_hash").n_unique()).collect().item())
