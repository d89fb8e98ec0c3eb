"""A failed run's error: expected ones are one line for the user, others are crashes with a log."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.defs.assets import footage
from odins_ravne_assets.hugin.exports.deployments import NotExportableError
from odins_ravne_assets.run_camera import error_of, is_home_full
from resources.errors import EngineError, MediaError, StoreError, WorkerCrashError
from resources.launch.base import StepRequest
from resources.settings.dagster_resource import RunSettings
from resources.storage.s3.errors import NoSuchObjectError


class NewError(StoreError):
    """A subclass that nothing but this test knows."""


class FailingLauncher:
    """A launcher whose every step fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def launch(self, context: dg.AssetExecutionContext, request: StepRequest) -> Iterator[Any]:
        raise self._error from OSError(28, "No space left on device")


def run(error: Exception, folder: Path) -> dg.ExecuteInProcessResult:
    """A run whose step raises an error."""
    catalog = CameraCatalog(folder / "catalog")
    catalog.put(Camera("camera1", (folder / "card").as_uri(), (folder / "results").as_uri()))
    resources = {
        "settings": RunSettings(profile="local"),
        "catalog": catalog,
        "launcher": FailingLauncher(error),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("camera", ["camera1"])
        return dg.materialize(
            [footage],
            partition_key="camera1",
            instance=instance,
            resources=resources,
            raise_on_error=False,
        )


@pytest.mark.parametrize(
    "kind", [NewError, StoreError, NoSuchObjectError, EngineError, MediaError, NotExportableError]
)
def test_an_error_that_derives_from_ours_is_expected(kind: type[Exception], tmp_path: Path) -> None:
    result = run(kind("/results: no space left: free some and run again"), tmp_path)
    assert error_of(result) == ("/results: no space left: free some and run again", True)


@pytest.mark.parametrize("kind", [WorkerCrashError, RuntimeError])
def test_any_other_error_is_a_crash_whose_log_is_needed(
    kind: type[Exception], tmp_path: Path
) -> None:
    message, expected = error_of(run(kind("not foreseen"), tmp_path))
    assert message and not expected


def test_a_run_that_succeeds_has_no_error() -> None:
    @dg.asset
    def nothing() -> None: ...

    assert error_of(dg.materialize([nothing], instance=dg.DagsterInstance.ephemeral())) == (
        None,
        False,
    )


def test_a_full_disk_of_the_instance_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrapped(cause: Exception) -> Exception:
        error = RuntimeError("Dagster's own")
        error.__cause__ = cause
        return error

    def free(size: int) -> None:
        usage = SimpleNamespace(free=size)
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage)

    free(10**9)
    assert is_home_full(wrapped(sqlite3.OperationalError("database or disk is full")))
    assert not is_home_full(wrapped(sqlite3.OperationalError("disk I/O error")))
    assert not is_home_full(wrapped(ValueError("a bug")))
    free(1000)
    assert is_home_full(wrapped(sqlite3.OperationalError("disk I/O error")))
    assert is_home_full(wrapped(OSError(28, "No space left on device")))
