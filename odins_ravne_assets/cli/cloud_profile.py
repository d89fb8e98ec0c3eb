"""The cloud profile of a command."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from resources.aws.clients import AwsClients
from resources.clock import clock_at
from resources.errors import StoreError, UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Aws, Profile

LOCALHOST = {"127.0.0.1", "localhost"}


@dataclass(frozen=True)
class CloudProfile:
    """A profile that has a section `cloud`, and its AWS settings."""

    profile: Profile
    aws: Aws


def load_cloud_profile(name: str, command: str) -> CloudProfile:
    """Load the profile of a command that needs a cloud profile.

    Args:
        name: name or path of the profile.
        command: the command as the user typed it, without `munin`; for the error message.

    Raises:
        UsageError: the profile has no section `cloud`, or its sandbox is not running.
        ProfileError: see `load_profile`.
    """
    profile = load_profile(name)
    if profile.cloud is None:
        raise UsageError(
            f"profile {name} runs locally and costs nothing; name a cloud profile: "
            f"munin --profile cloud {command}"
        )
    require_sandbox(profile)
    return CloudProfile(profile, profile.cloud.aws)


def require_sandbox(profile: Profile) -> None:
    """Check that the local sandbox is ready, if the profile uses one.

    Raises:
        UsageError: the sandbox is not running, or there are no credentials.
    """
    aws = profile.cloud.aws if profile.cloud else None
    if aws is None or aws.clock_url is None or urlsplit(aws.clock_url).hostname not in LOCALHOST:
        return
    try:
        clock_at(aws.clock_url)
    except StoreError:
        raise UsageError(
            f"the sandbox is not running at {aws.endpoint_url}; start it: munin sandbox up"
        ) from None
    if not AwsClients(aws).credentials_found:
        raise UsageError(
            "the sandbox needs credentials, of any value: "
            "export AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox"
        )
