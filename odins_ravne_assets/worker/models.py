"""The models of a step: verified before any work, loaded on first use, on the available engine.

All machines of a camera use one kind of GPU engine: the first one records its choice in the
camera's results. A later machine that cannot run it warns and uses its own, since the answers of
all kinds agree. That a machine fell back to the CPU is not recorded: it would slow down every
machine after it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from gpu_kernels.device.gpu import find_gpu
from gpu_kernels.engines.engine import GPU_KINDS, EngineFactory, EngineKind, open_engine
from gpu_kernels.engines.engine_cache import EngineCache, engine_stores
from gpu_kernels.engines.tensorrt_build import BatchSizes
from gpu_kernels.models.labels import load_labels
from gpu_kernels.models.manifest import ModelManifest, load_manifest, model_hash, verify
from gpu_kernels.models.speciesnet_labels import SpeciesNetLabel
from odins_ravne_assets.model_library.bucket import fetch_models
from odins_ravne_assets.munin.classification.speciesnet_predictions import (
    Predictions,
    is_predictions,
    load_predictions,
)
from odins_ravne_assets.munin.detection.detector import Detector
from odins_ravne_assets.munin.detection.journal_key import profile_detector
from odins_ravne_assets.munin.inference.engine_choice import ModelOpener, choose_engine
from odins_ravne_assets.munin.inference.run_model import HostPicture, LoadedModel
from odins_ravne_assets.munin.inference.timing import StageTiming
from odins_ravne_assets.munin.progress import Reporter
from resources.errors import EngineError
from resources.planning.throughput import cpu_slowdown, expected_engine
from resources.settings.profile import Profile
from resources.storage.layout import CAMERA_ENGINE, ENGINES_FOLDER
from resources.storage.object_store import ObjectStore

OpenStore = Callable[[str], ObjectStore]
T = TypeVar("T")


@dataclass
class StepModels:
    """The models that a profile names.

    Args:
        output: the camera's results; stores predictions, and engines if the profile names no
            other place for them.
        output_url: its URL, for `open_store`.
    """

    profile: Profile
    output: ObjectStore
    output_url: str
    open_store: OpenStore
    reporter: Reporter
    open_engine: EngineFactory = open_engine
    # The kinds that may run the models, by preference; once models are loaded, theirs comes first.
    kinds: tuple[EngineKind, ...] = field(init=False)
    # The device of the detector's input, once it is loaded; see `Engine`.
    device: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        setting = self.profile.pipeline.stage1.engine
        if setting == "tensorrt":
            self.kinds = GPU_KINDS
        elif setting == "auto" and find_gpu() is not None:
            self.kinds = (*GPU_KINDS, "onnxruntime")
        else:
            self.kinds = ("onnxruntime",)

    @property
    def engine(self) -> EngineKind:
        """The engine of the models, or the first one that will be tried."""
        return self.kinds[0]

    def with_fallback(self, work: Callable[[], T]) -> T:
        """Do work with the chosen engine; if it fails and the profile allows it, on the CPU."""
        try:
            return work()
        except EngineError as error:
            if self.engine == "onnxruntime" or not self.profile.pipeline.stage1.engine_fallback:
                raise
            self.reporter.warning(
                f"{error}; falling back to onnxruntime (engine_fallback): {cpu_slowdown()}"
            )
            self.kinds = ("onnxruntime",)
            return work()

    def verify(self, stages: list[str]) -> None:
        """Check that all models of the stages are present and intact, before any work begins.

        A missing model of Stage 2 must not be noticed after days of Stage 1.

        Raises:
            ModelError: see `gpu_kernels.models.manifest.verify` and `load_predictions`.
            StoreError: the store cannot be read.
        """
        if not {"detections", "classifications"}.isdisjoint(stages):
            fetch_models(self.profile.models, self.open_store, self.reporter.info)
        if "detections" in stages:
            for manifest in profile_detector(self.profile.models).manifests:
                verify(manifest)
        if "classifications" in stages:
            if not is_predictions(self.profile.models.classifier):
                verify(self._classifier)
            _ = self.predictions

    @cached_property
    def predictions(self) -> Predictions | None:
        """The predictions that label boxes in place of a model, if the profile names some."""
        name = self.profile.models.classifier
        return load_predictions(name, self.output) if is_predictions(name) else None

    def load_detector(self, timing: StageTiming) -> Detector:
        """Load all models of Stage 1's detector; those of the same file share an engine.

        Args:
            timing: receives the time of the engines.

        Raises:
            EngineError: an engine cannot run them.
        """
        models = profile_detector(self.profile.models)
        files = {manifest.path: manifest for manifest in models.manifests}
        loaded = dict(zip(files, self._load(list(files.values()), timing), strict=True))
        self.device = next(iter(loaded.values())).engine.device

        def load(manifest: ModelManifest) -> LoadedModel:
            return replace(loaded[manifest.path], manifest=manifest)

        return Detector(models, load, self.profile.pipeline.stage1.conf_threshold)

    def load_classifier(self, timing: StageTiming) -> LoadedModel:
        """Load Stage 2's classifier.

        Args:
            timing: receives the time of the engine.

        Raises:
            EngineError: the engine cannot run it.
        """
        (model,) = self._load([self._classifier], timing)
        return model

    def _load(self, manifests: Sequence[ModelManifest], timing: StageTiming) -> list[LoadedModel]:
        """Load the models of a stage, all on one kind of engine."""
        opener, recorded = self._opener(), self._recorded_engine()
        chosen = choose_engine(manifests, _first(recorded, self.kinds), opener, timing)
        if self.kinds[0] != "onnxruntime":
            # Units of a camera start at the same time: another one may have been first.
            if recorded is None and (other := self._recorded_engine()) not in {None, chosen.kind}:
                recorded = other
                chosen = choose_engine(manifests, _first(other, self.kinds), opener, timing)
            self._report_choice(chosen.kind, chosen.reasons, recorded)
        elif self.profile.pipeline.stage1.engine == "auto":
            self._warn_of_missing_gpu()
        self.kinds = _first(chosen.kind, self.kinds)
        timing.engine = chosen.kind
        return chosen.models

    def _opener(self) -> ModelOpener:
        settings = self.profile.pipeline.stage1
        engines_url = (
            self.profile.models.engines or f"{self.output_url.rstrip('/')}/{ENGINES_FOLDER}"
        )
        return ModelOpener(
            self.open_engine,
            settings.threads,
            EngineCache(engine_stores(self.open_store(engines_url)), self.reporter.warning),
            BatchSizes.around(settings.batch_size),
            self.profile.models.engines_shared_by,
            _check_picture,
            self.reporter,
        )

    def _report_choice(
        self, kind: EngineKind, reasons: Sequence[str], recorded: EngineKind | None
    ) -> None:
        """Warn if the engine is not the preferred or the camera's one; record the camera's."""
        why = "; ".join(reasons)
        if kind == "onnxruntime":
            self.reporter.warning(f"the GPU is not used: {why}; {cpu_slowdown()}")
        elif recorded not in {None, kind}:
            self.reporter.warning(
                f"{kind} runs the models, {recorded} ran them for this camera before: {why}"
            )
        elif why:
            self.reporter.warning(f"{kind} runs the models: {why}")
        if kind != "onnxruntime" and recorded is None:
            self.output.write_bytes(CAMERA_ENGINE, json.dumps({"engine": kind}).encode())

    def _recorded_engine(self) -> EngineKind | None:
        """Return the camera's kind of GPU engine; None if none is recorded."""
        if self.kinds[0] == "onnxruntime" or not self.output.exists(CAMERA_ENGINE):
            return None
        try:
            engine = json.loads(self.output.read_bytes(CAMERA_ENGINE))["engine"]
        except (ValueError, TypeError, KeyError):
            return None  # not ours: choose again
        return next((kind for kind in GPU_KINDS if kind == engine), None)

    def _warn_of_missing_gpu(self) -> None:
        if expected_engine(self.profile) == "tensorrt":
            self.reporter.warning(
                "the machine types of the profile have a GPU, this machine has none, or its "
                f"driver finds none: {cpu_slowdown()}"
            )

    def detector_versions(self) -> dict[str, str]:
        """Return the name and hash of each of Stage 1's models by role, for tables and reports."""
        return profile_detector(self.profile.models).versions

    def classifier_version(self) -> dict[str, str]:
        """Return the same of the model or the predictions that label boxes."""
        if self.predictions:
            return {"classifier": self.predictions.name}
        manifest = self._classifier
        return {"classifier": f"{manifest.name} {model_hash(manifest)[:12]}"}

    def ranked_labels(self) -> list[SpeciesNetLabel]:
        """Return the classifier's labels that have taxonomic ranks."""
        if self.predictions:
            return list(self.predictions.labels())
        return [label.ranks for label in load_labels(self._classifier) if label.ranks]

    @property
    def _classifier(self) -> ModelManifest:
        """The manifest of the profile's classifier."""
        models = self.profile.models
        return load_manifest(models.classifier, models.folder)


def _first(kind: EngineKind | None, kinds: tuple[EngineKind, ...]) -> tuple[EngineKind, ...]:
    """Return the kinds, with one of them first."""
    return tuple(sorted(kinds, key=lambda each: each != kind))


def _check_picture() -> HostPicture:
    """Return the picture on which a GPU's answers are compared with the CPU's."""
    from odins_ravne_assets.demo.footage import SIZE, read_sample  # loads decoders

    return read_sample("cat", SIZE)
