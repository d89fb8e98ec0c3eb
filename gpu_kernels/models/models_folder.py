"""The folder of a user's models: `munin models add` fills it, `load_manifest` reads it.

A model is in a folder of its name, with its manifest: `NAME/NAME.toml`. If the profile's
`models.folder` is a bucket, jobs and commands read a copy of it in the user's cache.
"""

import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path

from resources.storage.layout import model_manifest_key

APPLICATION = "odins-ravne"
# The name of a model is a folder name, a file name, and a part of an object's key.
MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


def local_models_folder(folder: str | None = None) -> Path:
    """Return the folder of this machine that holds the models.

    Args:
        folder: `models.folder` of the profile: None, a folder, or an s3:// URL.
    """
    if folder is None:
        return _user_folder("XDG_DATA_HOME", ".local/share", "Library/Application Support")
    if folder.startswith("s3://"):
        cache = _user_folder("XDG_CACHE_HOME", ".cache", "Library/Caches")
        return cache / hashlib.sha256(folder.rstrip("/").encode()).hexdigest()[:16]
    return Path(os.path.abspath(Path(folder).expanduser()))  # noqa: PTH100 (keeps symlinks)


def _user_folder(variable: str, linux: str, mac: str) -> Path:
    """Return a folder of the XDG base directory specification, or of macOS."""
    named = os.environ.get(variable, "")
    if named.startswith("/"):  # the specification: a relative path is invalid and is ignored
        return Path(named) / APPLICATION / "models"
    try:
        home = Path.home()
    except RuntimeError:  # a container's user without a home
        home = Path(tempfile.gettempdir())
    return home / (mac if sys.platform == "darwin" else linux) / APPLICATION / "models"


def installed_manifest(name: str, folder: str | None = None) -> Path | None:
    """Return the path of an installed model's manifest; None if the model is not installed."""
    path = local_models_folder(folder) / model_manifest_key(name)
    return path if path.is_file() else None


def installed_models(folder: str | None = None) -> list[str]:
    """Return the names of the installed models."""
    found = local_models_folder(folder).glob("*/*.toml")
    return sorted(path.stem for path in found if path.stem == path.parent.name)
