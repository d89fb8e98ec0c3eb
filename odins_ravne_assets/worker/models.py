"""The models of a step: verified before any work, loaded on first use, on the available engine."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from gpu_kernels.engines.engine import EngineFactory, EngineKind, open_engine, resolve_engine
from gpu_kernels.engines.engine_cache import EngineCache, engine_stores
from gpu_kernels.engines.tensorrt_build import BatchSizes
from gpu_kernels.models.labels import load_labels
from gpu_kernels.models.manifest import load_manifest, model_hash, verify
from gpu_kernels.models.speciesnet_labels import SpeciesNetLabel
from odins_ravne_assets.munin.classification.speciesnet_predictions import (
    Predictions,
    is_predictions,
    load_predictions,
)
from odins_ravne_assets.munin.detection.detector import Detector
from odins_ravne_assets.munin.inference.run_model import LoadedModel
from odins_ravne_assets.munin.inference.timing import StageTiming, TimedEngine
from odins_ravne_assets.munin.progress import Reporter
from resources.errors import EngineError
from resources.settings.profile import Profile
from resources.storage.layout import ENGINES_FOLDER
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
    engine: EngineKind = field(init=False)
    # The device of the detector's input, once it is loaded; see `Engine`.
    device: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.engine = resolve_engine(self.profile.pipeline.stage1.engine, self.reporter.warning)

    def with_fallback(self, work: Callable[[], T]) -> T:
        """Do work with the chosen engine; if the GPU fails and the profile allows it, on the CPU.

        Each engine has its own journal, so that results of the two never mix.
        """
        try:
            return work()
        except EngineError as error:
            if self.engine == "onnxruntime" or not self.profile.pipeline.stage1.engine_fallback:
                raise
            self.reporter.warning(f"{error}; falling back to onnxruntime (engine_fallback)")
            self.engine = "onnxruntime"
            return work()

    def verify(self, stages: list[str]) -> None:
        """Check that all models of the stages are present and intact, before any work begins.

        A missing model of Stage 2 must not be noticed after days of Stage 1.

        Raises:
            ModelError: see `gpu_kernels.models.manifest.verify` and `load_predictions`.
            StoreError: the store cannot be read.
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
        """The predictions that label boxes in place of a model, if the profile names some."""
        name = self.profile.models.classifier
        return load_predictions(name, self.output) if is_predictions(name) else None

    def load_detector(self, timing: StageTiming) -> Detector:
        """Load Stage 1's detector, with the category detector if there is one.

        Args:
            timing: receives the time of the engines.

        Raises:
            EngineError: an engine cannot run them.
        """
        models, settings = self.profile.models, self.profile.pipeline.stage1
        names = [name for name in (models.detector, models.category_detector) if name]
        loaded = [self._load(name, timing) for name in names]
        self._log(loaded[0])
        self.device = loaded[0].engine.device
        return Detector(loaded[0], loaded[1] if len(loaded) > 1 else None, settings.conf_threshold)

    def load_classifier(self, timing: StageTiming) -> LoadedModel:
        """Load Stage 2's classifier.

        Args:
            timing: receives the time of the engine.

        Raises:
            EngineError: the engine cannot run it.
        """
        model = self._load(self.profile.models.classifier, timing)
        self._log(model)
        return model

    def _load(self, name: str, timing: StageTiming) -> LoadedModel:
        settings = self.profile.pipeline.stage1
        manifest = load_manifest(name)
        engines_url = (
            self.profile.models.engines or f"{self.output_url.rstrip('/')}/{ENGINES_FOLDER}"
        )
        cache = EngineCache(engine_stores(self.open_store(engines_url)), self.reporter.warning)
        batches = BatchSizes.around(settings.batch_size)
        shared_by = self.profile.models.engines_shared_by
        engine = self.open_engine(
            manifest, self.engine, settings.threads, cache, batches, shared_by
        )
        return LoadedModel(manifest, TimedEngine(engine, timing), timing.fitting)

    def _log(self, model: LoadedModel) -> None:
        self.reporter.info(f"{model.manifest.name} on {model.engine.description}")

    def detector_versions(self) -> dict[str, str]:
        """Return the name and hash of each of Stage 1's models by role, for tables and reports."""
        models = self.profile.models
        roles = {"detector": models.detector, "category_detector": models.category_detector}
        return {role: _version(name) for role, name in roles.items() if name}

    def classifier_version(self) -> dict[str, str]:
        """Return the same of the model or the predictions that label boxes."""
        if self.predictions:
            return {"classifier": self.predictions.name}
        return {"classifier": _version(self.profile.models.classifier)}

    def ranked_labels(self) -> list[SpeciesNetLabel]:
        """Return the classifier's labels that have taxonomic ranks."""
        if self.predictions:
            return list(self.predictions.labels())
        labels = load_labels(load_manifest(self.profile.models.classifier))
        return [label.ranks for label in labels if label.ranks]


def _version(model: str) -> str:
    manifest = load_manifest(model)
    return f"{manifest.name} {model_hash(manifest)[:12]}"
