"""Enforcement of IAM policies. Until it is enabled, every key may do everything."""

from collections.abc import Mapping
from datetime import UTC, datetime

from resources.sandbox.iam.access_requests import access_requests
from resources.sandbox.iam.policy_evaluation import is_allowed
from resources.sandbox.jobs.state import BatchState
from resources.sandbox.model.config import CREDENTIALS
from resources.sandbox.model.environments import ARN_OF_BATCH
from resources.sandbox.model.moto_services import MotoServices
from resources.sandbox.wire.errors import AwsError
from resources.sandbox.wire.faults import FaultKind, fault_error
from resources.sandbox.wire.protocol import AwsRequest

# The key of CREDENTIALS is an administrator's.
ADMINISTRATOR = CREDENTIALS["AWS_ACCESS_KEY_ID"]
UNKNOWN_KEY_ERRORS = {
    "s3": AwsError(
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
        403,
    ),
    "ec2": AwsError(
        "AuthFailure", "AWS was not able to validate the provided access credentials", 401
    ),
}
INVALID_TOKEN = AwsError(
    "UnrecognizedClientException", "The security token included in the request is invalid.", 403
)


class PolicyEnforcement:
    """Checks requests against IAM policies; disabled at first."""

    def __init__(self, region: str, services: MotoServices, state: BatchState) -> None:
        self.enforced = False
        self._region = region
        self._services = services
        self._state = state

    def check(self, request: AwsRequest) -> None:
        """Check a request.

        Raises:
            AwsError: the key is unknown or expired, or its policies do not allow the request.
        """
        if not self.enforced or request.access_key == ADMINISTRATOR:
            return
        with self._state.lock:
            principal = self._services.principal(request.access_key)
            if principal is None:
                raise UNKNOWN_KEY_ERRORS.get(request.service, INVALID_TOKEN)
            if principal.expiration is not None and principal.expiration < datetime.now(UTC):
                raise fault_error(FaultKind.EXPIRED_TOKEN, request.service)
            for access in access_requests(request, self._region, self):
                if not is_allowed(principal.documents, principal.boundary, access):
                    denied = fault_error(FaultKind.DENIED, request.service)
                    message = (
                        f"User: {principal.arn} is not authorized to perform: {access.action} on "
                        f"resource: {access.resource}"
                    )
                    raise AwsError(denied.code, message, denied.status)

    def tags_of(self, arn: str) -> Mapping[str, str]:
        """See access_requests.AccountLookup."""
        if ARN_OF_BATCH.match(arn):
            found = self._state.by_arn(arn)
            return found.tags if found is not None else {}
        return self._services.ec2_tags(arn.rpartition("/")[2])

    def roles_of_profile(self, name_or_arn: str) -> list[str]:
        """See access_requests.AccountLookup."""
        return self._services.roles_of_profile(name_or_arn)

    def launch_template(self, name_or_id: str) -> str:
        """See access_requests.AccountLookup."""
        return self._services.launch_template_id(name_or_id) or name_or_id
