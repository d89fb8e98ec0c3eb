"""Short-lived compute on AWS Batch: set up before the work, torn down after it.

All of it is made with calls that need no right to create roles; the long-lived part, which does,
is `foundation.py`'s.
"""

from resources.aws.clients import AwsClients
from resources.aws.errors import translate_aws_errors
from resources.batch.names import Names
from resources.compute.parts import ComputeParts, OnStep
from resources.compute.plan import plan
from resources.compute.setup import Setup
from resources.compute.status import ComputeStatus, compute_status
from resources.compute.survey import survey
from resources.compute.teardown import Teardown
from resources.errors import RavneError
from resources.settings.profile import Aws


def _ignore_step(_: str) -> None:
    """Nobody asked to be told."""


class ComputeEnvironment:
    """The machines of a profile: environments, queues, a job definition, a launch template.

    Each method may be called at any time and any number of times.

    Args:
        aws: region, names, limits.
        clients: made from `aws` unless given.
    """

    def __init__(self, aws: Aws, clients: AwsClients | None = None) -> None:
        self._aws = aws
        self._clients = clients or AwsClients(aws)
        self._remedy = (
            f"ask an administrator to attach the policy {aws.name}-operator, which `munin cost "
            "foundation --deploy` makes"
        )

    def setup(
        self, job_count: int, gpu_required: bool = False, on_step: OnStep = _ignore_step
    ) -> int:
        """Make what is missing and change what differs, for `job_count` jobs at once.

        Args:
            gpu_required: refuse machines without a GPU.
            on_step: is told each change, and each remark on what was found.

        Returns:
            The number of changes: 0 when everything was as wanted.

        Raises:
            RavneError: something that is needed first is missing, or AWS refuses.
            UsageError: the profile's machines cannot run the jobs.
        """
        with translate_aws_errors("cost setup", self._remedy):
            found = survey(self._clients, self._aws)
            if found.missing:
                what = "; ".join(str(missing) for missing in found.missing)
                raise RavneError(f"cost setup: missing: {what}")
            for remark in found.remarks:
                on_step(remark)
            wanted = plan(self._aws, found, job_count, gpu_required)
            self._take_away_unwanted(
                {each["jobQueueName"] for each in wanted.queues},
                {each["computeEnvironmentName"] for each in wanted.environments},
                on_step,
            )
            setup = Setup(self._clients, self._aws.name, on_step)
            return setup.bring_about(wanted)

    def _take_away_unwanted(
        self, queues: set[str], environments: set[str], on_step: OnStep
    ) -> None:
        """A profile that gave up a market must not keep paying for its warm machines."""
        parts = ComputeParts(self._clients, Names(self._aws.name))
        self._teardown(on_step).take_away(
            sorted(parts.queues().keys() - queues),
            sorted(parts.environments().keys() - environments),
            force=False,
        )

    def status(self) -> ComputeStatus:
        """What is there now.

        Raises:
            RavneError: AWS refuses or cannot be reached.
        """
        with translate_aws_errors("cost status", self._remedy):
            return compute_status(self._clients, self._aws)

    def teardown(self, force: bool = False, on_step: OnStep = _ignore_step) -> None:
        """Take everything that `setup` made away, and wait until it is gone.

        Args:
            force: terminate jobs that have not ended, instead of refusing.

        Raises:
            RavneError: there are such jobs, or AWS refuses.
        """
        with translate_aws_errors("cost teardown", self._remedy):
            self._teardown(on_step).everything(force)

    def _teardown(self, on_step: OnStep) -> Teardown:
        return Teardown(self._clients, self._aws.name, on_step)
