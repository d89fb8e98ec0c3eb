"""Results come home from S3, as often as it takes, and are made anew there."""

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
from resources.storage.object_store import ObjectStore
from resources.storage.s3.store import S3Store
from resources.storage.transfer.download import TransferProgress
from tests.odins_ravne_assets.hugin.report.test_page import NIGHT, a_week

LARGE = "tables/media.parquet"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """A camera's output."""
    store = a_week(tmp_path_factory.mktemp("made")).done()
    stage3(store)
    return store


@pytest.fixture
def cloud(s3: S3Rig, made: LocalStore) -> S3Store:
    """Two cameras' outputs in a bucket, with more than is to come home."""
    clients = s3.clients()
    store = S3Store(f"s3://{s3.bucket(clients)}/output", clients)
    for found in made.list():
        store.write_bytes(f"week/{found.key}", made.read_bytes(found.key))
    s3.requests.clear()
    return store


def home(store: ObjectStore, root: Path) -> TransferProgress:
    (found,) = find_results(store)
    return download_results(store, found, root / found.camera_id, lambda brought: None)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# From the cloud


def test_stage_3_and_its_tables_come_home_and_the_journal_stays(
    cloud: S3Store, made: LocalStore, tmp_path: Path
) -> None:
    brought = home(cloud, tmp_path)
    wanted = {key: data for key, data in content(made.root).items() if key[:7] != "journal"}
    del wanted["stage3/report.html"]  # is written here
    assert content(tmp_path / "camera7") == wanted
    assert (brought.files, brought.present) == (len(wanted), 0)
    assert brought.bytes == brought.total_bytes == sum(map(len, wanted.values()))


def test_what_is_here_and_equal_is_not_asked_for_again(
    cloud: S3Store, s3: S3Rig, tmp_path: Path
) -> None:
    home(cloud, tmp_path)
    (tmp_path / "camera7/stage3/compressed_observations.json").write_text("edited")
    s3.requests.clear()
    brought = home(cloud, tmp_path)
    assert brought.files - brought.present == 1
    # The reports' first reading tells whose they are.
    fetched = [key for key in s3.asked("GetObject") if not key.endswith("report.json")]
    assert fetched == ["output/week/stage3/compressed_observations.json"]


def test_the_results_of_one_camera_are_found_by_their_own_address(
    cloud: S3Store, s3: S3Rig, tmp_path: Path
) -> None:
    home(S3Store(f"{cloud.url}/week", s3.clients()), tmp_path)
    assert (tmp_path / "camera7/stage3/observations.parquet").exists()


def test_a_file_that_breaks_off_goes_on_where_it_was(
    cloud: S3Store, s3: S3Rig, made: LocalStore, tmp_path: Path
) -> None:
    large = f"output/week/{LARGE}"
    s3.fail("GetObject", truncate, key=large)
    home(cloud, tmp_path)
    assert (tmp_path / "camera7" / LARGE).read_bytes() == made.read_bytes(LARGE)
    asked = [
        request.headers["range"]
        for request in s3.requests
        if request.key == large and "range" in request.headers
    ]
    assert asked[0] == "bytes=0-"
    assert int(asked[1].removeprefix("bytes=").rstrip("-")) > 0
    assert not list(tmp_path.rglob(".partial-*"))


def test_a_copy_that_failed_goes_on_when_it_is_run_again(
    cloud: S3Store, s3: S3Rig, made: LocalStore, tmp_path: Path
) -> None:
    large = f"output/week/{LARGE}"
    s3.fail("GetObject", truncate, key=large)
    s3.fail("GetObject", refuse(403, "AccessDenied"), key=large)
    with pytest.raises(StoreError, match="permission denied"):
        home(cloud, tmp_path)
    assert not (tmp_path / "camera7" / LARGE).exists()
    s3.reset()
    home(cloud, tmp_path)
    (again,) = [
        request for request in s3.requests if request.key == large and "range" in request.headers
    ]
    assert again.headers["range"] != "bytes=0-"
    assert (tmp_path / "camera7" / LARGE).read_bytes() == made.read_bytes(LARGE)


