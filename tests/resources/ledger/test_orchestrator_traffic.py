"""Requests and downloads of this machine are in the ledger, with their cost."""

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from s3_rig import S3Rig, refuse, s3, s3_server

from odins_ravne_assets.cli.download import RemoteResults, download_cameras
from odins_ravne_assets.odin.row_times import with_row_times
from odins_ravne_assets.odin.traffic import sum_traffic
from resources.clock import system_clock
from resources.errors import StoreError
from resources.ledger.asset_metadata import stage_cost_metadata
from resources.ledger.money_columns import FREE_TRANSFER_REMARK
from resources.ledger.orchestrator_traffic import OrchestratorTraffic
from resources.ledger.table import read_ledger
from resources.pricing.prices import PriceBook
from resources.pricing.sources import shipped_prices
from resources.settings.profile import Aws
from resources.storage.layout import LEDGER_FOLDER
from resources.storage.s3.store import S3Store

# Fixtures.
__all__ = ["s3", "s3_server"]

BOOK = shipped_prices("eu-north-1")


def traffic(put: int = 0, get: int = 0, read: int = 0) -> OrchestratorTraffic:
    counted = OrchestratorTraffic("cam", "eu-north-1", "downloading results", system_clock())
    counted.traffic.put, counted.traffic.get, counted.traffic.read = put, get, read
    return counted


@pytest.fixture
def camera(s3: S3Rig) -> S3Store:
    """A camera's OUTPUT, with a table of 100,000 bytes and a report of 1,000."""
    clients = s3.clients()
    store = S3Store(f"s3://{s3.bucket(clients)}/results/cam", clients)
    store.write_bytes("tables/media.parquet", bytes(100_000))
    store.write_bytes("stage3/report.json", bytes(1_000))
    return store


@pytest.fixture
def aws(s3: S3Rig) -> Aws:
    return Aws(endpoint_url=s3.url)


def ledger_of(camera: S3Store, s3: S3Rig) -> pl.DataFrame:
    return read_ledger([S3Store(f"{camera.url}/{LEDGER_FOLDER}", s3.clients())])


def test_transfer_costs_by_the_gb_and_requests_by_the_thousand() -> None:
    requests, transfer = traffic(1999, 5000, 10 * 2**30).rows(BOOK).iter_rows(named=True)
    # Writing the rows is the two thousandth request.
    assert (requests["kind"], requests["usd"]) == ("requests", Decimal("0.012"))
    assert (transfer["kind"], transfer["usd"]) == ("transfer", Decimal("0.9"))
    assert transfer["remark"] == FREE_TRANSFER_REMARK
    assert {requests["launch"], transfer["launch"], requests["market"]} == {None}


def test_without_prices_rows_have_no_cost_and_a_remark() -> None:
    rows = traffic(1, 1, 1).rows(PriceBook("moon-1", ()))
    assert rows["usd"].to_list() == [0, 0] and rows["estimated"].all()
    assert all("moon-1 is known" in remark for remark in rows["remark"])


def test_a_download_of_results_adds_rows_to_the_cameras_ledger(
    camera: S3Store, s3: S3Rig, aws: Aws, tmp_path: Path
) -> None:
    download_cameras([RemoteResults("cam", camera.url, tmp_path / "cam")], aws)
    rows = ledger_of(camera, s3)
    [transfer] = rows.filter(kind="transfer").iter_rows(named=True)
    assert (transfer["camera_id"], transfer["bytes_read"]) == ("cam", 101_000)
    assert sum_traffic(rows).bytes_home == 101_000
    # A HEAD and a GET for each of two files.
    assert rows.filter(kind="requests")["requests_get"].to_list() == [4]
    assert with_row_times(rows, 0)["row_time"].to_list() == rows["ended_at"].to_list()


def test_downloaded_files_are_not_transferred_again(
    camera: S3Store, s3: S3Rig, aws: Aws, tmp_path: Path
) -> None:
    download_cameras([RemoteResults("cam", camera.url, tmp_path / "cam")], aws)
    before = ledger_of(camera, s3).filter(kind="transfer")["bytes_read"].sum()
    download_cameras([RemoteResults("cam", camera.url, tmp_path / "cam")], aws)
    # Only the rows of the first download, which the second one includes.
    again = ledger_of(camera, s3).filter(kind="transfer")["bytes_read"].sum() - before
    assert 0 < again < 50_000


def test_a_failed_download_has_a_row(camera: S3Store, s3: S3Rig, aws: Aws, tmp_path: Path) -> None:
    s3.fail("GetObject", refuse(403, "AccessDenied"), key="results/cam/stage3/report.json")
    with pytest.raises(StoreError, match="permission denied"):
        download_cameras([RemoteResults("cam", camera.url, tmp_path / "cam")], aws)
    assert ledger_of(camera, s3).filter(kind="requests").height == 1


def test_without_write_permission_results_are_downloaded_with_a_warning(
    camera: S3Store,
    s3: S3Rig,
    aws: Aws,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    s3.fail("PutObject", refuse(403, "AccessDenied"), times=9)
    download_cameras([RemoteResults("cam", camera.url, tmp_path / "cam")], aws)
    assert (tmp_path / "cam/tables/media.parquet").stat().st_size == 100_000
    assert "the cost of this download is missing in the ledger: " in capsys.readouterr().err
    s3.reset()
    assert ledger_of(camera, s3).is_empty()


def test_downloads_count_in_the_total_cost_of_observations(
    camera: S3Store, s3: S3Rig, aws: Aws, tmp_path: Path
) -> None:
    download_cameras([RemoteResults("cam", camera.url, tmp_path / "cam")], aws)
    rows = ledger_of(camera, s3)
    metadata = stage_cost_metadata(rows, "none")
    assert metadata("observations")["cost/usd_total_ever"] == float(round(rows["usd"].sum(), 8))
    assert metadata("detections")["cost/usd_total_ever"] == 0
