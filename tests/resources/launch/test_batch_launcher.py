"""Launches on AWS Batch, in the sandbox: whatever happens, the work is done, once, and is told."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from cloud_rig import (
    BUCKET,
    CAMERA,
    DEMO,
    STAGES_1_TO_3,
    Cloud,
    Ran,
    copy,
    eventually,
    run_here,
    running_cloud,
    tables_of,
)
from command_line import journalled, results
from media_files import write_picture

from gpu_kernels.device.gpu import find_gpu
from odins_ravne_assets.cameras.catalog import Camera
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
# What SpeciesNet says of a picture of the demo's footage.
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
    """The account at rest: nothing runs, nothing is in the way."""
    yield account
    account.calm()


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cat, an astronaut, lawns, a clip, and stills in which nothing is."""
    folder = tmp_path_factory.mktemp("footage") / "card"
    subprocess.run([sys.executable, str(DEMO), str(folder)], check=True, timeout=60)
    for number in range(3):
        write_picture(folder / "DCIM" / "101EMPTY" / f"{number}.JPG", (320, 240), shift=number)
    return folder


@pytest.fixture(scope="module")
def local(card: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the same footage on this machine."""
    folder = tmp_path_factory.mktemp("local")
    camera = Camera(CAMERA, card.as_uri(), (folder / "results").as_uri())
    launcher = LocalStepLauncher("odins_ravne_assets.worker")
    ran = run_here(camera, folder / "catalog", launcher, RunSettings(), ALL_STAGES)
    assert ran.success, ran.error
    return folder / "results"


def new_card(folder: Path) -> Path:
    """Footage of one still, unlike that of other tests."""
    write_picture(folder / folder.name / "0.jpg", (320, 240))
    return folder / folder.name


def assert_same_results(cloud: Cloud, camera: Camera, local: Path) -> None:
    """As on this machine, and nothing was done twice."""
    output = cloud.results(camera)
    there, here = tables_of(output), tables_of(local)
    assert there.keys() == here.keys()
    for name in here:
        assert there[name].equals(here[name]), name
    stage3_there, stage3_here = (
        {name: data for name, data in results(folder).items() if name.startswith("stage3/")}
        for folder in (output, local)
    )
    # Exports are an asset of their own, which not every run asks for.
    assert "stage3/observations.parquet" in stage3_there
    assert stage3_there == {name: stage3_here.get(name) for name in stage3_there}
    hashes = journalled(output)
    assert len(hashes) == len(set(hashes))
    assert not cloud.live_jobs()


def assert_same_media(cloud: Cloud, camera: Camera, local: Path) -> None:
    """Stage 0's table is as on this machine."""
    there, here = tables_of(cloud.results(camera)), tables_of(local)
    assert there["media.parquet"].equals(here["media.parquet"])
    assert not cloud.live_jobs()


@pytest.fixture(scope="module")
def done(account: Cloud, card: Path) -> tuple[Camera, Ran]:
    """A camera whose footage lies on S3, and its run of all stages."""
    camera = account.camera(card)
    ran = account.run(camera, ALL_STAGES)
    assert ran.success, ran.error
    return camera, ran


def test_a_camera_on_s3_ends_with_the_tables_of_the_same_footage_run_on_this_machine(
    cloud: Cloud, done: tuple[Camera, Ran], local: Path
) -> None:
    camera, ran = done
    assert_same_results(cloud, camera, local)
    assert ran.metadata["compute/attempts"] == 1
    (attempt,) = ran.attempts_told
    assert attempt["queue"] == "spot" and attempt["machine"].startswith("g4dn.xlarge ")
    assert ran.said("cost so far $0.0"), "while it ran, and at its end"
    assert float(ran.tags["munin/cost_so_far_usd"]) > 0
    assert float(ran.tags["munin/cost_left_usd"]) == 0
    footage, stages = ledger_of(cloud, camera, "attempt").iter_rows(named=True)
    assert footage["usd"] > 0 and footage["footage_seconds"] > 0
    assert stages["usd"] > 0 and stages["frames"] > stages["media"] > 0
    assert stages["crops"] > 0 and stages["visits"] > 0 and stages["bytes_written"] > 0
    requests = ledger_of(cloud, camera, "requests")
    assert requests["usd"].min() > 0
    own = requests.filter(reason="launching")  # this machine's; the others are the jobs'
    assert set(own["launch"]) == set(requests["launch"]) == {footage["launch"], stages["launch"]}
    assert (own.height, requests.height) == (2, 4)
    assert 0 < ran.metadata["cost/usd_total"] < ran.metadata["cost/usd_on_demand"]
    assert ran.metadata["cost/usd_total"] <= ran.metadata["cost/usd_total_ever"]


def ledger_of(cloud: Cloud, camera: Camera, kind: str) -> pl.DataFrame:
    """The rows of a kind in a camera's ledger, in order of time."""
    rows = read_ledger([cloud.store(f"{camera.output_url}/ledger")])
    return rows.filter(pl.col("kind") == kind)


@pytest.mark.parametrize("notice", [True, False])
def test_work_whose_spot_machine_is_taken_goes_on_on_spot_and_nothing_is_done_twice(
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
    assert [told["queue"] for told in ran.attempts_told] == ["spot", "spot"]
    assert ran.attempts_told[1]["why it was submitted"].startswith(SPOT_LOST)
    assert ran.metadata["compute/interruptions"] == 1
    assert ran.said(SPOT_LOST)
    taken, went_on = ledger_of(cloud, camera, "attempt").iter_rows(named=True)
    assert (taken["usd"], taken["remark"]) == (0, FREE_REMARK)
    assert taken["machine_taken_at"] is not None
    assert went_on["usd"] > 0 and went_on["end"] == "done" and went_on["estimated"]
    cloud.end_machines()  # and EC2 takes the second machine too, after the run
    prices = price_source(cloud.clients, cloud.aws, cloud.folder)
    keeper = LedgerWriter(cloud.clients, cloud.aws, prices)
    books = open_camera_ledger(camera.camera_id, camera.output_url, cloud.clients)
    [late] = keeper.reconcile([books])
    assert late.changed
    assert late.rows.filter(pl.col("kind") == "attempt")["usd"].to_list() == [0, 0]
    assert not keeper.reconcile([books]), "nothing is left to be learned"


def test_without_spot_capacity_a_job_goes_on_demand_after_the_timeout_and_not_before(
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
    assert ran.said("moving to on-demand: the environment could grow and does not")
    assert not ran.said("[pipes] did not receive")


def test_where_on_demand_is_not_allowed_a_job_waits_for_spot(cloud: Cloud, tmp_path: Path) -> None:
    camera = cloud.camera(new_card(tmp_path))
    cloud.sandbox.set_capacity("spot", 0)
    cloud.end_machines()
    process = cloud.start(
        camera,
        pipeline__cost_optimization__fallback_timeout=30,
        cloud__aws__compute__fallback_to_ondemand=False,
    )
    job = cloud.wait_for_job("RUNNABLE")
    eventually(lambda: process.said("the environment could grow and does not"))
    waits_from = cloud.sandbox.clock.now()
    cloud.sandbox.clock.sleep(60)
    assert cloud.sandbox.clock.now() - waits_from >= 60
    assert [each["jobId"] for each in cloud.live_jobs()] == [job["jobId"]]
    cloud.sandbox.set_capacity("spot", None)
    assert process.end() == 0
    attempts = [each for record in cloud.records(camera) for each in record.attempts]
    assert [(each.queue, each.end) for each in attempts] == [("spot", "done")] * 2


def test_after_kill_9_of_the_orchestrator_the_next_run_takes_its_job_up(
    cloud: Cloud, card: Path, local: Path
) -> None:
    camera = cloud.camera(card)
    process = cloud.start(camera)
    cloud.wait_for_job("RUNNING")
    process.kill()
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert ran.said("taking up a launch that was left unfinished")
    assert_same_media(cloud, camera, local)
    assert len(cloud.submitted(camera)) == 1


def test_a_job_that_a_killed_run_has_left_counts_for_max_parallel_jobs(
    cloud: Cloud, card: Path
) -> None:
    limit = {"pipeline__cost_optimization__max_parallel_jobs": 1}
    killed = cloud.start(cloud.camera(card), **limit)
    left = cloud.wait_for_job("RUNNING")
    os.kill(left["pid"], signal.SIGSTOP)  # it goes on for as long as we like
    killed.kill()
    other = cloud.start(replace(cloud.camera(card), camera_id="other"), **limit)
    eventually(lambda: other.said("1 jobs run already"))
    cloud.sandbox.clock.sleep(60)
    assert [job["jobId"] for job in cloud.live_jobs()] == [left["jobId"]]
    os.kill(left["pid"], signal.SIGCONT)
    eventually(lambda: [each["tags"]["Camera"] for each in cloud.live_jobs()] == ["other"])
    other.kill()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_orchestrator_that_dies_around_submit_job_leaves_no_job_twice(
    cloud: Cloud, card: Path, local: Path, moment: str
) -> None:
    camera = cloud.camera(card)
    assert cloud.start(camera, moment, "SubmitJob", "1").end() == -signal.SIGKILL
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert_same_media(cloud, camera, local)
    assert len(cloud.submitted(camera)) == 1


def test_a_run_that_begins_anew_lets_the_later_stages_of_a_killed_one_end_and_uses_them(
    cloud: Cloud, card: Path, local: Path
) -> None:
    camera = cloud.camera(card)
    assert cloud.start(camera, "after", "SubmitJob", "2").end() == -signal.SIGKILL
    [left] = cloud.live_jobs()
    ran = cloud.run(camera, ALL_STAGES)
    assert ran.success, ran.error
    assert ran.said(
        f"waiting for the end of what an earlier run has left running: {left['jobName']}"
    )
    assert_same_results(cloud, camera, local)
    assert len(cloud.submitted(camera)) == 3  # Stage 0 twice, the others once


def test_a_launch_that_dies_before_its_job_is_not_taken_for_an_earlier_one_of_the_same_work(
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


def test_an_orchestrator_that_dies_with_the_results_in_hand_gets_them_again(
    cloud: Cloud, tmp_path: Path
) -> None:
    camera = cloud.camera(new_card(tmp_path))
    assert cloud.start(camera, "before", "hand-over", "1").end() == -signal.SIGKILL
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert ran.metadata["media/files"] == 1
    assert len(cloud.submitted(camera)) == 1


def test_terminating_a_run_in_the_ui_terminates_its_jobs_within_a_sweep_and_the_next_one_goes_on(
    cloud: Cloud, card: Path, local: Path
) -> None:
    camera = cloud.camera(card)
    process = cloud.start(camera)
    job = cloud.wait_for_job("RUNNING")
    process.terminate()
    assert process.said("the run that launched it was stopped")
    [ended] = [each for each in cloud.sandbox.jobs() if each["jobId"] == job["jobId"]]
    assert ended["isTerminated"]
    eventually(lambda: not cloud.live_jobs())
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert_same_media(cloud, camera, local)


def test_a_submission_whose_answer_is_lost_is_found_again_and_not_repeated(
    cloud: Cloud, tmp_path: Path
) -> None:
    camera = cloud.camera(new_card(tmp_path))
    cloud.sandbox.inject("lost_answer", "batch", "SubmitJob")
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert ran.said("AWS is in trouble, trying again")
    assert len(cloud.submitted(camera)) == 1


def test_aws_in_trouble_is_borne_and_the_log_says_so(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # boto3 itself bears ten refusals in a row, over minutes; the eleventh is the launch's.
    monkeypatch.setitem(clients.CLIENT_OPTIONS, "retries", clients.NO_RETRY_OPTIONS["retries"])
    camera = cloud.camera(new_card(tmp_path))
    cloud.sandbox.inject("throttle", "batch", "SubmitJob")
    for operation in ("DescribeJobs", "ListJobs"):
        cloud.sandbox.inject("server_error", "batch", operation, times=2)
        cloud.sandbox.inject("throttle", "batch", operation, times=2)
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    for told in ("(TooManyRequestsException)", "(ServerException)"):
        assert ran.said(f"AWS is in trouble, trying again: An error occurred {told}")
    assert len(cloud.submitted(camera)) == 1


def test_a_job_that_batch_does_not_know_yet_is_waited_for(cloud: Cloud, tmp_path: Path) -> None:
    camera = cloud.camera(new_card(tmp_path))
    cloud.sandbox.set_describe_lag(60)
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert len(cloud.submitted(camera)) == 1


def test_an_s3_that_asks_to_slow_down_is_obeyed(cloud: Cloud, tmp_path: Path) -> None:
    camera = cloud.camera(new_card(tmp_path))
    for operation in ("PutObject", "GetObject", "ListObjectsV2"):
        cloud.sandbox.inject("throttle", "s3", operation, times=2)
    ran = cloud.run(camera, ("footage",))
    assert ran.success, ran.error
    assert len(cloud.submitted(camera)) == 1


def test_an_expired_token_ends_the_launch_and_leaves_its_job_to_be_taken_up(
    cloud: Cloud, card: Path, local: Path
) -> None:
    camera = cloud.camera(card, local)

    def expire() -> None:
        cloud.sandbox.inject("expired_token", "batch", times=1000)

    with cloud.when("GET", "/footage/", expire):
        ran = cloud.run(camera)
    assert not ran.success
    assert "ExpiredTokenException" in ran.error
    assert ran.error.endswith("jobs that run go on by themselves, run again to take them up")
    assert "\n" not in ran.error
    cloud.sandbox.clear_faults()
    again = cloud.run(camera)
    assert again.success, again.error
    assert_same_results(cloud, camera, local)
    assert len(cloud.submitted(camera)) == 1


def test_units_run_side_by_side_and_the_whole_camera_last(
    cloud: Cloud, card: Path, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_units, "MAX_UNIT_SECONDS", 0.7)  # frames assumed at 8/s
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


def test_footage_of_this_machine_is_copied_up_once(cloud: Cloud, card: Path, local: Path) -> None:
    camera = cloud.new_output(card.as_uri())
    ran = cloud.run(camera, ALL_STAGES)
    assert ran.success, ran.error
    assert ran.said(f"copying the footage to s3://ravne-data-123456789012/footage/{CAMERA}")
    assert ran.said("copied 9 files")
    assert_same_results(cloud, camera, local)
    again = cloud.run(camera, models__classifier="no-such-model")
    assert again.said("copied 0 files (0.0 MB), 9 were there")


def test_a_camera_with_nothing_new_starts_no_machine_and_has_the_same_results(
    cloud: Cloud, done: tuple[Camera, Ran], local: Path
) -> None:
    camera, _ = done
    submitted = cloud.submitted(camera)
    again = cloud.run(camera, ALL_STAGES)
    assert again.success, again.error
    assert again.said("nothing new to look at: no job is submitted, this machine does the rest")
    assert_same_results(cloud, camera, local)
    longer = cloud.run(camera, ("observations",), pipeline__stage3__compression_window=30)
    assert longer.success, longer.error
    assert cloud.submitted(camera) == submitted


def test_a_file_of_predictions_and_a_reviewer_s_file_of_this_machine_reach_the_workers(
    cloud: Cloud, card: Path, local: Path, tmp_path: Path
) -> None:
    camera = cloud.camera(card, local)
    predictions = tmp_path / "predictions.json"
    predictions.write_text(json.dumps({"predictions": [A_FOX]}))
    ran = cloud.run(camera, models__classifier=str(predictions))
    assert ran.success, ran.error
    assert len(cloud.submitted(camera)) == 1, "a job on AWS labelled the boxes"
    assert species_of(cloud, camera) == {"red fox", "person"}
    file = tmp_path / "seen.csv"
    file.write_text(f"path,species\n{A_FOX['filepath']},roe deer\n")
    profile = load_profile("sandbox", cloud.overrides)
    import_corrections(camera, frozenset(), profile, file, "Anna Ek", date(2026, 6, 1), None)
    assert cloud.run(camera, ("observations",)).success
    assert species_of(cloud, camera) == {"roe deer", "person"}


def species_of(cloud: Cloud, camera: Camera) -> set[str]:
    with cloud.store(camera.output_url).reading(OBSERVATIONS_TABLE) as path:
        return set(pl.read_parquet(path)["species"])


def test_a_worker_that_says_why_it_cannot_go_on_fails_the_run_and_buys_nothing(
    cloud: Cloud, card: Path, local: Path
) -> None:
    camera = cloud.camera(card, local)
    ran = cloud.run(camera, models__classifier="no-such-model")
    assert not ran.success
    assert "no-such-model" in ran.error
    assert "\n" not in ran.error
    [attempt] = cloud.unit(camera).attempts
    assert (attempt.queue, attempt.end) == ("spot", "failed")
    assert attempt.said == ran.error


def test_a_job_that_goes_on_without_a_gpu_is_told_where_the_run_was_begun(
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
        assert ran.said(warning)  # the run's log has it too


def test_a_worker_that_is_killed_is_started_again(cloud: Cloud, card: Path, local: Path) -> None:
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
    assert ran.said("the worker ended: out of memory")


def test_a_worker_that_always_dies_fails_the_run_in_the_end_and_buys_nothing(
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
    assert "the worker ended 2 times without finishing anything" in ran.error
    attempts = cloud.unit(camera).attempts
    assert [(each.queue, each.end) for each in attempts] == [("spot", "out of memory")] * 2


def store_as(cloud: Cloud, url: str, storage_class: str) -> None:
    """Put an object once more, in another class."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    s3 = cloud.clients.of("s3")
    data = cloud.store(url.rpartition("/")[0]).read_bytes(url.rpartition("/")[2])
    s3.put_object(Bucket=bucket, Key=key, Body=data, StorageClass=storage_class)


def test_no_job_is_paid_for_where_all_footage_is_archived(cloud: Cloud, tmp_path: Path) -> None:
    camera = cloud.camera(new_card(tmp_path))
    store_as(cloud, f"{camera.footage_url}/0.jpg", "GLACIER")
    ran = cloud.run(camera, ("footage",))
    assert ran.error == (
        f"{camera.footage_url}: 1 of 1 media are archived and cannot be read now; `munin cost "
        f"restore {camera.footage_url}` tells what having them back costs, and asks for them"
    )
    assert cloud.submitted(camera) == []


def test_an_archived_medium_fails_with_that_reason_and_is_read_when_it_is_back(
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
    assert ran.said("1 of 2 media are archived and cannot be read now; those that were looked at")
    media = tables_of(cloud.results(camera))["media.parquet"]
    assert media["status"].to_list() == ["ok", "failed"]
    assert "is archived (GLACIER) and cannot be read now" in media["reason"][1]
    cloud.store(camera.footage_url).write_bytes("1.jpg", data)
    assert cloud.run(camera, ("footage",)).success
    media = tables_of(cloud.results(camera))["media.parquet"]
    assert media["status"].to_list() == ["ok", "ok"]


def test_without_queues_the_run_says_what_to_do(cloud: Cloud, card: Path) -> None:
    ran = cloud.run(cloud.new_output(f"{BUCKET}/footage/card"), cloud__aws__name="other")
    assert not ran.success
    assert ran.error == (
        "the queues other-spot-high, other-spot, other-ondemand are not set up; run munin cost "
        "setup --job-count N first"
    )


@pytest.fixture
def guarded(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Cloud, str, dict[str, str]]]:
    """The shipped foundation with its policies enforced, and a person who may run cameras.

    Gives the account, the bucket's URL and what the profile says of it.
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


def test_the_shipped_policies_are_enough_for_a_whole_run_and_for_no_other_place(
    guarded: tuple[Cloud, str, dict[str, str]], card: Path, local: Path
) -> None:
    cloud, bucket, named = guarded
    camera = Camera(CAMERA, f"{bucket}/footage/card", f"{bucket}/results/card")
    copy(LocalStore(card), cloud.store(camera.footage_url))
    ran = cloud.run(camera, ALL_STAGES, **named)
    assert ran.success, ran.error
    assert_same_results(cloud, camera, local)
    assert not ran.said("the cost ledger is not up to date")
    elsewhere = Camera(CAMERA, camera.footage_url, f"{bucket}/elsewhere/card")
    refused = cloud.run(elsewhere, ALL_STAGES, **named)
    assert not refused.success
    assert f"{bucket}/elsewhere/card" in refused.error
    assert "\n" not in refused.error
