"""Download results from S3, resume interrupted downloads, and re-run Stage 3 on them."""

# ruff: noqa: F401, F811 (fixtures)

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from command_line import Munin
from in_process import MuninInProcess
from report_rig import MODELS, CameraOutput, stage3
from s3_rig import CREDENTIALS, S3Rig, corrupt_response, refuse, s3, s3_server, truncate

from odins_ravne_assets.cli.download import RUNNER, species_counts, summary_lines, write_runner
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.results.download import (
    camera_folders,
    download_results,
    find_results,
    strictest_privacy,
)
from resources.errors import StoreError, UsageError
from resources.settings.profile import Privacy, Stage3
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore, StoredObject
from resources.storage.s3.store import S3Store
from resources.storage.transfer.download import DownloadItem, TransferProgress, download_all
from tests.odins_ravne_assets.hugin.report.test_page import NIGHT, a_week

LARGE = "tables/media.parquet"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """A camera's output."""
    store = a_week(tmp_path_factory.mktemp("output")).write()
    stage3(store)
    return store


@pytest.fixture
def cloud(s3: S3Rig, output: LocalStore) -> S3Store:
    """The output of a camera in a bucket, with its journal."""
    clients = s3.clients()
    store = S3Store(f"s3://{s3.bucket(clients)}/output", clients)
    for found in output.list():
        store.write_bytes(f"week/{found.key}", output.read_bytes(found.key))
    s3.requests.clear()
    return store


def download(store: ObjectStore, root: Path) -> TransferProgress:
    (found,) = find_results(store)
    return download_results(store, found, root / found.camera_id, lambda progress: None)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# From the cloud


def test_stage_3_and_its_tables_are_downloaded_without_the_journal(
    cloud: S3Store, output: LocalStore, tmp_path: Path
) -> None:
    progress = download(cloud, tmp_path)
    expected = {key: data for key, data in content(output.root).items() if key[:7] != "journal"}
    del expected["stage3/report.html"]  # is written locally
    assert content(tmp_path / "camera7") == expected
    assert (progress.files, progress.present) == (len(expected), 0)
    assert progress.bytes == progress.total_bytes == sum(map(len, expected.values()))


def test_existing_equal_files_are_not_downloaded_again(
    cloud: S3Store, s3: S3Rig, tmp_path: Path
) -> None:
    download(cloud, tmp_path)
    (tmp_path / "camera7/stage3/compressed_observations.json").write_text("edited")
    s3.requests.clear()
    progress = download(cloud, tmp_path)
    assert progress.files - progress.present == 1
    # `find_results` reads the report for the camera id.
    fetched = [key for key in s3.requested_keys("GetObject") if not key.endswith("report.json")]
    assert fetched == ["output/week/stage3/compressed_observations.json"]


def test_the_output_of_one_camera_can_be_downloaded(
    cloud: S3Store, s3: S3Rig, tmp_path: Path
) -> None:
    download(S3Store(f"{cloud.url}/week", s3.clients()), tmp_path)
    assert (tmp_path / "camera7/stage3/observations.parquet").exists()


def test_two_files_that_a_disk_of_macos_would_merge_are_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    items = [DownloadItem(StoredObject(key, 1, 0), key) for key in ("a/É.csv", "a/e\u0301.csv")]
    with pytest.raises(StoreError, match=r"a/É\.csv and a/.*\.csv differ only by case"):
        download_all(store, items, tmp_path / "to", lambda progress: None)
    assert not (tmp_path / "to").exists()


def test_an_interrupted_file_is_resumed(
    cloud: S3Store, s3: S3Rig, output: LocalStore, tmp_path: Path
) -> None:
    large = f"output/week/{LARGE}"
    s3.fail("GetObject", truncate, key=large)
    download(cloud, tmp_path)
    assert (tmp_path / "camera7" / LARGE).read_bytes() == output.read_bytes(LARGE)
    asked = [
        request.headers["range"]
        for request in s3.requests
        if request.key == large and "range" in request.headers
    ]
    assert asked[0] == "bytes=0-"
    assert int(asked[1].removeprefix("bytes=").rstrip("-")) > 0
    assert not list(tmp_path.rglob(".partial-*"))


def test_a_failed_download_is_resumed_by_the_next_one(
    cloud: S3Store, s3: S3Rig, output: LocalStore, tmp_path: Path
) -> None:
    large = f"output/week/{LARGE}"
    s3.fail("GetObject", truncate, key=large)
    s3.fail("GetObject", refuse(403, "AccessDenied"), key=large)
    with pytest.raises(StoreError, match="permission denied"):
        download(cloud, tmp_path)
    assert not (tmp_path / "camera7" / LARGE).exists()
    s3.reset()
    download(cloud, tmp_path)
    (again,) = [
        request for request in s3.requests if request.key == large and "range" in request.headers
    ]
    assert again.headers["range"] != "bytes=0-"
    assert (tmp_path / "camera7" / LARGE).read_bytes() == output.read_bytes(LARGE)


