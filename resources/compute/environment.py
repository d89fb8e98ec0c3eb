"""Temporary compute on AWS Batch: set up before the work, torn down after it.

None of its calls needs the permission to create roles. The permanent part, which does, is in
`foundation.py`.
"""

from resources.aws.clients import AwsClients
from resources.aws.errors import translate_aws_errors
from resources.batch.names import Names
from resources.compute.desired_state import plan
from resources.compute.parts import ComputeParts, OnStep
from resources.compute.setup import Setup
from resources.compute.status import ComputeStatus, compute_status
from resources.compute.survey import survey
from resources.compute.teardown import Teardown
from resources.errors import RavneError
from resources.settings.profile import Aws


def _ignore_step(_: str) -> None:
    """Ignore a step."""


class ComputeEnvironment:
    """The compute of a profile: environments, queues, a job definition, a launch template.

    Every method is idempotent and may be called at any time.

    Args:
        aws: region, names, limits.
        clients: created from `aws` if not given.
    """

    def __init__(self, aws: Aws, clients: AwsClients | None = None) -> None:
        self._aws = aws
        self._clients = clients or AwsClients(aws)
        self._remedy = (
            f"ask an administrator to attach the policy {aws.name}-operator, which `munin cost "
            "foundation --deploy` creates"
        )

    def setup(
        self, job_count: int, gpu_required: bool = False, on_step: OnStep = _ignore_step
    ) -> int:
        """Create missing parts and update those that differ, for `job_count` parallel jobs.

        Args:
            gpu_required: refuse machines without a GPU.
            on_step: is called with each change, and with each remark of the survey.

        Returns:
            The number of changes: 0 if everything is as planned.

        Raises:
            RavneError: a part of the foundation is missing, or AWS refuses.
            UsageError: the profile's machines cannot run the jobs.
        """
        with translate_aws_errors("cost setup", self._remedy):
            found = survey(self._clients, self._aws)
            if found.missing:
                names = "; ".join(str(missing) for missing in found.missing)
                raise RavneError(f"cost setup: missing: {names}")
            for remark in found.remarks:
                on_step(remark)
            wanted = plan(self._aws, found, job_count, gpu_required)
            self._delete_unplanned(
                {each["jobQueueName"] for each in wanted.queues},
                {each["computeEnvironmentName"] for each in wanted.environments},
                on_step,
            )
            setup = Setup(self._clients, self._aws.name, on_step)
            return setup.apply(wanted)

    def _delete_unplanned(self, queues: set[str], environments: set[str], on_step: OnStep) -> None:
        """Delete parts of a market that the profile no longer uses: warm machines cost money."""
        parts = ComputeParts(self._clients, Names(self._aws.name))
        self._teardown(on_step).delete(
            sorted(parts.queues().keys() - queues),
            sorted(parts.environments().keys() - environments),
            force=False,
        )

    def status(self) -> ComputeStatus:
        """Return the present state of all parts.

        Raises:
            RavneError: AWS refuses or cannot be reached.
        """
        with translate_aws_errors("cost status", self._remedy):
            return compute_status(self._clients, self._aws)

    def teardown(self, force: bool = False, on_step: OnStep = _ignore_step) -> None:
        """Delete everything that `setup` created, and wait until it is deleted.

        Args:
            force: terminate jobs that have not ended, instead of refusing.

        Raises:
            RavneError: there are such jobs, or AWS refuses.
        """
        with translate_aws_errors("cost teardown", self._remedy):
            self._teardown(on_step).run(force)

    def _teardown(self, on_step: OnStep) -> Teardown:
        return Teardown(self._clients, self._aws.name, on_step)
