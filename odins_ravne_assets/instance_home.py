"""The home of this machine's Dagster instance: its folder, its dagster.yaml, its databases."""

import hashlib
import os
import re
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from odins_ravne_assets.databases.locked import opened_instance
from odins_ravne_assets.databases.migration import (
    is_outdated,
    migrate,
    print_message,
    restore_interrupted,
)
from resources.errors import UsageError
from resources.settings.yaml_text import YamlLimitError, parse_yaml
from resources.storage.file_lock import SystemFileLock
from resources.storage.layout import CAMERAS_FOLDER
from resources.user_path import user_path

DEFAULT_HOME = "~/.odins_ravne"
# Links to homes with a question mark in their path, which SQLite's addresses end at.
LINKED_HOMES = "~/.odins_ravne-links"
# The lock of the initialization, and the marker of its end: the version of Dagster that opened the
# databases. Markers of older versions are empty.
LOCK_FILE, INITIALIZED_MARKER = ".making", ".made"

# File systems that may not lock files as SQLite requires (https://sqlite.org/howtocorrupt.html).
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afpfs", "webdav", "davfs", "afs", "ceph"}
    | {"lustre", "beegfs", "glusterfs", "vboxsf", "prl_fs", "drvfs", "macfuse", "osxfuse"}
    | {"fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.glusterfs", "fuse.ceph", "fuse.smbnetfs"}
    | {"fuse.gvfsd-fuse", "fuse.davfs2", "fuse.goofys", "fuse.mount-s3", "fuse.vmhgfs-fuse"}
)
WSL_DISK_OPTION = "drvfs"  # of a disk of Windows, whose type is 9p, as of some local disks

# One run at a time for each camera, since a camera has one output; other runs wait in the queue.
# The limit on parallel jobs, local or on AWS, is max_parallel_jobs over all runs; so up to ten runs
# may wait for a slot, at some 120 MB each. A run is retried when its process was killed, not when
# its footage makes it fail. Slots of ended runs are freed by the next run that needs one
# (LaunchSlots), not after a timeout: the run's job on AWS may still be running.
DAGSTER_YAML = """\
telemetry:
  enabled: false

# Hides the invitation to Dagster's community.
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

# Ticks of sensors and schedules. The sensor old_runs deletes old runs: history.keep_days.
retention:
  sensor:
    purge_after_days:
      skipped: 2
      success: 90
      failure: 90
  schedule:
    purge_after_days: 90
"""


def home() -> Path:
    """Return the folder of the instance: DAGSTER_HOME, or one in the user's home."""
    return user_path(os.environ.get("DAGSTER_HOME") or DEFAULT_HOME).absolute()


def catalog_folder() -> Path:
    """Return the folder of the camera catalog."""
    return home() / CAMERAS_FOLDER


def prepare_home() -> Path:
    """Create the instance's folder, dagster.yaml and databases, if missing; set DAGSTER_HOME.

    Raises:
        UsageError: the folder cannot be created, or its databases would be on a network disk.
    """
    folder = home()
    os.environ["DAGSTER_HOME"] = str(folder)
    try:
        refuse_network_disk(folder)
        folder.mkdir(parents=True, exist_ok=True)
        folder = _without_question_mark(folder)
        os.environ["DAGSTER_HOME"] = str(folder)
        # The operating system's lock: it ends with its process.
        with SystemFileLock(folder / LOCK_FILE):
            _initialize(folder)
    except OSError as error:
        raise UsageError(
            f"DAGSTER_HOME {folder}: cannot be created ({error.strerror}); set it to a writable "
            "folder"
        ) from None
    return folder


def _without_question_mark(folder: Path) -> Path:
    """Return a folder, or a link to it if Dagster's database addresses cannot hold its name."""
    if "?" not in str(folder):
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    link = user_path(LINKED_HOMES) / digest
    if "?" in str(link):
        raise UsageError(f"DAGSTER_HOME {folder}: Dagster opens no path with a question mark")
    link.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        link.symlink_to(folder)
    return link