def test_what_arrives_spoiled_is_fetched_again_and_never_kept(
    cloud: S3Store, s3: S3Rig, made: LocalStore, tmp_path: Path
) -> None:
    s3.fail("GetObject", corrupt_response, key=f"output/week/{LARGE}")
    home(cloud, tmp_path)
    assert content(tmp_path / "camera7")[LARGE] == made.read_bytes(LARGE)
    s3.fail("GetObject", corrupt_response, times=99, key=f"output/week/{LARGE}")
    (tmp_path / "camera7" / LARGE).unlink()
    with pytest.raises(StoreError, match="does not match its SHA-256"):
        home(cloud, tmp_path)
    assert not (tmp_path / "camera7" / LARGE).exists()


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("InvalidObjectState", 403, "is archived .*`munin cost restore "),
        ("AccessDenied", 403, "the credentials need s3:GetObject here"),
    ],
)
def test_what_s3_keeps_back_is_told_in_words(
    cloud: S3Store, s3: S3Rig, tmp_path: Path, code: str, status: int, said: str
) -> None:
    s3.fail("GetObject", refuse(status, code), times=9, key=f"output/week/{LARGE}")
    with pytest.raises(StoreError, match=said) as told:
        home(cloud, tmp_path)
    assert f"output/week/{LARGE}: " in str(told.value)


def test_a_prefix_without_results_is_told_with_what_to_name(s3: S3Rig) -> None:
    clients = s3.clients()
    url = f"s3://{s3.bucket(clients)}/nothing"
    with pytest.raises(StoreError, match=f"{url}: holds no results of Stage 3.*; name what OUTPUT"):
        find_results(S3Store(url, clients))


def test_a_camera_s_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    report = tmp_path / "stage3/report.json"
    report.parent.mkdir()
    report.write_text(json.dumps({"cameras": [{"camera_id": "../../elsewhere"}]}))
    with pytest.raises(UsageError, match=r"camera id '../../elsewhere' is not allowed"):
        find_results(LocalStore(tmp_path))


def test_a_folder_named_after_the_only_camera_is_that_camera_s(tmp_path: Path) -> None:
    root = tmp_path / "camera1"
    assert camera_folders(root, ["camera1"]) == [root]
    assert camera_folders(root, ["camera7"]) == [root / "camera7"]
    assert camera_folders(root, ["camera1", "camera2"]) == [root / "camera1", root / "camera2"]


# Made anew


def run_script(folder: Path, *words: str, python: tuple[str, ...] = ()) -> Any:
    command = [sys.executable, *python, str(folder / RUNNER), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)


