"""The models of a step: whole before any work, loaded when needed, on the engine that is there."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from gpu_kernels.engines.engine import EngineKind, OpenEngine, engine_for, open_engine
from gpu_kernels.engines.engine_cache import EngineCache, engine_stores
from gpu_kernels.engines.tensorrt_build import Batches
from gpu_kernels.models.labels import load_labels
from gpu_kernels.models.manifest import load_manifest, model_hash, verify
from gpu_kernels.models.speciesnet_labels import SpeciesNetLabel
from odins_ravne_assets.munin.classification.speciesnet_predictions import (
    Predictions,
    cached_predictions,
    is_predictions,
)
from odins_ravne_assets.munin.detection.detector import Detector
from odins_ravne_assets.munin.inference.run_model import LoadedModel
from odins_ravne_assets.munin.inference.timing import StageTiming, TimedEngine
from odins_ravne_assets.munin.progress import Reporter
from resources.errors import EngineError
from resources.settings.profile import Profile
from resources.storage.object_store import ObjectStore

OpenStore = Callable[[str], ObjectStore]
T = TypeVar("T")

# Where a camera's output keeps engines that were built for GPUs.
ENGINES = "engines"


@dataclass
class StepModels:
    """The models that a profile names.

    Args:
        output: the camera's; keeps predictions, and engines if the profile names no other place.
        output_url: where that is, for `open_store`.
    """

    profile: Profile
    output: ObjectStore
    output_url: str
    open_store: OpenStore
    reporter: Reporter
    open_engine: OpenEngine = open_engine
    engine: EngineKind = field(init=False)
    # Where the detector takes pictures, once it is loaded: see `Engine`.
    device: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.engine = engine_for(self.profile.pipeline.stage1.engine, self.reporter.warning)

    def on_engine(self, work: Callable[[], T]) -> T:
        """Do work with the chosen engine; if the GPU fails and the profile says so, on the CPU.

        The CPU's answers have a journal of their own, so that the two never mix.
        """
        try:
            return work()
        except EngineError as error:
            if self.engine == "onnxruntime" or not self.profile.pipeline.stage1.engine_fallback:
                raise
            self.reporter.warning(f"{error}; going on with onnxruntime, as engine_fallback says")
            self.engine = "onnxruntime"
            return work()

    def verify(self, stages: list[str]) -> None:
        """Before any work: that Stage 2's model is missing must not be found after days of Stage 1.

        Raises:
            ModelError: see `gpu_kernels.models.manifest.verify` and `cached_predictions`.
            StoreError: the store refuses.
        """
        models = self.profile.models
        needed: dict[str, list[str | None]] = {
            "detections": [models.detector, models.category_detector],
            "classifications": [models.classifier],
        }
        for stage in stages:
            for name in needed.get(stage, []):
                if name and not is_predictions(name):
                    verify(load_manifest(name))
        if "classifications" in stages:
            _ = self.predictions

    @cached_property
    def predictions(self) -> Predictions | None:
        """What labels the boxes in place of a model, if the profile says so."""
        name = self.profile.models.classifier
        return cached_predictions(name, self.output) if is_predictions(name) else None

    def load_detector(self, pace: StageTiming) -> Detector:
        """Stage 1's model, with the one that tells categories if there is one.

        Args:
            pace: is told how long the engines take.

        Raises:
            EngineError: an engine cannot run them.
        """
        models, settings = self.profile.models, self.profile.pipeline.stage1
        names = [name for name in (models.detector, models.category_detector) if name]
        loaded = [self._load(name, pace) for name in names]
        self._tell(loaded[0])
        self.device = loaded[0].engine.device
        return Detector(loaded[0], loaded[1] if len(loaded) > 1 else None, settings.conf_threshold)

    def load_classifier(self, pace: StageTiming) -> LoadedModel:
        """Stage 2's model.

        Args:
            pace: is told how long the engine takes.

        Raises:
            EngineError: the engine cannot run it.
        """
        model = self._load(self.profile.models.classifier, pace)
        self._tell(model)
        return model

    def _load(self, name: str, pace: StageTiming) -> LoadedModel:
        settings = self.profile.pipeline.stage1
        manifest = load_manifest(name)
        kept = self.profile.models.engines or f"{self.output_url.rstrip('/')}/{ENGINES}"
        cache = EngineCache(engine_stores(self.open_store(kept)), self.reporter.warning)
        batches = Batches.around(settings.batch_size)
        shared_by = self.profile.models.engines_shared_by
        engine = self.open_engine(
            manifest, self.engine, settings.threads, cache, batches, shared_by
        )
        return LoadedModel(manifest, TimedEngine(engine, pace), pace.fitted)

    def _tell(self, model: LoadedModel) -> None:
        self.reporter.info(f"{model.manifest.name} on {model.engine.description}")

    def detectors_named(self) -> dict[str, str]:
        """Role of each of Stage 1's models and its name with its hash, for tables and reports."""
        models = self.profile.models
        roles = {"detector": models.detector, "category_detector": models.category_detector}
        return {role: _name_of(name) for role, name in roles.items() if name}

    def classifier_named(self) -> dict[str, str]:
        """The same of what labels boxes: a model, or predictions."""
        if self.predictions:
            return {"classifier": self.predictions.name}
        return {"classifier": _name_of(self.profile.models.classifier)}

    def ranked_labels(self) -> list[SpeciesNetLabel]:
        """The labels of what classifies, as far as they carry their ranks."""
        if self.predictions:
            return list(self.predictions.labels())
        labels = load_labels(load_manifest(self.profile.models.classifier))
        return [label.ranks for label in labels if label.ranks]


def _name_of(model: str) -> str:
    manifest = load_manifest(model)
    return f"{manifest.name} {model_hash(manifest)[:12]}"
