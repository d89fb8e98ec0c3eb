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

from resources.errors import UsageError
from resources.storage.layout import model_manifest_key
from resources.user_path import user_path

APPLICATION = "odins-ravne"
# The name of a model is a folder name, a file name, and a part of an object's key, on every system:
# Windows reserves names of devices and drops a final dot. What ends like a file is a path in a
# profile, and `auto` is a setting.
MODEL_NAME = re.compile(
    r"(?!auto$|(con|prn|aux|nul|com\d|lpt\d)(\.|$)|.*\.\.|.*\.(toml|json|yaml|yml)$)"
    r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9-])?"
)
MODEL_NAME_RULE = (
    "1 to 64 lower-case letters, digits, '.' and '-', with a letter or a digit first, no '.' last "
    "and no '..'; not the name of a device of Windows, as con, not auto, and not ending as .toml, "
    ".json or .yaml"
)


def local_models_folder(folder: str | None = None) -> Path:
    """Return the folder of this machine that holds the models.

    Args:
        folder: `models.folder` of the profile: None, a folder, or an s3:// URL.

    Raises:
        UsageError: the folder is in the home of an unknown user.
    """
    if not folder:
        return _user_folder("XDG_DATA_HOME", ".local/share", "Library/Application Support")
    if folder.startswith("s3://"):
        cache = _user_folder("XDG_CACHE_HOME", ".cache", "Library/Caches")
        return cache / hashlib.sha256(folder.rstrip("/").encode()).hexdigest()[:16]
    return Path(os.path.abspath(_folder_of_setting(folder)))  # noqa: PTH100 (keeps symlinks)


def _folder_of_setting(folder: str) -> Path:
    try:
        return user_path(folder)
    except UsageError as error:
        raise UsageError(f"models.folder: {error}") from None


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
