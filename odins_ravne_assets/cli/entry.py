"""The console scripts: they import a command, and name `munin doctor` if that is not possible."""

import sys
from importlib import import_module
from types import ModuleType


def main() -> None:
    """Run `munin`."""
    if "doctor" in sys.argv[1:] and not _importable("odins_ravne_assets.cli.main"):
        from odins_ravne_assets.cli.doctor import main as run_doctor

        sys.exit(run_doctor(sys.argv[1:]))
    _import("odins_ravne_assets.cli.main").main()


def run_offline_camera_batch() -> None:
    """Run `run_offline_camera_batch`."""
    _import("odins_ravne_assets.cli.run_offline_camera_batch").main()


def _importable(name: str) -> bool:
    try:
        import_module(name)
    except ImportError:
        return False
    return True


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        print(f"error: {error}; run munin doctor", file=sys.stderr)
        sys.exit(1)
