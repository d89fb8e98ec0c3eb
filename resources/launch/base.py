"""Step launches: a worker process does the work of a step and reports over Dagster Pipes.

The interface, and its local form, a subprocess on this machine.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster import PipesExecutionResult

# A worker's progress: stage, done, total (may be None), unit.
Progress = Mapping[str, Any]
OnProgress = Callable[[Progress], None]
# Told what a worker warns of, which is in the run's log too.
OnWarning = Callable[[str], None]
# Hears in a sentence what a launch decides.
OnDecision = Callable[[str], None]


@dataclass(frozen=True)
class StepRequest:
    """What a worker is asked to do: plain data that goes through Pipes as JSON."""

    camera_id: str
    footage_url: str
    output_url: str
    stages: tuple[str, ...]
    profile: Mapping[str, Any]  # the whole tree, as `Profile.model_dump(mode="json")`

    def extras(self, after_crash: bool) -> dict[str, Any]:
        return {
            "camera_id": self.camera_id,
            "footage_url": self.footage_url,
            "output_url": self.output_url,
            "stages": list(self.stages),
            "profile": self.profile,
            "after_crash": after_crash,
        }


class StepLauncher(ABC):
    """Runs steps somewhere."""

    @abstractmethod
    def launch(
        self, context: dg.AssetExecutionContext, request: StepRequest
    ) -> Iterator[PipesExecutionResult]:
        """Run a step to its end and give its results, one for each stage asked for.

        Raises:
            dagster.Failure: the worker said why it could not go on.
            LaunchError: it ended without a word, again and again.
        """
