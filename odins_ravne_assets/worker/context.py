"""The state that the stages of a step share: camera, profile, stores, models, counters."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from threading import Event

from gpu_kernels.engines.engine import EngineFactory, open_engine
from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.model_library.bucket import fetch_models
from odins_ravne_assets.munin.classification.journal_key import stage2_key
from odins_ravne_assets.munin.detection.journal_key import stage1_journal_key
from odins_ravne_assets.munin.media.source_store import Footage, SourceFootage, open_footage
from odins_ravne_assets.munin.progress import Metadata, Reporter, StageProgress
from odins_ravne_assets.munin.tables.checks import CheckResult
from odins_ravne_assets.munin.tables.journal import Stage1Journal, Stage2Journal
from odins_ravne_assets.munin.workload.recorded_settings import (
    STAGE1,
    STAGE2,
    SettingsRecord,
)
from odins_ravne_assets.munin.workload.used_settings import choose_settings
from odins_ravne_assets.worker.models import OpenStore, StepModels
from odins_ravne_assets.worker.work_counters import WorkCounters
from resources.settings.profile import Profile
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store


class StepStopped(Exception):  # noqa: N818 - control flow, not an error
    """The step was asked to stop. Finished work is in the journal."""


@dataclass(frozen=True)
class StageResult:
    """The metadata, check results and data version of one stage; see `asset_metadata.py`."""

    metadata: Metadata
    check_results: list[CheckResult]
    data_version: str


@dataclass(frozen=True)
class Unit:
    """A range of a camera's usable media, as row numbers in the media table; `stop` excluded."""

    start: int
    stop: int


@dataclass
class StepContext:
    """One camera, and all that its stages need.

    Attributes:
        stop: set when the step has to end.
        after_crash: True if the previous worker crashed for an unknown reason.
        unit: the part of the media to process; None: all media, and the tables after them.
        update: use the profile's models and settings, whatever the results are made with.
        origin: the local folder that the footage is a copy of on S3; None: it is no copy.
        output: the camera's results.
    """

    camera: Camera
    profile: Profile
    reporter: Reporter
    stop: Event
    after_crash: bool = False
    counters: WorkCounters = field(default_factory=WorkCounters)
    unit: Unit | None = None
    update: bool = True
    origin: str | None = None
    open_store: OpenStore = open_store
    open_engine: EngineFactory = open_engine
    output: ObjectStore = field(init=False)
    models: StepModels = field(init=False)
    _footage: Footage | None = field(default=None, init=False)
    _written_parts: list[str] = field(default_factory=list, init=False)
    _recorded: set[str] = field(default_factory=set, init=False)
    _updated: tuple[SettingsRecord, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        self.output = self.open_store(self.camera.output_url)
        self.models = self._open_models()

    @property
    def footage(self) -> Footage:
        """The camera's footage, all sources of it: opens each medium by its path in the tables."""
        if self._footage is None:
            place, copies = self.camera.footage_url, self.profile.cloud is not None
            self._footage = open_footage(self.output, place, self.open_store, copies, self.origin)
        return self._footage

    @footage.setter
    def footage(self, footage: SourceFootage) -> None:
        self._footage = footage

    def _open_models(self) -> StepModels:
        return StepModels(
            self.profile,
            self.output,
            self.camera.output_url,
            self.open_store,
            self.reporter,
            self.open_engine,
        )

    def keep_settings(self, stages: list[str]) -> None:
        """Take the settings of the results, unless the step is an update.

        The request has them already, but an update may have run since it was made.

        Raises:
            ModelError: see `choose_settings`.
        """
        if self.update and {"detections", "classifications"}.issubset(stages):
            self._updated = (STAGE1, STAGE2)
        if self.update or {"detections", "classifications"}.isdisjoint(stages):
            return  # other stages read no model, which may not be on this machine yet
        fetch = partial(fetch_models, open_store=self.open_store, log=self.reporter.info)
        used = choose_settings(self.output, self.profile, stages, update=False, fetch=fetch)
        if used.profile != self.profile:
            self.reporter.info(f"another run has updated the results meanwhile: {used.notice}")
            self.profile = used.profile
            self.models = self._open_models()
            self.models.verify(stages)

    def stage1_journal(self) -> Stage1Journal:
        """Return Stage 1's journal for the profile's models and settings.

        All journals of one context list the parts that any of them has committed.
        """
        key = stage1_journal_key(self.output, self.profile)
        return Stage1Journal(
            self.output, key, self._written_parts, lambda: self.record_settings(STAGE1)
        )

    def stage2_journal(self, stage1: Stage1Journal) -> Stage2Journal:
        """Return the journal of the labels of Stage 1's boxes."""
        return Stage2Journal(self.output, stage2_key(self.profile, stage1.key))

    def record_settings(self, record: SettingsRecord) -> None:
        """Write the profile's settings of a stage into the results, before its first result.

        An update of both stages writes those of both, so that all of it continues if it is
        interrupted in Stage 1.
        """
        for each in self._updated if record in self._updated else (record,):
            if each.stored_key not in self._recorded:
                each.save(self.output, each.of_profile(self.profile))
                self._recorded.add(each.stored_key)

    def progress(self, stage: str, total: int | None, unit: str) -> Callable[[int], None]:
        """Return a callback that reports the number of finished units; see `StageProgress`."""
        return lambda done: self.reporter.progress(StageProgress(stage, done, total, unit))

    def raise_if_stopped(self) -> None:
        """Raise `StepStopped` if `stop` is set."""
        if self.stop.is_set():
            raise StepStopped

    def data_version(self, key: str) -> str:
        """Return a hash of the table under `key`, which changes if and only if the table does."""
        with self.output.reading(key) as path, path.open("rb") as table:
            return hashlib.file_digest(table, "sha256").hexdigest()[:32]
