"""One step of one camera, as a worker runs it: the stages in order, from store to store.

Knows nothing of where it runs: not of Dagster, not of the cloud.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from time import monotonic

import polars as pl

from gpu_kernels.engines.engine import OpenEngine, open_engine
from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.hugin.exports.write_all import MEGADETECTOR_JSON, export_camera
from odins_ravne_assets.hugin.report.page import make_report_page
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.munin.classification.journal_key import stage2_key
from odins_ravne_assets.munin.classification.speciesnet_predictions import (
    PredictedLabels,
)
from odins_ravne_assets.munin.classification.stage2 import Stage2
from odins_ravne_assets.munin.detection.crash_guard import CrashGuard
from odins_ravne_assets.munin.detection.decode_pool import Decoder, DecodingSettings, Medium
from odins_ravne_assets.munin.detection.decode_process import SLOT_BYTES
from odins_ravne_assets.munin.detection.detector import Detector
from odins_ravne_assets.munin.detection.frame_sampling import SamplingPlan
from odins_ravne_assets.munin.detection.journal_key import stage1_key
from odins_ravne_assets.munin.detection.stage1 import Progress, Stage1, only_new
from odins_ravne_assets.munin.inference.timing import LABELLING, LOOKING_AT_FRAMES, StageTiming
from odins_ravne_assets.munin.media.camera_clock import corrections_of
from odins_ravne_assets.munin.media.footage import FootageCounts, refresh_media_table
from odins_ravne_assets.munin.media.media_files import kind_by_name
from odins_ravne_assets.munin.media.probe_client import Prober
from odins_ravne_assets.munin.progress import Metadata, Reporter, StageProgress
from odins_ravne_assets.munin.tables import build, checks
from odins_ravne_assets.munin.tables.journal import (
    HashSet,
    Stage1Journal,
    Stage2Journal,
    unlabelled_parts,
)
from odins_ravne_assets.worker.asset_metadata import (
    classification_metadata,
    deployment_metadata,
    detection_metadata,
    export_metadata,
    footage_metadata,
    log_line,
    observation_metadata,
)
from odins_ravne_assets.worker.free_memory import release_memory
from odins_ravne_assets.worker.models import OpenStore, StepModels
from odins_ravne_assets.worker.work_counters import WorkCounters
from resources.errors import StoreError
from resources.settings.profile import Profile
from resources.storage import layout
from resources.storage.layout import OBSERVATIONS_TABLE
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

# Seconds that media in hand may take after a request to stop.
GRACE = 20.0
# Frames that may wait, in batches: one gathering, and one that is looked at or cropped; on a GPU
# others are looked at ahead.
WAITING_BATCHES = 2
# A buffer on a GPU has less than 2 GiB.
MOST_SLOTS = (2**31 - 1) // SLOT_BYTES
# Rows of the media table that are read at once.
SLICE = 10_000


class StepStopped(Exception):  # noqa: N818 - a signal of control, no error
    """The step was asked to stop. What is finished is in the journal."""


@dataclass(frozen=True)
class StageResult:
    """What a stage has to show: facts, see `asset_metadata.py`."""

    facts: Metadata
    findings: list[checks.CheckResult]
    data_version: str


@dataclass(frozen=True)
class Unit:
    """A run of a camera's usable media, by their places in the media table."""

    start: int
    stop: int


