"""The interface of step launchers: a worker process runs a step and reports over Dagster Pipes."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster import PipesExecutionResult


@dataclass(frozen=True)
class StepRequest:
    """The request to a worker: plain data, sent as JSON over Pipes."""

    camera_id: str
    footage_url: str
    output_url: str
    stages: tuple[str, ...]
    profile: Mapping[str, Any]  # the whole tree, as `Profile.model_dump(mode="json")`
    # True: use the profile's models and settings; False: those of the results, if they have some.
    update: bool = True
    # The places of the camera's footage before `footage_url`, the first one first.
    earlier_footage: tuple[str, ...] = ()
    # The local folder that `footage_url` is a copy of on S3; None: it is no copy.
    origin: str | None = None

    def extras(self, after_crash: bool) -> dict[str, Any]:
        """Return the request as the extras of a Pipes session.

        Args:
            after_crash: True if the previous worker crashed.
        """
        return {
            "camera_id": self.camera_id,
            "footage_url": self.footage_url,
            "output_url": self.output_url,
            "stages": list(self.stages),
            "profile": self.profile,
            "update": self.update,
            "earlier_footage": list(self.earlier_footage),
            "origin": self.origin,
            "after_crash": after_crash,
        }


class StepLauncher(ABC):
    """Runs steps, on this machine or elsewhere."""

    @abstractmethod
    def launch(
        self, context: dg.AssetExecutionContext, request: StepRequest
    ) -> Iterator[PipesExecutionResult]:
        """Run a step to its end and yield its results, one for each requested stage.

        Raises:
            dagster.Failure: the worker reported an error.
            LaunchError: the worker ended again and again without reporting an error.
        """
