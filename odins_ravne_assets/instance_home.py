"""Where the Dagster instance of this machine lives, and what we keep beside it."""

import fcntl
import os
import re
from pathlib import Path

from resources.errors import UsageError

DEFAULT_HOME = "~/.odins_ravne"
# Held while the instance is made, and what says that it has been.
LOCK, MADE = ".making", ".made"

# One run at a time for each camera, since a camera has one output; the queue holds the others. How
# many jobs run at once, on this machine or in an account, is held by max_parallel_jobs over all
# runs; so ten runs may wait for their turn, some 120 MB each, and ten cameras be on AWS at once. A
# run is retried when it was killed, not when its camera's footage makes it fail. Slots of runs that
# have ended are freed by who needs one (LaunchSlots), not after a time: a job on AWS may go on.
DAGSTER_YAML = """\
telemetry:
  enabled: false

# No invitation to Dagster's community before the first look at one's own footage.
nux:
  enabled: false

concurrency:
  runs:
    max_concurrent_runs: 10
    tag_concurrency_limits:
      - key: dagster/partition
        value:
          applyLimitPerUniqueValue: true
        limit: 1

run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false

run_monitoring:
  enabled: true
"""


def home() -> Path:
    """The folder of the instance: DAGSTER_HOME, or one of our own in the user's home."""
    return Path(os.environ.get("DAGSTER_HOME") or DEFAULT_HOME).expanduser().absolute()


def catalog_folder() -> Path:
    """Where the cameras are kept that have been run."""
    return home() / "cameras"


def prepare_home() -> Path:
    """Make the instance: its folder, a dagster.yaml if it has none, its databases; name it.

    Raises:
        UsageError: the folder cannot be made.
    """
    folder = home()
    os.environ["DAGSTER_HOME"] = str(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _make_instance(folder)
    except OSError as error:
        raise UsageError(
            f"DAGSTER_HOME {folder}: cannot be made ({error.strerror}); set it to a folder that "
            "can be written"
        ) from None
    return folder


def _make_instance(folder: Path) -> None:
    """Make what is missing. Only one process may: two at once leave databases nobody can open."""
    settings = folder / "dagster.yaml"
    if not settings.exists():
        settings.write_text(DAGSTER_YAML, encoding="utf-8")
    # A database elsewhere may have gone away since it was made.
    elsewhere = "\nstorage:" in settings.read_text(encoding="utf-8")
    if elsewhere or not (folder / MADE).exists():
        _open(settings)
        (folder / MADE).touch()


def _open(settings: Path) -> None:
    """Open the instance, which makes its databases or tables.

    Raises:
        UsageError: its dagster.yaml names what is not there.
    """
    import dagster as dg  # takes a second, which only the first command should cost

    try:
        with dg.DagsterInstance.get():
            pass
    except _unusable() as error:
        unset = re.search(r'environment variable "(\w+)"', str(error))
        why = f"{unset[1]} is not set" if unset else str(error).strip().partition("\n")[0]
        raise UsageError(
            f"{settings}: cannot be used ({why}); a server's settings come from its environment "
            "file: docs/production.md"
        ) from None


def _unusable() -> tuple[type[Exception], ...]:
    """What Dagster raises for settings that name nothing, and for a database that is not there."""
    import dagster as dg
    from dagster._config import PostProcessingError  # there is no public name for it

    try:
        from dagster_postgres.utils import DagsterPostgresException
    except ImportError:
        return (dg.DagsterError, PostProcessingError)
    return (dg.DagsterError, PostProcessingError, DagsterPostgresException)
