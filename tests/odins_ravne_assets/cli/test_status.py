"""The rows of `munin status`."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from rich.console import Console
from s3_rig import S3Rig, s3, s3_server

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cli import status as camera_status
from odins_ravne_assets.cli.status import camera_status as status_of
from resources.aws.clients import AwsClients
from resources.settings.loader import load_profile
from resources.storage.open_store import open_store

# Fixtures.
__all__ = ["s3", "s3_server"]


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        yield instance


def test_each_camera_has_the_status_of_its_last_run(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(camera_status, "PAGE_SIZE", 2)
    for camera, status in (
        ("north", DagsterRunStatus.FAILURE),
        ("south", DagsterRunStatus.SUCCESS),
        ("north", DagsterRunStatus.SUCCESS),
        ("south", DagsterRunStatus.CANCELED),
        ("elsewhere", DagsterRunStatus.SUCCESS),
    ):
        instance.add_run(dg.DagsterRun("camera", tags={"dagster/partition": camera}, status=status))
    cameras = [
        Camera(name, f"file:///cards/{name}", (tmp_path / name).as_uri())
        for name in ("north", "south", "new")
    ]
    rows, remarks = status_of(cameras, load_profile("local", environ={}))
    assert [(row[0], row[1].split()[0]) for row in rows] == [
        ("north", "SUCCESS"),
        ("south", "CANCELED"),
        ("new", "none"),
    ]
    assert not remarks


def test_json_has_numbers_and_the_time_of_the_last_run_with_its_offset() -> None:
    rows = [
        ("north", "SUCCESS 2026-05-01 12:30", "1204", "2", "31", "older", "/results/north"),
        ("new", "none", "", "", "", "", "s3://b/new"),
        ("ridge", "none", "4 in 2 sources", "0", "4", "", "/results/ridge"),
    ]
    content = json.loads(camera_status.status_json(rows, ["a remark"]))
    north, new, ridge = content["cameras"]
    at = datetime.fromisoformat(north["last_run"].pop("at"))
    assert (at.replace(tzinfo=None), at.tzinfo is None) == (datetime(2026, 5, 1, 12, 30), False)
    assert north == {
        "camera": "north",
        "last_run": {"status": "SUCCESS"},
        "media": 1204,
        "sources": 1,
        "failed": 2,
        "visits": 31,
        "settings": "older",
        "results": "/results/north",
    }
    assert (new["last_run"], new["media"], new["sources"], new["settings"]) == (None,) * 4
    assert (ridge["media"], ridge["sources"], ridge["visits"]) == (4, 2, 4)
    assert content["remarks"] == ["a remark"]


def test_many_cameras_on_s3_share_one_client(
    instance: dg.DagsterInstance, s3: S3Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[str] = []
    create = AwsClients._create
    bucket = s3.bucket(s3.clients())

    def record(self: AwsClients, service: str, options: Any = None) -> Any:
        created.append(service)
        return create(self, service, options)

    cameras = [
        Camera(f"cam-{number}", f"s3://{bucket}/f/{number}", f"s3://{bucket}/r/{number}")
        for number in range(5)
    ]
    report = b'{"totals": {"media": 7, "failed": 1, "observations": 2}}'
    open_store(cameras[3].output_url, s3.clients()).write_bytes("stage3/report.json", report)
    profile = load_profile("cloud", {"cloud.aws.endpoint_url": s3.url})
    monkeypatch.setattr(AwsClients, "_create", record)
    rows, remarks = status_of(cameras, profile)
    assert [row[2:5] for row in rows if any(row[2:5])] == [("7", "1", "2")]
    assert not remarks
    assert created == ["s3"]


def test_without_a_cloud_profile_counts_on_s3_are_those_of_the_last_run(
    instance: dg.DagsterInstance,
) -> None:
    north, south = (Camera(name, f"s3://b/f/{name}", f"s3://b/r/{name}") for name in ("n", "s"))
    for asset, metadata in (
        ("footage", {"media/files": 5}),
        ("footage", {"media/files": 7}),
        ("detections", {"media/failed": 1}),
        ("observations", {"visits/total": 2}),
    ):
        instance.report_runless_asset_event(
            dg.AssetMaterialization(asset, partition="n", metadata=metadata)
        )
    rows, remarks = status_of([north, south], load_profile("local", environ={}))
    assert [row[2:5] for row in rows] == [("7", "1", "2"), ("", "", "")]
    assert remarks == ["s: its results are on S3; name a cloud profile to count them"]


@pytest.mark.parametrize(("width", "in_table"), [(80, False), (200, True)])
def test_the_location_of_results_is_in_one_piece_at_every_width(
    monkeypatch: pytest.MonkeyPatch, width: int, in_table: bool
) -> None:
    location = "/media/winter survey/results [2026]/with a long name/card-north"
    row = ("north", "SUCCESS 2026-11-28 17:24", "1204", "3", "87", "older", location)
    console = Console(width=width, record=True, highlight=False)
    monkeypatch.setattr(camera_status, "out", console)
    camera_status.print_status([row])
    lines = console.export_text().splitlines()
    assert (f"north: {location}" in lines) is not in_table
    assert sum(location in line for line in lines) == 1
    [counts] = [line for line in lines if "1204" in line]
    assert "SUCCESS 2026-11-28 17:24" in counts
