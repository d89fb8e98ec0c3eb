"""Expected errors: every exception that may reach a user derives from RavneError."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("resources", "odins_ravne_assets", "gpu_kernels")
# Caught in the package: control flow, and errors that are translated or retried.
INTERNAL = {
    "AwsError",
    "CorruptDownloadError",
    "FileChangedError",
    "NoSuchUploadError",
    "NotOnDeviceError",
    "NotPlacedError",
    "NotSharedError",
    "ObjectChangedError",
    "PreconditionFailedError",
    "RavneError",
    "StepStopped",
    "TomlError",
    "UploadStopped",
    "YamlError",
}


def exceptions() -> dict[str, set[str]]:
    """Return the bases of each exception class by its name."""
    found: dict[str, set[str]] = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = {ast.unparse(base) for base in node.bases}
                if any(base.endswith(("Error", "Exception")) for base in bases):
                    found[node.name] = bases
    return found


def test_exceptions_derive_from_ravne_error_unless_they_are_internal() -> None:
    found = exceptions()
    expected = {"RavneError"}
    while more := {name for name, bases in found.items() if bases & expected} - expected:
        expected |= more
    others = {name for name in set(found) - expected if not name.startswith("_")}
    internal = {name for name in others if not found[name] & INTERNAL}
    assert internal <= INTERNAL
    assert {"NoSuchObjectError", "EngineError", "MediaError", "NotExportableError"} <= expected