def test_a_corrupt_file_is_downloaded_again_and_never_stored(
    cloud: S3Store, s3: S3Rig, output: LocalStore, tmp_path: Path
) -> None:
    s3.fail("GetObject", corrupt_response, key=f"output/week/{LARGE}")
    download(cloud, tmp_path)
    assert content(tmp_path / "camera7")[LARGE] == output.read_bytes(LARGE)
    s3.fail("GetObject", corrupt_response, times=99, key=f"output/week/{LARGE}")
    (tmp_path / "camera7" / LARGE).unlink()
    with pytest.raises(StoreError, match="does not match its SHA-256"):
        download(cloud, tmp_path)
    assert not (tmp_path / "camera7" / LARGE).exists()


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("InvalidObjectState", 403, "is archived .*`munin cost restore "),
        ("AccessDenied", 403, "the credentials need s3:GetObject here"),
    ],
)
def test_errors_of_s3_name_the_file_and_the_remedy(
    cloud: S3Store, s3: S3Rig, tmp_path: Path, code: str, status: int, message: str
) -> None:
    s3.fail("GetObject", refuse(status, code), times=9, key=f"output/week/{LARGE}")
    with pytest.raises(StoreError, match=message) as caught:
        download(cloud, tmp_path)
    assert f"output/week/{LARGE}: " in str(caught.value)


def test_a_prefix_without_results_is_an_error(s3: S3Rig) -> None:
    clients = s3.clients()
    url = f"s3://{s3.bucket(clients)}/nothing"
    with pytest.raises(StoreError, match=f"{url}: no results of Stage 3 .*; pass the OUTPUT"):
        find_results(S3Store(url, clients))


def test_a_camera_id_cannot_escape_the_folder(tmp_path: Path) -> None:
    report = tmp_path / "stage3/report.json"
    report.parent.mkdir()
    report.write_text(json.dumps({"cameras": [{"camera_id": "../../elsewhere"}]}))
    with pytest.raises(UsageError, match=r"camera id '../../elsewhere' is not allowed"):
        find_results(LocalStore(tmp_path))


def test_a_folder_named_after_the_only_camera_is_its_folder(tmp_path: Path) -> None:
    root = tmp_path / "camera1"
    assert camera_folders(root, ["camera1"]) == [root]
    assert camera_folders(root, ["camera7"]) == [root / "camera7"]
    assert camera_folders(root, ["camera1", "camera2"]) == [root / "camera1", root / "camera2"]


# Re-runs


def run_script(folder: Path, *arguments: str, python: tuple[str, ...] = ()) -> Any:
    command = [sys.executable, *python, str(folder / RUNNER), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)


