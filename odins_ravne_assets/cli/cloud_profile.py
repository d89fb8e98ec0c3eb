"""The cloud profile that a command was given."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from resources.aws.clients import AwsClients
from resources.clock import clock_at
from resources.errors import StoreError, UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Aws, Profile

HERE = {"127.0.0.1", "localhost"}


@dataclass(frozen=True)
class CloudNamed:
    """A profile with a cloud section, and its account."""

    profile: Profile
    aws: Aws


def cloud_named(name: str, command: str) -> CloudNamed:
    """The profile of a command that means something in the cloud alone.

    Args:
        command: as the user wrote it, without `munin`.

    Raises:
        UsageError: the profile has no cloud section, or its sandbox is not up.
        ProfileError: see `load_profile`.
    """
    profile = load_profile(name)
    if profile.cloud is None:
        raise UsageError(
            f"profile {name} runs on this machine and costs nothing; name a cloud profile: "
            f"munin --profile cloud {command}"
        )
    require_sandbox(profile)
    return CloudNamed(profile, profile.cloud.aws)


def require_sandbox(profile: Profile) -> None:
    """Say what to do where a profile's AWS is a sandbox of this machine that is not ready.

    Raises:
        UsageError: it is not up, or the caller has no credentials.
    """
    aws = profile.cloud.aws if profile.cloud else None
    if aws is None or aws.clock_url is None or urlsplit(aws.clock_url).hostname not in HERE:
        return
    try:
        clock_at(aws.clock_url)
    except StoreError:
        raise UsageError(
            f"the sandbox is not up at {aws.endpoint_url}; start it with munin sandbox up"
        ) from None
    if not AwsClients(aws).credentials_found:
        raise UsageError(
            "the sandbox wants credentials, and any will do: "
            "export AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox"
        )
