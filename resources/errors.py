"""The errors a user may meet. Each says in one line what went wrong, where, and what to do.

The command line prints `error: <message>` and exits with `exit_code`; nothing else is a
user's mistake, so everything else keeps its traceback.
"""


class RavneError(Exception):
    """Work that was asked for rightly could not be done (exit code 1)."""

    exit_code = 1


class UsageError(RavneError):
    """The request itself is wrong: an option, a path, a camera id (exit code 2)."""

    exit_code = 2


class ProfileError(UsageError):
    """A profile, or a setting that overrides it, is wrong."""


class ModelError(RavneError):
    """A model or its manifest is missing, damaged, or not what the manifest says."""


class StoreError(RavneError):
    """An object store refused to read or write: permission, space, a missing object."""


class MediaError(RavneError):
    """One media file cannot be used. It becomes a row with this reason, not the end of a run."""


class LaunchError(RavneError):
    """A step could not be launched, or its worker ended without finishing."""


class WorkerCrashError(LaunchError):
    """A local worker crashed: the reason is in the run's log, as a traceback or a signal."""


class BudgetReachedError(LaunchError):
    """Another job might pass a budget of the profile; what is finished is kept."""


class EngineError(RavneError):
    """The GPU cannot be used: no GPU, an old driver, too little memory, a network it refuses."""