@dataclass
class Step:
    """The stages of one camera."""

    camera: Camera
    profile: Profile
    reporter: Reporter
    stop: Event
    after_crash: bool = False  # the worker before this one died for no known reason
    tally: WorkCounters = field(default_factory=WorkCounters)
    unit: Unit | None = None  # the part of the media to look at; None: all, and the tables after
    open_store: OpenStore = open_store
    open_engine: OpenEngine = open_engine
    footage: ObjectStore = field(init=False)
    output: ObjectStore = field(init=False)
    _waiting: bool = field(default=False, init=False)
    _models: StepModels = field(init=False)
    _pace: StageTiming = field(default_factory=lambda: StageTiming(LOOKING_AT_FRAMES), init=False)

    def __post_init__(self) -> None:
        self.footage = self.open_store(self.camera.footage_url)
        self.output = self.open_store(self.camera.output_url)
        self._models = StepModels(
            self.profile,
            self.output,
            self.camera.output_url,
            self.open_store,
            self.reporter,
            self.open_engine,
        )

    def run(self, stages: list[str]) -> Iterator[tuple[str, StageResult]]:
        """Run the stages (names of assets) in the order of the pipeline.

        Raises:
            Stopped: `stop` was set.
            RavneError: what a user can do something about.
        """
        runners: dict[str, Callable[[], StageResult]] = {
            "footage": self._footage,
            "detections": self._detections,
            "classifications": self._classifications,
            "observations": self._observations,
            "exports": self._exports,
        }
        self._models.verify(stages)
        if self.unit:
            # Units of one camera run side by side; whoever cut them keeps others away.
            self._models.on_engine(self._look_at_unit)
            return
        with self.output.exclusive(self._wait):
            for stage, runner in runners.items():
                if stage in stages:
                    with self.tally.stage(stage):
                        result = self._models.on_engine(runner)
                    self.reporter.info(log_line(stage, result.facts))
                    yield stage, result

    def _wait(self) -> None:
        """Called again and again while another run has the output."""
        self._stop_here()
        if not self._waiting:
            self._waiting = True
            self.reporter.info(f"{self.output.url} is in use by another run; waiting for its end")

    # Stage 0

    def _footage(self) -> StageResult:
        self._refuse_empty_footage()
        stage0, deployments = self.profile.pipeline.stage0, self.profile.project.deployments
        tell = self._heard("footage", None, "media")

        def read(counts: FootageCounts) -> None:
            tell(counts.media)
            self._stop_here()

        with Prober(stage0) as probe:
            counts = refresh_media_table(
                self.camera.camera_id,
                self.footage,
                self.output,
                layout.MEDIA_TABLE,
                stage0,
                probe,
                corrections_of(stage0.clock_corrections, deployments),
                read,
            )
        place = deployment_metadata(deployments, datetime.now())
        return StageResult(
            footage_metadata(self.output, counts.ignored, self.footage.url, place),
            [checks.times_present(self.output)],
            self._version(layout.MEDIA_TABLE),
        )

    def _refuse_empty_footage(self) -> None:
        """No media at all is a mistake: a card that is not mounted must not empty the tables.

        Folders that cannot be listed may hold some; they become rows.
        """
        unlisted: list[str] = []
        for found in self.footage.list("", on_error=lambda key, _: unlisted.append(key)):
            if kind_by_name(found.key):
                return
        if not unlisted:
            raise StoreError(
                f"{self.footage.url}: holds no pictures or videos; name the folder with the "
                "footage, and see that its card or disk is mounted"
            )

    # Stage 1

    def _look_at_unit(self) -> None:
        """Stages 1 and 2 of the unit's media, into the journal; the tables are made later."""
        stage1 = self._stage1_journal()
        stage2 = self._stage2_journal(stage1)
        finished = stage1.finished()
        with self.tally.stage("detections"):
            if new := self._count_new(finished):
                self._look_at(stage1, finished, new)
        self._stop_here()
        if stage1.written:
            with self.tally.stage("classifications"):
                self._label(stage1, stage2, stage1.written)
        self._stop_here()

    def _detections(self) -> StageResult:
        started = monotonic()
        journal = self._stage1_journal()
        journal.remove_uncommitted()
        finished = journal.finished()
        new = self._count_new(finished)
        progress = Progress()
        if new:
            progress = self._look_at(journal, finished, new)
            release_memory()
        else:
            self.reporter.info("nothing new to look at: every medium is in the journal")
        self._stop_here()
        build.write_stage1_tables(
            self.output,
            journal,
            self._models.detectors_named(),
        )
        seconds = monotonic() - started
        facts = detection_metadata(self.output, journal) | {
            "media/newly_looked_at": progress.media,
            "compute/seconds": round(seconds, 3),
            **self._pace.facts(),
        }
        findings = [checks.nothing_lost(self.output), checks.detections_sane(self.output)]
        return StageResult(facts, findings, self._version(layout.DETECTIONS_TABLE))

    def _look_at(self, journal: Stage1Journal, finished: HashSet, new: int) -> Progress:
        settings = self.profile.pipeline.stage1
        self._pace = StageTiming(LOOKING_AT_FRAMES)
        detector = self._models.load_detector(self._pace)
        careful = CrashGuard(self.output) if self.after_crash else None
        media = only_new(self._usable_media(), finished)

        def settled() -> None:
            if careful and careful.active:
                journal.flush()
                careful.settled()

        tell = self._heard("detections", new, "media")

        def looked(done: Progress) -> None:
            self.tally.media, self.tally.images = done.media, done.images
            self.tally.frames, self.tally.video_seconds = done.frames, done.video_seconds
            self.tally.finished_something()
            tell(done.media)

        stage = Stage1(detector, journal, settings.batch_size, looked, settled, self._pace)
        decoder = Decoder(
            self.footage,
            careful.suspects_first(media) if careful else media,
            self._decoding(detector),
        )
        tell(0)
        stage.run(decoder, self.stop, GRACE)
        self.reporter.info(str(self._pace))
        for path, reason in stage.unreadable:
            self.reporter.warning(f"{path}: not read this time: {reason}")
        return stage.progress

    def _decoding(self, detector: Detector) -> DecodingSettings:
        settings = self.profile.pipeline.stage1
        return DecodingSettings(
            plan=SamplingPlan(
                settings.sampling,
                settings.frames_per_second,
                settings.every_nth_frame,
                settings.motion_gate,
                settings.motion_threshold,
            ),
            max_pixels=self.profile.pipeline.stage0.max_megapixels * 1e6,
            network_side=detector.input_side,
            timeout=settings.decode_timeout,
            processes=settings.decode_workers,
            slots=min(settings.batch_size * (WAITING_BATCHES + detector.looks_ahead), MOST_SLOTS),
            device=self._models.device if settings.video_decoder == "gpu" else None,
        )

    def _usable_media(self) -> Iterator[Medium]:
        """The media that Stage 0 could read, each content once, in order of path."""
        with self.output.reading(layout.MEDIA_TABLE) as path:
            rows = pl.scan_parquet(path).filter(pl.col("status") == "ok")
            rows = rows.select(
                "content_hash", "path", "kind", "width", "height", "duration_seconds"
            )
            start, end = (self.unit.start, self.unit.stop) if self.unit else (0, sys.maxsize)
            while (slice_ := rows.slice(start, min(SLICE, end - start)).collect()).height:
                yield from (Medium(*row) for row in slice_.iter_rows())
                start += slice_.height

    def _count_new(self, finished: HashSet) -> int:
        return sum(1 for medium in self._usable_media() if medium.content_hash not in finished)

    # Stage 2

    def _classifications(self) -> StageResult:
        started = monotonic()
        if not self.output.exists(layout.DETECTIONS_TABLE):
            raise StoreError(
                f"{self.output.url}: {layout.DETECTIONS_TABLE} is missing; "
                "run Stage 1 (detections) first"
            )
        # The journal of the boxes that are in the table, whatever the settings are by now.
        stage1 = Stage1Journal(
            self.output, build.origin_of(self.output, layout.DETECTIONS_TABLE).journal_key
        )
        stage2 = self._stage2_journal(stage1)
        labelled, paced = 0, Metadata()
        if any(True for _ in unlabelled_parts(stage1, stage2)):
            labelled = self._label(stage1, stage2, list(unlabelled_parts(stage1, stage2)))
            paced = self._pace.facts()
            release_memory()
        self._stop_here()
        build.write_stage2_table(self.output, stage1, stage2, self._models.classifier_named())
        build.write_taxa(self.output, self._models.ranked_labels())
        facts = classification_metadata(self.output) | paced
        facts |= {
            "boxes/newly_labelled": labelled,
            "compute/seconds": round(monotonic() - started, 3),
        }
        findings = [checks.every_box_labelled(self.output)]
        return StageResult(facts, findings, self._version(layout.CLASSIFICATIONS_TABLE))

    def _label(self, stage1: Stage1Journal, stage2: Stage2Journal, parts: list[str]) -> int:
        settings = self.profile.pipeline.stage2
        total = sum(stage1.animals(part) for part in parts)
        tell = self._heard("classifications", total, "crops")
        tell(0)

        def labelled(crops: int) -> None:
            self.tally.crops = crops
            self.tally.finished_something()
            tell(crops)

        threshold, predictions = settings.auto_ok_threshold, self._models.predictions
        self._pace = StageTiming(LABELLING)
        stage: Stage2 | PredictedLabels
        if predictions:
            stage = PredictedLabels(predictions, self._paths(), threshold, labelled)
        else:
            model = self._models.load_classifier(self._pace)
            stage = Stage2(model, threshold, settings.batch_size, labelled, self._pace)
        stage.run(stage1, stage2, parts, self.stop)
        if not predictions:
            self.reporter.info(str(self._pace))
        return stage.labelled

    def _paths(self) -> dict[str, str]:
        """The path of each usable medium, by its content."""
        with self.output.reading(layout.MEDIA_TABLE) as path:
            usable = pl.scan_parquet(path).filter(pl.col("status") == "ok")
            return dict(usable.select("content_hash", "path").collect().iter_rows())

    # Stage 3

    def _observations(self) -> StageResult:
        self._heard("observations", None, "visits")(0)
        models: dict[str, str] = {}
        for key in (layout.DETECTIONS_TABLE, layout.CLASSIFICATIONS_TABLE):
            if self.output.exists(key):  # Stage 3 says what is missing
                models |= build.origin_of(self.output, key).models
        settings, privacy = self.profile.pipeline.stage3, self.profile.privacy
        species = self.profile.project.species
        result = run_stage3(self.output, settings, models, privacy, species)
        make_report_page(self.output, self.output, privacy)
        self.tally.visits = result.observations
        findings = [
            checks.rows_accounted_for(
                result.rows_in,
                result.rows_rejected,
                result.rows_below_confidence,
                result.rows_too_short,
                result.rows_in_visits,
            )
        ]
        facts = observation_metadata(result, self.output.url)
        return StageResult(facts, findings, self._version(OBSERVATIONS_TABLE))

    def _exports(self) -> StageResult:
        self._heard("exports", None, "visits")(0)
        exported = export_camera(
            self.output, self.camera.camera_id, self.profile.project, self.profile.privacy
        )
        if exported.why_no_camtrap_dp:
            self.reporter.info(f"no Camtrap DP: {exported.why_no_camtrap_dp}")
        return StageResult(
            export_metadata(exported, self.output.url), [], self._version(MEGADETECTOR_JSON)
        )

    # What all stages share

    def _stage1_journal(self) -> Stage1Journal:
        return Stage1Journal(self.output, stage1_key(self.profile, self._models.engine))

    def _stage2_journal(self, stage1: Stage1Journal) -> Stage2Journal:
        return Stage2Journal(self.output, stage2_key(self.profile, stage1.key))

    def _heard(self, stage: str, total: int | None, unit: str) -> Callable[[int], None]:
        return lambda done: self.reporter.progress(StageProgress(stage, done, total, unit))

    def _stop_here(self) -> None:
        if self.stop.is_set():
            raise StepStopped

    def _version(self, key: str) -> str:
        """A data version: changes if and only if the table does."""
        with self.output.reading(key) as path, path.open("rb") as table:
            return hashlib.file_digest(table, "sha256").hexdigest()[:32]
