"""Choose the engine of a stage's models: the first kind that runs all of them.

A kind of GPU engine is accepted if it builds the engine of each model and its answers agree with
those of the CPU on one picture. Full TensorRT comes first, then TensorRT-RTX, then the CPU.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from gpu_kernels.engines.engine import DeviceEngine, EngineFactory, EngineKind
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.tensorrt_api import NotInstalledError
from gpu_kernels.engines.tensorrt_build import BatchSizes
from gpu_kernels.models.manifest import ModelManifest
from odins_ravne_assets.munin.inference.agreement_check import checked
from odins_ravne_assets.munin.inference.run_model import HostPicture, LoadedModel
from odins_ravne_assets.munin.inference.timing import StageTiming, TimedEngine
from odins_ravne_assets.munin.progress import Reporter
from resources.errors import EngineError

# Shorter steps of a start are left out of the log.
MIN_LOGGED_SECONDS = 0.05


@dataclass(frozen=True)
class ModelOpener:
    """What models are opened with.

    Attributes:
        threads: CPU threads of onnxruntime; one per core if None.
        cache: of built engines and of their checks.
        read_picture: returns the picture of the check, uint8 BGR [h, w, 3].
    """

    open_engine: EngineFactory
    threads: int | None
    cache: EngineCache
    batches: BatchSizes
    shared_by: Collection[str]
    read_picture: Callable[[], HostPicture]
    reporter: Reporter

    def open(self, manifest: ModelManifest, kind: EngineKind, timing: StageTiming) -> LoadedModel:
        """Open a model on an engine of one kind, and check its answers.

        Args:
            timing: receives the time of the engine, and of its start.

        Raises:
            EngineError: this kind cannot run the model here, or its answers are not the CPU's.
            ModelError: the model is invalid.
        """
        engine = self.open_engine(
            manifest, kind, self.threads, self.cache, self.batches, self.shared_by
        )
        if kind != "onnxruntime":
            self._check(manifest, kind, cast(DeviceEngine, engine), timing)
        self.reporter.info(f"{manifest.name} on {engine.description}")
        return LoadedModel(manifest, TimedEngine(engine, timing), timing.fitting)

    def _check(
        self, manifest: ModelManifest, kind: EngineKind, engine: DeviceEngine, timing: StageTiming
    ) -> None:
        outcome = checked(
            manifest,
            engine,
            lambda: self.open_engine(
                manifest, "onnxruntime", self.threads, self.cache, self.batches, ()
            ),
            self.read_picture(),
            self.batches.optimum,
        )
        timing.add_start(engine.opened.seconds)
        steps = (
            f"{step} {seconds:.1f} s"
            for step, seconds in engine.opened.seconds.items()
            if seconds >= MIN_LOGGED_SECONDS
        )
        self.reporter.info(f"{manifest.name} on {kind}, start: {', '.join(steps) or 'at once'}")
        if not outcome.agrees:
            raise EngineError(
                f"model {manifest.name}: the answers of {kind} are not those of the CPU: "
                f"{outcome.summary}"
            )


class ChosenModels(NamedTuple):
    """The models of a stage, all on one kind of engine."""

    kind: EngineKind
    models: list[LoadedModel]
    # Why earlier kinds were not chosen. That one is not installed is a reason only if none is.
    reasons: list[str]


def choose_engine(
    manifests: Sequence[ModelManifest],
    kinds: Sequence[EngineKind],
    opener: ModelOpener,
    timing: StageTiming,
) -> ChosenModels:
    """Open all models on the first kind of engine that runs all of them.

    Args:
        kinds: by preference, at least one.

    Raises:
        EngineError: no kind does; the message has the reason of each.
        ModelError: a model is invalid.
    """
    reasons: list[str] = []
    missing: list[str] = []
    for kind in kinds:
        models: list[LoadedModel] = []
        try:
            for manifest in manifests:
                models.append(opener.open(manifest, kind, timing))
        except NotInstalledError as error:
            missing.append(str(error))
        except EngineError as error:
            failed = manifests[len(models)]
            reason = _with_others(str(error), failed, manifests, kind)
            if reason not in reasons:  # a driver that is too old, for each kind
                reasons.append(reason)
        else:
            on_cpu = kind == "onnxruntime"
            return ChosenModels(kind, models, reasons or (missing[-1:] if on_cpu else []))
    raise EngineError("; ".join(reasons or missing[-1:]))


def _with_others(
    reason: str, failed: ModelManifest, manifests: Sequence[ModelManifest], kind: EngineKind
) -> str:
    """Return why a kind is not chosen; if it is one model, with those that could use it."""
    others = [each.name for each in manifests if each is not failed]
    if not others or f"model {failed.name}" not in reason:
        return reason
    return (
        f"{reason} (all models of a stage use one kind of engine, so {', '.join(others)} "
        f"{'does' if len(others) == 1 else 'do'} not use {kind} either)"
    )
