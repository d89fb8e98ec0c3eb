"""The credentials of job roles, as the ECS agent serves them on a machine.

A container fetches them from the URL in AWS_CONTAINER_CREDENTIALS_FULL_URI, and new ones before
they expire (ECS developer guide, "Task IAM role").
"""

from typing import Any
from uuid import uuid4

from resources.sandbox.model.moto_services import MotoServices

# Real seconds: clients compare the expiration with their machine's clock.
VALID_SECONDS = 3600


class JobCredentials:
    """Serves credentials under a secret path for each role and session.

    Args:
        base_url: prefix of the paths.
    """

    def __init__(self, services: MotoServices, base_url: str) -> None:
        self._services = services
        self._base_url = base_url
        self._sessions: dict[str, tuple[str, str]] = {}

    def url_for(self, role_arn: str, session: str) -> str:
        """See attempts.CredentialSource."""
        secret = uuid4().hex
        self._sessions[secret] = (role_arn, session)
        return f"{self._base_url}/{secret}"

    def fetch(self, secret: str) -> dict[str, Any] | None:
        """Return new credentials in the ECS agent's format, or None if the path is not known."""
        if secret not in self._sessions:
            return None
        role_arn, session = self._sessions[secret]
        credentials = self._services.assume_role(role_arn, session, VALID_SECONDS)
        return {
            "RoleArn": role_arn,
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "Token": credentials.session_token,
            "Expiration": credentials.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
