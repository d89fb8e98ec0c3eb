"""Run stages of a camera in this process, for benchmarks, without Dagster and a worker."""

import sys
from pathlib import Path
from threading import Event
from typing import Any

from gpu_kernels.engines.engine import EngineFactory, open_engine
from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.munin.progress import StageProgress
from odins_ravne_assets.worker.context import StageResult, StepContext
from odins_ravne_assets.worker.step import run_step
from resources.settings.loader import load_profile


class Printer:
    """A reporter that prints to standard error."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet

    def info(self, message: str) -> None:
        if not self._quiet:
            print(message, file=sys.stderr)

    def warning(self, message: str) -> None:
        print(f"warning: {message}", file=sys.stderr)

    def progress(self, progress: StageProgress) -> None:
        if not self._quiet and sys.stderr.isatty():
            print(f"\r{progress.stage} {progress.done}", end="", file=sys.stderr)


def run_stages(
    footage: Path,
    output: Path,
    stages: list[str],
    overrides: dict[str, Any] | None = None,
    quiet: bool = True,
    open_engine: EngineFactory = open_engine,
) -> dict[str, StageResult]:
    """Run stages with the local profile, without environment variables.

    Args:
        open_engine: opens the models.
    """
    context = StepContext(
        camera=Camera("benchmark", footage.absolute().as_uri(), output.absolute().as_uri()),
        profile=load_profile("local", overrides, environ={}),
        reporter=Printer(quiet),
        stop=Event(),
        open_engine=open_engine,
    )
    return dict(run_step(context, stages))
