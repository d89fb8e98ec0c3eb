"""The profile of a run, as Dagster hands it to assets."""

from typing import Any

import dagster as dg
from pydantic import Field

from resources.settings.loader import load_profile
from resources.settings.profile import Profile


class RunSettings(dg.ConfigurableResource[Any]):
    """Which profile a run uses, and what is different in this run.

    Example:
        Run configuration of a run with a wider window:

            resources:
              settings:
                config:
                  profile: local
                  overrides: {"pipeline.stage3.compression_window": 15}
    """

    profile: str = Field("local", description="A shipped profile's name, or a YAML file's path.")
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="Dotted keys of the profile and their values in this run."
    )

    def load(self) -> Profile:
        """The settings in force.

        Raises:
            ProfileError: see `load_profile`.
        """
        return load_profile(self.profile, self.overrides)
