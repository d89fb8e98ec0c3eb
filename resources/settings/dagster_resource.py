"""The profile of a run as a Dagster resource."""

from typing import Any

import dagster as dg
from pydantic import Field

from resources.settings.loader import load_profile
from resources.settings.profile import Profile


class RunSettings(dg.ConfigurableResource[Any]):
    """The profile of a run, and its overrides.

    Example:
        Run configuration with a wider window:

            resources:
              settings:
                config:
                  profile: local
                  overrides: {"pipeline.stage3.compression_window": 15}
    """

    profile: str = Field("local", description="Name of a shipped profile, or path of a YAML file.")
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="Dotted keys of the profile and their values in this run."
    )

    def load(self) -> Profile:
        """Load the effective settings.

        Raises:
            ProfileError: see `load_profile`.
        """
        return load_profile(self.profile, self.overrides)
