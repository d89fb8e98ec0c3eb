"""The cloud profile that a command was given."""

from dataclasses import dataclass

from odins_ravne_assets.cli.sandbox_reached import require_sandbox
from resources.errors import UsageError
from resources.settings.loader import load_profile
from resources.settings.profile import Aws, Profile


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
