"""The step launcher for AWS Batch."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
from dagster import PipesExecutionResult

from resources.errors import UsageError
from resources.launch.base import StepLauncher, StepRequest
from resources.launch.batch_step import BatchStep
from resources.launch.hooks import LaunchHooks
from resources.launch.local_launcher import LocalStepLauncher
from resources.settings.profile import Profile


class BatchStepLauncher(StepLauncher):
    """Runs steps as jobs of AWS Batch, on spot machines first.

    Args:
        local: the launcher for steps of a profile without a cloud, and for steps that are better
            run on this machine: reading the headers of local footage, and steps that only write
            tables.
        home: a folder of this machine, for cached prices and the lock of the monthly budget.
        hooks: callbacks and queries; by default, none.
    """

    def __init__(
        self, local: LocalStepLauncher, home: Path, hooks: LaunchHooks | None = None
    ) -> None:
        self._local = local
        self._home = home
        self._hooks = hooks or LaunchHooks()

    def launch(
        self, context: dg.AssetExecutionContext, request: StepRequest
    ) -> Iterator[PipesExecutionResult]:
        """See StepLauncher. A profile without a cloud runs on this machine."""
        profile = Profile.model_validate(request.profile)
        is_local = urlsplit(request.footage_url).scheme == "file"
        if profile.cloud is None or (is_local and request.stages == ("footage",)):
            yield from self._local.launch(context, request)
            return
        if urlsplit(request.output_url).scheme != "s3":
            raise UsageError(
                f"OUTPUT {request.output_url}: jobs on AWS cannot reach it; name an s3:// URL"
            )
        aws = profile.cloud.aws
        step = BatchStep(context, request, profile, aws, self._hooks, self._local, self._home)
        yield from step.run()
