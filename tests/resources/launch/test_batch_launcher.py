"""Launches on AWS Batch, in the sandbox: after any fault, all work is done exactly once."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from cloud_rig import (
    BUCKET,
    CAMERA,
    STAGES_1_TO_3,
    Cloud,
    RunResult,
    copy,
    eventually,
    run_here,
    running_cloud,
    tables_of,
)
from command_line import journal_hashes, make_demo_footage, results
from media_files import write_picture
from model_files import copy_model

from gpu_kernels.device.gpu import find_gpu
from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.hugin.review.camera_labels import Review
from odins_ravne_assets.results.corrections import import_corrections
from resources.aws import clients
from resources.batch import work_units
from resources.compute.environment import ComputeEnvironment
from resources.compute.stacks import deploy_foundation
from resources.launch.local_launcher import LocalStepLauncher
from resources.ledger.table import read_ledger
from resources.ledger.writer import LedgerWriter, open_camera_ledger
from resources.pricing.prices import FREE_REMARK
from resources.pricing.sources import price_source
from resources.sandbox.model.config import ACCOUNT
from resources.sandbox.wire.protocol import AwsRequest
from resources.settings.dagster_resource import RunSettings
from resources.settings.loader import load_profile
from resources.spot import retry
from resources.storage.layout import OBSERVATIONS_TABLE
from resources.storage.local_store import LocalStore

ALL_STAGES = ("footage", *STAGES_1_TO_3, "exports")
FOX = "id;mammalia;carnivora;canidae;vulpes;vulpes;red fox"
# SpeciesNet's prediction for an image of the demo footage.
A_FOX = {
    "filepath": "DCIM/100MEDIA/IMAG0001.JPG",
    "detections": [],
    "prediction": FOX,
    "prediction_score": 0.92,
    "model_version": "4.0.1a",
}
SPOT_LOST = "spot machine lost for the first time"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture
def cloud(account: Cloud) -> Iterator[Cloud]:
    """The account, reset after the test."""
    yield account
    account.reset()


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cat, an astronaut, lawns, a video, and blank images."""
    folder = make_demo_footage(tmp_path_factory.mktemp("footage") / "card")
    for number in range(3):
        write_picture(folder / "DCIM" / "101EMPTY" / f"{number}.JPG", (320, 240), shift=number)
    return folder


