"""Load a profile from its YAML file, environment variables and command-line options.

Later sources override earlier ones: the YAML file, then environment variables (`MUNIN_` and the
keys joined by two underscores, as `MUNIN_PIPELINE__STAGE3__MIN_CONFIDENCE=0.6`), then command-line
options. Errors name the source, the key, the value and the allowed values.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from resources.errors import ProfileError
from resources.settings.profile import Profile
from resources.settings.table_models import shortened
from resources.settings.yaml_text import YamlError, YamlLimitError, parse_yaml
from resources.user_path import user_path

ENV_PREFIX = "MUNIN_"
# Variables of this prefix that are no settings: the profile, and the command's overrides as JSON,
# for the code location in a run's process.
OVERRIDES_VARIABLE = "MUNIN_OVERRIDES"
ENV_RESERVED = {"MUNIN_PROFILE", OVERRIDES_VARIABLE}


def find_profile(name_or_path: str) -> Path:
    """Find the file of a profile by the name of a shipped one (`local`) or by its path.

    Raises:
        ProfileError: there is no such file.
    """
    path = user_path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        if path.is_file():
            return path
        raise ProfileError(f"profile {path}: no such file")
    shipped = {p.stem: p for p in _shipped_directory().glob("*.yaml")}
    if name_or_path in shipped:
        return shipped[name_or_path]
    known = ", ".join(sorted(shipped))
    raise ProfileError(
        f"profile {name_or_path}: not known; name one of {known}, or the path of a .yaml file"
    )


def profile_label(name_or_path: str) -> str:
    """Return the name of a shipped profile, also if its path is given; any other as it is."""
    path = Path(name_or_path)
    return path.stem if path.parent == _shipped_directory() else name_or_path


def _shipped_directory() -> Path:
    import profiles

    return Path(profiles.__path__[0])


def load_profile(
    name_or_path: str,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Profile:
    """Load a profile; the environment overrides it, and `overrides` override both.

    Args:
        name_or_path: see `find_profile`.
        overrides: dotted keys, as `{"pipeline.stage3.min_confidence": 0.6}`: command-line options.
        environ: environment variables; default: those of this process.

    Raises:
        ProfileError: the file cannot be read, a key is unknown, or a value is not allowed.
    """
    path = find_profile(name_or_path)
    tree = _read_yaml(path)
    origin: dict[str, str] = {}
    for key, text in _environment_settings(os.environ if environ is None else environ).items():
        if key.startswith("cloud.") and "cloud" not in tree:
            continue  # settings of the cloud do not make a local profile a cloud profile
        variable = ENV_PREFIX + key.upper().replace(".", "__")
        _set_key(tree, key, _parse_value(text, variable))
        origin[key] = f"environment {variable}"
    for key, value in (overrides or {}).items():
        _set_key(tree, key, value)
        origin[key] = "command line"
    try:
        return Profile.model_validate(tree)
    except ValidationError as error:
        raise ProfileError(_explain(error, path, origin)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except YamlError as error:
        line = f", line {error.line}" if error.line else ""
        raise ProfileError(f"profile {path}{line}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"profile {path}: cannot be read: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ProfileError(f"profile {path}: must be keys and values, not a {type(tree).__name__}")
    return tree


def _environment_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the dotted keys of the environment's settings, and their texts."""
    return {
        name.removeprefix(ENV_PREFIX).lower().replace("__", "."): text
        for name, text in environ.items()
        if name.startswith(ENV_PREFIX) and name not in ENV_RESERVED
    }


def _parse_value(text: str, variable: str) -> Any:
    """Parse an environment variable as a YAML value; what is not YAML is text."""
    try:
        return parse_yaml(text)
    except YamlLimitError as error:
        raise ProfileError(f"environment {variable}: {error}") from None
    except YamlError:
        return text


def _set_key(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    node = tree
    for key in parents:
        child = node.get(key)
        if not isinstance(child, dict):
            child = node[key] = {}
        node = child
    node[last] = value


def _explain(error: ValidationError, path: Path, origin: Mapping[str, str]) -> str:
    """Describe the first of pydantic's findings in one line; the rest are counted."""
    findings = error.errors(include_url=False)
    first = findings[0]
    key = ".".join(str(part) for part in first["loc"])
    source = next(
        (text for name, text in origin.items() if key.startswith(name) or name.startswith(key)),
        f"profile {path}",
    )
    if first["type"] == "extra_forbidden":
        known = _known_keys(first["loc"][:-1])
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        message = f"unknown key; {hint}known keys: {', '.join(known)}"
    elif first["type"] == "value_error":
        message = str(first["ctx"]["error"])
    else:
        reason = first["msg"][0].lower() + first["msg"][1:]
        message = f"{shortened(first['input'])} is not allowed: {reason}"
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return f"{source}: {key}: {message}{more}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Profile
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return sorted(model.model_fields)