@pytest.fixture(scope="module")
def downloaded(output: LocalStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The camera's folder with downloaded results."""
    root = tmp_path_factory.mktemp("downloaded")
    download(output, root)
    write_runner(root / "camera7")
    return root / "camera7"


def test_the_re_run_script_writes_equal_results(downloaded: Path, output: LocalStore) -> None:
    done = run_script(downloaded, "--no-browser")
    assert done.returncode == 0, done.stderr
    stage = content(downloaded / "rerun/stage3")
    names = ("observations.csv", "observations.xlsx", "megadetector.json")
    exports = {name: stage.pop(name) for name in names}
    assert stage == content(output.root / "stage3")
    assert exports["observations.csv"].count(b"\n") == 1 + 5
    assert "no Camtrap DP: " in done.stdout
    assert (
        "5 visits" in done.stdout
        and f"report: {downloaded}/rerun/stage3/report.html" in done.stdout
    )


def test_the_re_run_script_passes_its_options_to_stage_3(
    downloaded: Path, output: LocalStore, tmp_path: Path
) -> None:
    before = content(downloaded / "stage3")
    done = run_script(
        downloaded, "--compression-window", "1440", "--min-confidence", "0.7", "--no-browser"
    )
    assert done.returncode == 0, done.stderr
    expected = LocalStore(tmp_path)
    settings = Stage3(compression_window=1440, min_confidence=0.7)
    run_stage3(output, settings, MODELS, Privacy(), results=expected)
    expected_observations = pl.read_parquet(tmp_path / "stage3/observations.parquet")
    assert pl.read_parquet(downloaded / "rerun/stage3/observations.parquet").equals(
        expected_observations
    )
    # The fox of 0.6 is an unknown animal with this threshold.
    assert expected_observations.height == 4
    assert content(downloaded / "stage3") == before


def test_the_re_run_script_without_the_package_is_an_error(downloaded: Path) -> None:
    done = run_script(downloaded, python=("-S",))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Odins Ravne is not installed in this Python (")
    assert "Run this file with the Python that has it" in line


def test_the_re_run_script_rejects_an_invalid_threshold(downloaded: Path) -> None:
    done = run_script(downloaded, "--min-confidence", "7")
    assert done.returncode == 2
    assert done.stderr.startswith("error: command line: pipeline.stage3.min_confidence: 7.0 is not")


# The command


@pytest.fixture(scope="module")
def two_cameras(output: LocalStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("two")
    download(output, root)
    stage3(CameraOutput(root / "lake", "lake").still("1.jpg", NIGHT).write())
    yield root


def test_the_command_downloads_all_cameras_and_prints_a_summary(
    two_cameras: Path, tmp_path: Path
) -> None:
    munin = MuninInProcess(tmp_path / "munin")
    arguments = ("--cloud-path", two_cameras.as_uri(), "--local-path", tmp_path / "here")
    ended = munin("cost", "download-stage3", *arguments, "--summary", "--create-runner")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == "5 visits (1 to review) at 2 cameras, of 8 pictures and 0 videos"
    assert lines[1] == "from 2026-05-01 02:14 to 2026-05-07 08:14, by the cameras' clocks"
    assert lines[2] == "1 media could not be used; the report has the reasons"
    assert f"other windows: python {tmp_path}/here/lake/{RUNNER}" in lines
    assert lines[-1] == f"report: {tmp_path}/here/report.html"
    assert "2 cameras" in (tmp_path / "here/report.html").read_text("utf-8")
    assert (tmp_path / "here/camera7" / RUNNER).exists()


def test_the_command_reads_s3_without_a_cloud_profile(
    cloud: S3Store, s3: S3Rig, tmp_path: Path
) -> None:
    environment = {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": s3.url}
    munin = MuninInProcess(tmp_path / "munin", environment=environment)
    arguments = ("--cloud-path", cloud.url, "--local-path", tmp_path / "here")
    ended = munin("cost", "download-stage3", *arguments)
    assert ended.code == 0, ended.err
    assert not (tmp_path / "here/camera7" / RUNNER).exists()
    assert (tmp_path / "here/camera7/stage3/report.html").exists()


def test_archived_results_are_an_error_with_the_restore_command(
    cloud: S3Store, s3: S3Rig, tmp_path: Path
) -> None:
    """The storage policy does not archive results, but rules of the user may."""
    [bucket, *_] = cloud.url.removeprefix("s3://").split("/")
    key = f"output/week/{LARGE}"
    s3.clients().of("s3").copy_object(
        Bucket=bucket, Key=key, CopySource=f"{bucket}/{key}", StorageClass="GLACIER"
    )
    munin = MuninInProcess(
        tmp_path / "munin", environment={**CREDENTIALS, "AWS_ENDPOINT_URL_S3": s3.url}
    )
    arguments = ("--cloud-path", cloud.url, "--local-path", tmp_path / "here")
    ended = munin("cost", "download-stage3", *arguments)
    assert ended.code == 1
    [error] = ended.errors
    assert f"{cloud.url}/week/{LARGE}: is archived (GLACIER)" in error
    assert f"`munin cost restore {cloud.url}/week/tables`" in error


def test_a_page_of_several_cameras_has_the_strictest_privacy() -> None:
    owl = Privacy(blur_people=False, sensitive_species=("Strix aluco",), sensitive_decimals=0)
    privacy = strictest_privacy(
        [owl, Privacy(leave_out_people=True, sensitive_species=("Lynx lynx",))]
    )
    assert privacy == Privacy(
        blur_people=True,
        leave_out_people=True,
        sensitive_species=("Lynx lynx", "Strix aluco"),
        sensitive_decimals=0,
    )


def test_species_are_summed_over_cameras_and_ordered_by_frequency() -> None:
    one = [{"species": "fox", "observations": 1, "needs_review": 1}]
    two = [
        {"species": "owl", "observations": 3, "needs_review": 0},
        {"species": "fox", "observations": 1, "needs_review": 0},
    ]
    assert species_counts([{"species": one}, {"species": two}]) == [
        ("owl", (3, 0)),
        ("fox", (2, 1)),
    ]


def test_a_summary_of_media_without_times_has_no_period(output: LocalStore) -> None:
    report = json.loads(output.read_bytes("stage3/report.json"))
    report["time_range"]["media"] = {"first_time": None, "last_time": None}
    assert not any(line.startswith("from") for line in summary_lines([report]))