@pytest.fixture(scope="module")
def local(card: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the same footage, run on this machine."""
    folder = tmp_path_factory.mktemp("local")
    camera = Camera(CAMERA, card.as_uri(), (folder / "results").as_uri())
    launcher = LocalStepLauncher("odins_ravne_assets.worker")
    ran = run_here(camera, folder / "catalog", launcher, RunSettings(), ALL_STAGES)
    assert ran.success, ran.error
    return folder / "results"


def new_card(folder: Path) -> Path:
    """Create footage of one image, different from that of other tests."""
    write_picture(folder / folder.name / "0.jpg", (320, 240))
    return folder / folder.name


def assert_same_results(cloud: Cloud, camera: Camera, local: Path) -> None:
    """Check that results equal local ones, and that no work was done twice."""
    output = cloud.results(camera)
    actual, expected = tables_of(output), tables_of(local)
    assert actual.keys() == expected.keys()
    for name in expected:
        assert actual[name].equals(expected[name]), name
    stage3_actual, stage3_expected = (
        {name: data for name, data in results(folder).items() if name.startswith("stage3/")}
        for folder in (output, local)
    )
    # Exports are a separate asset, which not every run requests.
    assert "stage3/observations.parquet" in stage3_actual
    assert stage3_actual == {name: stage3_expected.get(name) for name in stage3_actual}
    hashes = journal_hashes(output)
    assert len(hashes) == len(set(hashes))
    assert not cloud.live_jobs()


def assert_same_media(cloud: Cloud, camera: Camera, local: Path) -> None:
    """Check that the table of Stage 0 equals the local one."""
    actual, expected = tables_of(cloud.results(camera)), tables_of(local)
    assert actual["media.parquet"].equals(expected["media.parquet"])
    assert not cloud.live_jobs()


@pytest.fixture(scope="module")
def done(account: Cloud, card: Path) -> tuple[Camera, RunResult]:
    """A camera with footage on S3, and its run of all stages."""
    camera = account.camera(card)
    ran = account.run(camera, ALL_STAGES)
    assert ran.success, ran.error
    return camera, ran


def test_a_camera_on_s3_has_the_same_tables_as_a_local_run(
    cloud: Cloud, done: tuple[Camera, RunResult], local: Path
) -> None:
    camera, ran = done
    assert_same_results(cloud, camera, local)
    assert ran.metadata["compute/attempts"] == 1
    (attempt,) = ran.attempts
    assert attempt["queue"] == "spot" and attempt["machine"].startswith("g4dn.xlarge ")
    assert ran.logged("cost so far $0.0")
    assert float(ran.tags["munin/cost_so_far_usd"]) > 0
    assert float(ran.tags["munin/cost_left_usd"]) == 0
    footage, stages = ledger_of(cloud, camera, "attempt").iter_rows(named=True)
    assert footage["usd"] > 0 and footage["footage_seconds"] > 0
    assert stages["usd"] > 0 and stages["frames"] > stages["media"] > 0
    assert stages["crops"] > 0 and stages["visits"] > 0 and stages["bytes_written"] > 0
    requests = ledger_of(cloud, camera, "requests")
    assert requests["usd"].min() > 0
    own = requests.filter(reason="launching")  # of this machine; the others are of the jobs
    assert set(own["launch"]) == set(requests["launch"]) == {footage["launch"], stages["launch"]}
    assert (own.height, requests.height) == (2, 4)
    assert 0 < ran.metadata["cost/usd_total"] < ran.metadata["cost/usd_on_demand"]
    assert ran.metadata["cost/usd_total"] <= ran.metadata["cost/usd_total_ever"]


def ledger_of(cloud: Cloud, camera: Camera, kind: str) -> pl.DataFrame:
    """Return the rows of a kind in a camera's ledger, in order of time."""
    rows = read_ledger([cloud.store(f"{camera.output_url}/ledger")])
    return rows.filter(pl.col("kind") == kind)


@pytest.mark.parametrize("notice", [True, False])
def test_interrupted_work_continues_on_spot_and_is_not_repeated(
    cloud: Cloud, card: Path, local: Path, notice: bool
) -> None:
    camera = cloud.camera(card, local)
    with cloud.when("GET", "/footage/", lambda: cloud.lose_machine(notice), after=3):
        ran = cloud.run(camera)
    assert ran.success, ran.error
    assert_same_results(cloud, camera, local)
    first, second = cloud.unit(camera).attempts
    assert (first.end, second.end) == ("interrupted", "done")
    assert (first.queue, second.queue) == ("spot", "spot")
    assert second.reason.startswith(SPOT_LOST)
    assert [each["queue"] for each in ran.attempts] == ["spot", "spot"]
    assert ran.attempts[1]["why it was submitted"].startswith(SPOT_LOST)
    assert ran.metadata["compute/interruptions"] == 1
    assert ran.logged(SPOT_LOST)
    interrupted, resumed = ledger_of(cloud, camera, "attempt").iter_rows(named=True)
    assert (interrupted["usd"], interrupted["remark"]) == (0, FREE_REMARK)
    assert interrupted["machine_taken_at"] is not None
    assert resumed["usd"] > 0 and resumed["end"] == "done" and resumed["estimated"]
    cloud.end_machines()  # EC2 reclaims the second machine, after the run
    prices = price_source(cloud.clients, cloud.aws, cloud.folder)
    writer = LedgerWriter(cloud.clients, cloud.aws, prices)
    ledger = open_camera_ledger(camera.camera_id, camera.output_url, cloud.clients)
    [late] = writer.reconcile([ledger])
    assert late.changed
    assert late.rows.filter(pl.col("kind") == "attempt")["usd"].to_list() == [0, 0]
    assert not writer.reconcile([ledger]), "all launches are settled"


def test_without_spot_capacity_a_job_moves_to_on_demand_after_the_timeout(
    cloud: Cloud, card: Path, local: Path
) -> None:
    camera = cloud.camera(card, local)
    cloud.sandbox.set_capacity("spot", 0)
    cloud.end_machines()
    ran = cloud.run(camera, pipeline__cost_optimization__fallback_timeout=90)
    assert ran.success, ran.error
    first, second = cloud.unit(camera).attempts
    assert (first.queue, first.end) == ("spot", "cancelled")
    assert (second.queue, second.end) == ("ondemand", "done")
    assert first.ended_at is not None
    assert first.ended_at - first.intended_at >= 90
    assert "starving for" in second.reason
    assert "(fallback_timeout)" in second.reason
    assert ran.logged("moving to on-demand: the environment could grow and does not")
    assert not ran.logged("[pipes] did not receive")


def test_without_fallback_a_job_waits_for_spot(cloud: Cloud, tmp_path: Path) -> None:
    camera = cloud.camera(new_card(tmp_path))
    cloud.sandbox.set_capacity("spot", 0)
    cloud.end_machines()
    process = cloud.start(
        camera,
        pipeline__cost_optimization__fallback_timeout=30,
        cloud__aws__compute__fallback_to_ondemand=False,
    )
    job = cloud.wait_for_job("RUNNABLE")
    eventually(lambda: process.logged("the environment could grow and does not"))
    started_waiting = cloud.sandbox.clock.now()
    cloud.sandbox.clock.sleep(60)
    assert cloud.sandbox.clock.now() - started_waiting >= 60
    assert [each["jobId"] for each in cloud.live_jobs()] == [job["jobId"]]
    cloud.sandbox.set_capacity("spot", None)
    assert process.end() == 0
    attempts = [each for record in cloud.records(camera) for each in record.attempts]
    assert [(each.queue, each.end) for each in attempts] == [("spot", "done")] * 2


def test_after_sigkill_of_the_orchestrator_the_next_run_resumes_its_job(
    cloud: Cloud, card: Path, local: Path
) -> None:
    camera = cloud.camera(card)
    process = cloud.start(camera)
    cloud.wait_for_job("RUNNING")
    process.kill()
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert ran.logged("resuming an unfinished launch")
    assert_same_media(cloud, camera, local)
    assert len(cloud.submitted(camera)) == 1


def test_a_job_left_running_by_a_killed_run_counts_for_max_parallel_jobs(
    cloud: Cloud, card: Path
) -> None:
    limit = {"pipeline__cost_optimization__max_parallel_jobs": 1}
    killed = cloud.start(cloud.camera(card), **limit)
    left = cloud.wait_for_job("RUNNING")
    os.kill(left["pid"], signal.SIGSTOP)  # it runs until the test continues it
    killed.kill()
    other = cloud.start(replace(cloud.camera(card), camera_id="other"), **limit)
    eventually(lambda: other.logged("1 jobs are running"))
    cloud.sandbox.clock.sleep(60)
    assert [job["jobId"] for job in cloud.live_jobs()] == [left["jobId"]]
    os.kill(left["pid"], signal.SIGCONT)
    eventually(lambda: [each["tags"]["Camera"] for each in cloud.live_jobs()] == ["other"])
    other.kill()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_orchestrator_killed_around_submit_job_submits_one_job(
    cloud: Cloud, card: Path, local: Path, moment: str
) -> None:
    camera = cloud.camera(card)
    assert cloud.start(camera, moment, "SubmitJob", "1").end() == -signal.SIGKILL
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert_same_media(cloud, camera, local)
    assert len(cloud.submitted(camera)) == 1


def test_a_new_run_waits_for_the_later_stages_of_a_killed_one_and_uses_their_results(
    cloud: Cloud, card: Path, local: Path
) -> None:
    camera = cloud.camera(card)
    assert cloud.start(camera, "after", "SubmitJob", "2").end() == -signal.SIGKILL
    [left] = cloud.live_jobs()
    ran = cloud.run(camera, ALL_STAGES)
    assert ran.success, ran.error
    assert ran.logged(f"waiting for jobs that an earlier run has left running: {left['jobName']}")
    assert_same_results(cloud, camera, local)
    assert len(cloud.submitted(camera)) == 3  # Stage 0 twice, the others once


def test_a_launch_killed_before_its_job_is_not_confused_with_an_earlier_one_of_the_same_work(
    cloud: Cloud, card: Path, tmp_path: Path
) -> None:
    camera = cloud.camera(new_card(tmp_path))
    assert cloud.run(camera, ("footage",)).success
    late = write_picture(tmp_path / "late.jpg", (320, 240), shift=9)
    cloud.store(camera.footage_url).write_bytes("late.jpg", late.read_bytes())
    assert cloud.start(camera, "before", "SubmitJob", "1").end() == -signal.SIGKILL
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert "late.jpg" in tables_of(cloud.results(camera))["media.parquet"]["path"]


def test_results_are_read_again_after_the_orchestrator_is_killed_with_them(
    cloud: Cloud, tmp_path: Path
) -> None:
    camera = cloud.camera(new_card(tmp_path))
    assert cloud.start(camera, "before", "hand-over", "1").end() == -signal.SIGKILL
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert ran.metadata["media/files"] == 1
    assert len(cloud.submitted(camera)) == 1


def test_terminating_a_run_in_the_ui_terminates_its_jobs_and_the_next_run_continues(
    cloud: Cloud, card: Path, local: Path
) -> None:
    camera = cloud.camera(card)
    process = cloud.start(camera)
    job = cloud.wait_for_job("RUNNING")
    process.terminate()
    assert process.logged("the run that launched it was stopped")
    [ended] = [each for each in cloud.sandbox.jobs() if each["jobId"] == job["jobId"]]
    assert ended["isTerminated"]
    eventually(lambda: not cloud.live_jobs())
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert_same_media(cloud, camera, local)


def test_a_submission_whose_response_is_lost_is_found_and_not_repeated(
    cloud: Cloud, tmp_path: Path
) -> None:
    camera = cloud.camera(new_card(tmp_path))
    cloud.sandbox.inject("lost_answer", "batch", "SubmitJob")
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert ran.logged("AWS request failed, retrying")
    assert len(cloud.submitted(camera)) == 1


def test_temporary_errors_of_aws_are_tolerated_and_logged(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # boto3 itself retries nine times, over minutes; without its retries the launch sees each error.
    monkeypatch.setitem(clients.CLIENT_OPTIONS, "retries", clients.NO_RETRY_OPTIONS["retries"])
    camera = cloud.camera(new_card(tmp_path))
    cloud.sandbox.inject("throttle", "batch", "SubmitJob")
    for operation in ("DescribeJobs", "ListJobs"):
        cloud.sandbox.inject("server_error", "batch", operation, times=2)
        cloud.sandbox.inject("throttle", "batch", operation, times=2)
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    for code in ("(TooManyRequestsException)", "(ServerException)"):
        assert ran.logged(f"AWS request failed, retrying: An error occurred {code}")
    assert len(cloud.submitted(camera)) == 1


def test_a_launch_waits_for_a_job_that_batch_does_not_return_yet(
    cloud: Cloud, tmp_path: Path
) -> None:
    camera = cloud.camera(new_card(tmp_path))
    cloud.sandbox.set_describe_lag(60)
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert len(cloud.submitted(camera)) == 1


def test_throttling_by_s3_is_tolerated(cloud: Cloud, tmp_path: Path) -> None:
    camera = cloud.camera(new_card(tmp_path))
    for operation in ("PutObject", "GetObject", "ListObjectsV2"):
        cloud.sandbox.inject("throttle", "s3", operation, times=2)
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert len(cloud.submitted(camera)) == 1


def test_an_expired_token_ends_the_launch_and_the_next_run_resumes_its_job(
    cloud: Cloud, card: Path, local: Path
) -> None:
    camera = cloud.camera(card, local)

    def expire() -> None:
        cloud.sandbox.inject("expired_token", "batch", times=1000)

    with cloud.when("GET", "/footage/", expire):
        ran = cloud.run(camera)
    assert not ran.success
    assert "ExpiredTokenException" in ran.error
    assert ran.error.endswith("running jobs continue, run again to resume them")
    assert "\n" not in ran.error
    cloud.sandbox.clear_faults()
    again = cloud.run(camera)
    assert again.success, again.error
    assert_same_results(cloud, camera, local)
    assert len(cloud.submitted(camera)) == 1


def test_units_run_in_parallel_and_the_whole_camera_last(
    cloud: Cloud, card: Path, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_units, "MAX_UNIT_SECONDS", 1.1)  # frames assumed at 5/s
    camera = cloud.camera(card, local)
    ran = cloud.run(camera, pipeline__cost_optimization__max_parallel_jobs=2)
    assert ran.success, ran.error
    assert_same_results(cloud, camera, local)
    *parts, whole = cloud.records(camera)[-1].units
    assert len(parts) == 3
    assert (parts[0].start, whole.start) == (0, None)
    spans = [(each.started_at, each.ended_at) for unit in parts for each in unit.attempts]
    assert max(sum(a <= start < b for a, b in spans) for start, _ in spans) == 2
    assert whole.attempts[0].intended_at >= max(end for _, end in spans)
    assert ran.metadata["compute/attempts"] == 4


def test_local_footage_is_uploaded_once(cloud: Cloud, card: Path, local: Path) -> None:
    camera = cloud.new_output(card.as_uri())
    ran = cloud.run(camera, ALL_STAGES)
    assert ran.success, ran.error
    assert ran.logged(f"copying the footage to s3://ravne-data-123456789012/footage/{CAMERA}")
    assert ran.logged("copied 9 files")
    assert_same_results(cloud, camera, local)
    again = cloud.run(cloud.new_output(card.as_uri()))  # fails after it: Stage 0 has not run
    assert again.logged("copied 0 files (0.0 MB), 9 were there already")


def test_a_camera_without_new_media_starts_no_machine_and_has_the_same_results(
    cloud: Cloud, done: tuple[Camera, RunResult], local: Path
) -> None:
    camera, _ = done
    submitted = cloud.submitted(camera)
    again = cloud.run(camera, ALL_STAGES)
    assert again.success, again.error
    assert again.logged(
        "no new media to analyse: no job is submitted, the step runs on this machine"
    )
    assert_same_results(cloud, camera, local)
    longer = cloud.run(camera, ("observations",), pipeline__stage3__compression_window=30)
    assert longer.success, longer.error
    assert cloud.submitted(camera) == submitted


def test_local_files_of_predictions_and_corrections_reach_the_workers(
    cloud: Cloud, card: Path, local: Path, tmp_path: Path
) -> None:
    camera = cloud.camera(card, local)
    predictions = tmp_path / "predictions.json"
    predictions.write_text(json.dumps({"predictions": [A_FOX]}))
    ran = cloud.run(camera, models__classifier=str(predictions))
    assert ran.success, ran.error
    assert len(cloud.submitted(camera)) == 1, "a job on AWS classified the boxes"
    # A box of a picture without predictions is an animal without a name.
    assert species_of(cloud, camera) == {"red fox", "person", "unknown animal"}
    file = tmp_path / "seen.csv"
    file.write_text(f"path,species\n{A_FOX['filepath']},roe deer\n")
    profile = load_profile("sandbox", cloud.overrides)
    review = Review("Anna Ek", date(2026, 6, 1), confirms=True, at=datetime(2026, 6, 1))
    import_corrections([camera], [], profile, file, review)
    assert cloud.run(camera, ("observations",)).success
    # The picture 12 seconds later has its sequence's name until it is corrected, too.
    assert species_of(cloud, camera) == {"roe deer", "red fox", "person", "unknown animal"}


def species_of(cloud: Cloud, camera: Camera) -> set[str]:
    with cloud.store(camera.output_url).reading(OBSERVATIONS_TABLE) as path:
        return set(pl.read_parquet(path)["species"])


def test_an_unknown_model_fails_the_run_before_a_machine_is_paid(
    cloud: Cloud, card: Path, local: Path
) -> None:
    camera = cloud.camera(card, local)
    ran = cloud.run(camera, models__classifier="no-such-model")
    assert not ran.success
    assert "no-such-model" in ran.error
    assert not cloud.records(camera)


def test_an_error_of_the_worker_fails_the_run_without_on_demand(
    cloud: Cloud, card: Path, local: Path, tmp_path: Path
) -> None:
    camera = cloud.camera(card, local)
    manifest = copy_model(tmp_path / "models")
    [network] = manifest.parent.glob("*.onnx")
    network.unlink()
    ran = cloud.run(camera, models__detector=str(manifest))
    assert not ran.success
    assert f"{network}: no such file" in ran.error
    assert "\n" not in ran.error
    [attempt] = cloud.unit(camera).attempts
    assert (attempt.queue, attempt.end) == ("spot", "failed")
    assert attempt.said == ran.error


def test_a_warning_that_a_job_has_no_gpu_reaches_the_orchestrator(
    cloud: Cloud, card: Path, local: Path
) -> None:
    if find_gpu() is not None:
        pytest.skip("this machine has a GPU")
    camera = cloud.camera(card, local)
    cloud.warnings.clear()
    gpu = {"pipeline__stage1__engine": "tensorrt", "pipeline__stage1__engine_fallback": True}
    ran = cloud.run(camera, **gpu)
    assert ran.success, ran.error
    assert_same_results(cloud, camera, local)
    assert cloud.warnings
    for warning in cloud.warnings:
        assert warning.startswith("no GPU: ") and "falling back to onnxruntime" in warning
        assert ran.logged(warning)  # in the run's log too


def test_a_killed_worker_is_restarted(cloud: Cloud, card: Path, local: Path) -> None:
    camera = cloud.camera(card, local)

    def kill() -> None:
        [job] = cloud.live_jobs()
        os.kill(job["pid"], signal.SIGKILL)

    with cloud.when("GET", "/footage/", kill, after=3):
        ran = cloud.run(camera)
    assert ran.success, ran.error
    assert_same_results(cloud, camera, local)
    first, second = cloud.unit(camera).attempts
    assert (first.end, first.queue, second.queue) == ("out of memory", "spot", "spot")
    assert ran.logged("the worker ended: out of memory")


def test_a_worker_that_always_crashes_fails_the_run_without_on_demand(
    cloud: Cloud, card: Path, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "MAX_CRASHES_WITHOUT_PROGRESS", 2)
    camera = cloud.camera(card, local)

    def kill(request: AwsRequest) -> None:
        if request.method == "GET" and "/footage/" in request.path:
            for job in cloud.live_jobs():
                if job["pid"] is not None:
                    os.kill(job["pid"], signal.SIGKILL)

    monkeypatch.setattr(cloud.sandbox, "on_request", kill)
    ran = cloud.run(camera)
    assert not ran.success
    assert "the worker crashed 2 times without progress" in ran.error
    attempts = cloud.unit(camera).attempts
    assert [(each.queue, each.end) for each in attempts] == [("spot", "out of memory")] * 2


def store_as(cloud: Cloud, url: str, storage_class: str) -> None:
    """Write an object again, in another storage class."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    s3 = cloud.clients.of("s3")
    data = cloud.store(url.rpartition("/")[0]).read_bytes(url.rpartition("/")[2])
    s3.put_object(Bucket=bucket, Key=key, Body=data, StorageClass=storage_class)


def test_no_job_is_submitted_if_all_footage_is_archived(cloud: Cloud, tmp_path: Path) -> None:
    camera = cloud.camera(new_card(tmp_path))
    store_as(cloud, f"{camera.footage_url}/0.jpg", "GLACIER")
    ran = cloud.run(camera, ("footage",))
    assert ran.error == (
        f"{camera.footage_url}: 1 of 1 media are archived and cannot be read now; `munin cost "
        f"restore {camera.footage_url}` shows the cost of restoring them and requests it"
    )
    assert cloud.submitted(camera) == []


def test_an_archived_medium_fails_with_that_reason_and_is_read_once_it_is_restored(
    cloud: Cloud, tmp_path: Path
) -> None:
    card = new_card(tmp_path)
    write_picture(card / "1.jpg", (320, 240), shift=1)
    camera = cloud.camera(card)
    archived = f"{camera.footage_url}/1.jpg"
    data = cloud.store(camera.footage_url).read_bytes("1.jpg")
    store_as(cloud, archived, "GLACIER")
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert ran.logged("1 of 2 media are archived and cannot be read now; media that are already")
    media = tables_of(cloud.results(camera))["media.parquet"]
    assert media["status"].to_list() == ["ok", "failed"]
    assert "is archived (GLACIER) and cannot be read now" in media["reason"][1]
    cloud.store(camera.footage_url).write_bytes("1.jpg", data)
    assert cloud.run(camera, ("footage",)).success
    media = tables_of(cloud.results(camera))["media.parquet"]
    assert media["status"].to_list() == ["ok", "ok"]


def test_without_queues_the_error_names_the_command(cloud: Cloud, card: Path) -> None:
    ran = cloud.run(cloud.new_output(f"{BUCKET}/footage/card"), cloud__aws__name="other")
    assert not ran.success
    assert ran.error == (
        "the queues other-spot-high, other-spot, other-ondemand are not set up; run "
        "munin --profile cloud cost setup --job-count N first"
    )


@pytest.fixture
def guarded(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Cloud, str, dict[str, str]]]:
    """The shipped foundation with its policies enforced, and a user who may run cameras.

    Returns:
        The account, the bucket's URL and overrides of the profile.
    """
    named = {"cloud__aws__name": "shipped"}
    aws = cloud.aws_of({"cloud.aws.name": "shipped"})
    deploy_foundation(aws, lambda _: None)
    ComputeEnvironment(aws).setup(1)
    iam = cloud.clients.of("iam")
    iam.create_user(UserName="runner")
    runner = f"arn:aws:iam::{ACCOUNT}:policy/shipped-runner"
    iam.attach_user_policy(UserName="runner", PolicyArn=runner)
    key = iam.create_access_key(UserName="runner")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    cloud.sandbox.enforce_policies(True)
    yield cloud, f"s3://shipped-data-{ACCOUNT}", named
    cloud.sandbox.enforce_policies(False)


def test_the_shipped_policies_allow_a_whole_run_and_no_other_location(
    guarded: tuple[Cloud, str, dict[str, str]], card: Path, local: Path
) -> None:
    cloud, bucket, named = guarded
    camera = Camera(CAMERA, f"{bucket}/footage/card", f"{bucket}/results/card")
    copy(LocalStore(card), cloud.store(camera.footage_url))
    ran = cloud.run(camera, ALL_STAGES, **named)
    assert ran.success, ran.error
    assert_same_results(cloud, camera, local)
    assert not ran.logged("the cost ledger is not up to date")
    elsewhere = Camera(CAMERA, camera.footage_url, f"{bucket}/elsewhere/card")
    refused = cloud.run(elsewhere, ALL_STAGES, **named)
    assert not refused.success
    assert f"{bucket}/elsewhere/card" in refused.error
    assert "\n" not in refused.error