def refuse_network_disk(home_folder: Path) -> None:
    """Check that the instance's SQLite databases, if it has any, are on a local disk.

    Raises:
        UsageError: they are on a network disk.
    """
    folder = _sqlite_folder(home_folder)
    if folder and (disk := network_disk(folder)):
        raise UsageError(
            f"DAGSTER_HOME {folder}: is on a network disk ({disk}), where SQLite databases get "
            "damaged; set it to a local folder, or use Postgres: docs/production.md"
        )


def _sqlite_folder(home_folder: Path) -> Path | None:
    """Return the folder of the instance's SQLite databases; None if it has none."""
    try:
        settings: Any = parse_yaml((home_folder / "dagster.yaml").read_text(encoding="utf-8"))
        storage = settings.get("storage") or {"sqlite": {}}
        if "sqlite" not in storage:
            return None
        return Path(storage["sqlite"]["base_dir"])
    except YamlLimitError as error:  # Dagster would read it without an end
        raise UsageError(f"{home_folder / 'dagster.yaml'}: {error}; correct it") from None
    except (FileNotFoundError, ValueError, AttributeError, KeyError, TypeError):
        return home_folder  # Dagster's default; it reports what is wrong in the file


def network_disk(folder: Path) -> str | None:
    """Return the network disk that holds a folder, as "nfs4 at /mnt/share"; None if it is local."""
    path = Path(os.path.realpath(folder))
    try:
        table = psutil.disk_partitions(all=True)
    except OSError:  # the system does not show it
        return None
    # The last mount at a point hides those before.
    mounts = {Path(m.mountpoint): m for m in table if path.is_relative_to(m.mountpoint)}
    if not mounts:
        return None
    point = max(mounts, key=lambda point: len(point.parts))
    kind, options = mounts[point].fstype, mounts[point].opts
    if kind in NETWORK_FILE_SYSTEMS or (kind == "9p" and WSL_DISK_OPTION in options):
        return f"{kind} at {point}"
    return None


def _initialize(folder: Path) -> None:
    """Create missing files, migrate old databases. The caller holds the lock.

    Without it two processes could damage the databases.
    """
    settings = folder / "dagster.yaml"
    if not settings.exists():
        settings.write_text(DAGSTER_YAML, encoding="utf-8")
    # An external database may have become unreachable since then.
    external = "\nstorage:" in settings.read_text(encoding="utf-8")
    marker, dagster = folder / INITIALIZED_MARKER, version("dagster")
    databases = _sqlite_folder(folder)
    if databases:
        restore_interrupted(databases, print_message)
    if external or not marker.exists() or marker.read_text(encoding="utf-8") != dagster:
        _open_instance(settings, databases)
        marker.write_text(dagster, encoding="utf-8")


def _open_instance(settings: Path, databases: Path | None) -> None:
    """Open the instance, which creates its databases or tables; migrate those of an older Dagster.

    Args:
        databases: the folder of its SQLite databases; None if it has none.

    Raises:
        UsageError: its dagster.yaml cannot be used, or its database cannot be reached, or is of
            another Dagster.
        StoreError: a SQLite database is damaged, or the disk is full.
    """
    import dagster as dg  # takes a second, which only the first command should cost

    try:
        with opened_instance() as instance:
            if is_outdated(instance):
                if databases is None:
                    raise UsageError(
                        f"{settings}: its database is of another Dagster than the installed "
                        f"{dg.__version__}; stop the services, back it up, and run DAGSTER_HOME="
                        f"{settings.parent} dagster instance migrate: docs/production.md#upgrades"
                    )
                migrate(instance, databases, print_message)
    except _instance_errors() as error:
        unset = re.search(r'environment variable "(\w+)"', str(error))
        reason = f"{unset[1]} is not set" if unset else str(error).strip().partition("\n")[0]
        raise UsageError(
            f"{settings}: cannot be used ({reason}); a server's settings come from its environment "
            "file: docs/production.md"
        ) from None


def _instance_errors() -> tuple[type[Exception], ...]:
    """Return Dagster's errors for unusable settings and for an unreachable database."""
    import dagster as dg
    from dagster._config import PostProcessingError  # there is no public name for it

    try:
        from dagster_postgres.utils import DagsterPostgresException
    except ImportError:
        return (dg.DagsterError, PostProcessingError)
    return (dg.DagsterError, PostProcessingError, DagsterPostgresException)