@pytest.fixture(scope="module")
def taken(made: LocalStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The camera's folder after its results were taken home."""
    root = tmp_path_factory.mktemp("taken")
    home(made, root)
    write_runner(root / "camera7")
    return root / "camera7"


def test_the_runner_makes_the_same_visits_and_the_same_report(
    taken: Path, made: LocalStore
) -> None:
    done = run_script(taken, "--no-browser")
    assert done.returncode == 0, done.stderr
    stage = content(taken / "rerun/stage3")
    exports = {name: stage.pop(name) for name in ("observations.csv", "megadetector.json")}
    assert stage == content(made.root / "stage3")
    assert exports["observations.csv"].count(b"\n") == 1 + 5
    assert "no Camtrap DP: " in done.stdout
    assert "5 visits" in done.stdout and f"report: {taken}/rerun/stage3/report.html" in done.stdout


def test_the_runner_s_other_windows_are_what_stage_3_makes_of_them(
    taken: Path, made: LocalStore, tmp_path: Path
) -> None:
    before = content(taken / "stage3")
    done = run_script(
        taken, "--compression-window", "1440", "--min-confidence", "0.7", "--no-browser"
    )
    assert done.returncode == 0, done.stderr
    there = LocalStore(tmp_path)
    settings = Stage3(compression_window=1440, min_confidence=0.7)
    run_stage3(made, settings, MODELS, Privacy(), results=there)
    made_there = pl.read_parquet(tmp_path / "stage3/observations.parquet")
    assert pl.read_parquet(taken / "rerun/stage3/observations.parquet").equals(made_there)
    assert made_there.height == 3
    assert content(taken / "stage3") == before


def test_the_runner_says_kindly_what_is_missing(taken: Path) -> None:
    done = run_script(taken, python=("-S",))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Odins Ravne is not installed in this Python (")
    assert "Run this file with the Python that has it" in line


def test_the_runner_refuses_a_threshold_that_is_none(taken: Path) -> None:
    done = run_script(taken, "--min-confidence", "7")
    assert done.returncode == 2
    assert done.stderr.startswith("error: command line: pipeline.stage3.min_confidence: 7.0 is not")


# The command


@pytest.fixture(scope="module")
def two_cameras(made: LocalStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("two")
    home(made, root)
    stage3(CameraOutput(root / "lake", "lake").still("1.jpg", NIGHT).done())
    yield root


def test_the_command_takes_all_cameras_home_and_sums_up(two_cameras: Path, tmp_path: Path) -> None:
    munin = Munin(tmp_path / "munin")
    words = ("--cloud-path", two_cameras.as_uri(), "--local-path", tmp_path / "here")
    ended = munin("cost", "download-stage3", *words, "--summary", "--create-runner")
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
    munin = Munin(tmp_path / "munin", environment=environment)
    words = ("--cloud-path", cloud.url, "--local-path", tmp_path / "here")
    ended = munin("cost", "download-stage3", *words)
    assert ended.code == 0, ended.err
    assert not (tmp_path / "here/camera7" / RUNNER).exists()
    assert (tmp_path / "here/camera7/stage3/report.html").exists()


def test_results_that_were_archived_are_told_with_the_command_that_brings_them_back(
    cloud: S3Store, s3: S3Rig, tmp_path: Path
) -> None:
    """Our own rules leave results where they are; those of others may not."""
    [bucket, *_] = cloud.url.removeprefix("s3://").split("/")
    key = f"output/week/{LARGE}"
    s3.clients().of("s3").copy_object(
        Bucket=bucket, Key=key, CopySource=f"{bucket}/{key}", StorageClass="GLACIER"
    )
    munin = Munin(tmp_path / "munin", environment={**CREDENTIALS, "AWS_ENDPOINT_URL_S3": s3.url})
    words = ("--cloud-path", cloud.url, "--local-path", tmp_path / "here")
    ended = munin("cost", "download-stage3", *words)
    assert ended.code == 1
    [error] = ended.errors
    assert f"{cloud.url}/week/{LARGE}: is archived (GLACIER)" in error
    assert f"`munin cost restore {cloud.url}/week/tables`" in error


def test_a_page_of_several_cameras_keeps_back_what_any_of_theirs_does() -> None:
    owl = Privacy(blur_people=False, sensitive_species=("Strix aluco",), sensitive_decimals=0)
    kept = strictest_privacy(
        [owl, Privacy(leave_out_people=True, sensitive_species=("Lynx lynx",))]
    )
    assert kept == Privacy(
        blur_people=True,
        leave_out_people=True,
        sensitive_species=("Lynx lynx", "Strix aluco"),
        sensitive_decimals=0,
    )


def test_species_are_summed_over_cameras_the_one_seen_most_first() -> None:
    one = [{"species": "fox", "observations": 1, "needs_review": 1}]
    two = [
        {"species": "owl", "observations": 3, "needs_review": 0},
        {"species": "fox", "observations": 1, "needs_review": 0},
    ]
    assert species_counts([{"species": one}, {"species": two}]) == [
        ("owl", (3, 0)),
        ("fox", (2, 1)),
    ]


def test_a_summary_of_media_without_times_tells_none(made: LocalStore) -> None:
    report = json.loads(made.read_bytes("stage3/report.json"))
    report["time_range"]["media"] = {"first_time": None, "last_time": None}
    assert not any(line.startswith("from") for line in summary_lines([report]))
