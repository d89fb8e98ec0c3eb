"""The Batch form of the step launcher: prepares a launch, and hands it to `batch_launch`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dagster as dg
from dagster import PipesExecutionResult

from resources.batch.work_units import WorkUnit, work_units
from resources.errors import UsageError
from resources.launch.base import OnDecision, OnProgress, OnWarning, StepLauncher, StepRequest
from resources.launch.batch_step import _CloudStep
from resources.launch.hooks import FootageQueries, KnownOutputs
from resources.launch.local_launcher import LocalStepLauncher
from resources.launch.running_cost import OnCost
from resources.launch.slots import CloseDeadRuns
from resources.planning.throughput import cutting_seconds_per_frame
from resources.pricing.economics import Overheads
from resources.settings.profile import Profile
from resources.storage.object_store import ObjectStore

if TYPE_CHECKING:
    pass


class BatchStepLauncher(StepLauncher):
    """Runs steps as jobs of AWS Batch, spot first.

    Args:
        local: runs what is better done here: reading the headers of footage that lies here, and
            what takes no machine.
        kept_at: a folder of this machine, for the prices that AWS told.
        on_decision: told what a launch decides, as the run's log is.
        known_outputs: id and output URL of the cameras on S3 that this machine knows, whose costs
            count into the month's.
        on_cost: told what a launch has cost so far and will.
        close_dead_runs: see LaunchSlots.
        on_warning: told what workers warn of.
    """

    def __init__(
        self,
        local: LocalStepLauncher,
        about: FootageQueries,
        on_progress: OnProgress | None,
        kept_at: Path,
        on_decision: OnDecision | None = None,
        known_outputs: KnownOutputs = tuple,
        on_cost: OnCost | None = None,
        close_dead_runs: CloseDeadRuns = lambda instance: None,
        on_warning: OnWarning | None = None,
    ) -> None:
        self.local = local
        self.about = about
        self.on_progress = on_progress
        self.kept_at = kept_at
        self.on_decision = on_decision
        self.known_outputs = known_outputs
        self.on_cost = on_cost
        self.close_dead_runs = close_dead_runs
        self.on_warning = on_warning

    def launch(
        self, context: dg.AssetExecutionContext, request: StepRequest
    ) -> Iterator[PipesExecutionResult]:
        """See StepLauncher. A profile without a cloud runs on this machine."""
        profile = Profile.model_validate(request.profile)
        here = urlsplit(request.footage_url).scheme == "file"
        if profile.cloud is None or (here and request.stages == ("footage",)):
            yield from self.local.launch(context, request)
            return
        if urlsplit(request.output_url).scheme != "s3":
            raise UsageError(
                f"OUTPUT {request.output_url}: jobs on AWS cannot reach it; name an s3:// URL"
            )
        yield from _CloudStep(self, context, request, profile, profile.cloud.aws).run()

    def units(
        self, store: ObjectStore, profile: Profile, stages: tuple[str, ...]
    ) -> list[WorkUnit]:
        """How the camera is cut; no units where no media are looked at."""
        if "detections" not in stages:
            return []
        return work_units(
            lambda: self.about.count_media(store, profile),
            cutting_seconds_per_frame(profile),
            Overheads(),
            profile.pipeline.cost_optimization,
        )
