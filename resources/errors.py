"""Expected errors. Each message is one line: what went wrong, in which file or setting, what to do.

`RavneError` marks an error as expected: the command line prints `error: <message>` and exits with
`exit_code`, and a run fails with the message alone. Any other exception is a bug and keeps its
traceback.
"""

from pathlib import Path

from resources.printable import printable


class RavneError(Exception):
    """A valid request failed (exit code 1). The base of every error that a user may see."""

    exit_code = 1

    def __str__(self) -> str:
        """The message, in which control characters of names are escaped."""
        return printable(super().__str__())


class UsageError(RavneError):
    """The request itself is invalid: an option, a path, a camera id (exit code 2)."""

    exit_code = 2


class ProfileError(UsageError):
    """A profile, or a setting that overrides it, is invalid."""


class ModelError(RavneError):
    """A model or its manifest is missing, damaged, or does not match the manifest."""


class StoreError(RavneError):
    """An object store failed to read or write: permission, disk space, a missing object."""


class UnavailableError(StoreError):
    """The store throttles, fails or cannot be reached: the same request may succeed later."""


class LeaseLostError(StoreError):
    """Another run has taken over the store's lease: this one must write and end nothing more."""


class DamagedFileError(StoreError):
    """A stored file is damaged, or of another version."""

    def __init__(self, path: Path, reason: str, shown: str | None = None) -> None:
        """Args:
        path: the local file that was read.
        shown: the name for the user, if `path` is a temporary copy.
        """
        super().__init__(
            f"{shown or path}: is damaged or of another version ({reason}); delete it, so that the "
            "next run makes it again"
        )
        self.path = path
        self.reason = reason


class MediaError(RavneError):
    """One media file cannot be used. It becomes a row with this reason; the run continues."""


class LaunchError(RavneError):
    """A step could not be launched, or its worker ended without finishing."""


class WorkerCrashError(LaunchError):
    """A local worker crashed: the reason is in the run's log, as a traceback or a signal."""


class BudgetReachedError(LaunchError):
    """Another job might exceed a budget of the profile; finished work is saved."""


class EngineError(RavneError):
    """The GPU cannot be used: none, an old driver, too little memory, an unsupported model."""
