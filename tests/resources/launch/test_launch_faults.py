"""A launch meets errors of S3 and the loss of its run: no job is bought twice, no run fails."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from cloud_rig import BUCKET, Cloud, run_here, running_cloud
from launch_faults import LaunchFaults, S3Requests
from media_files import write_picture

from odins_ravne_assets.defs.launch_hooks import FOOTAGE_QUERIES
from resources.errors import LeaseLostError
from resources.launch.batch_launcher import BatchStepLauncher
from resources.launch.hooks import LaunchHooks
from resources.launch.local_launcher import LocalStepLauncher
from resources.sandbox.wire.protocol import AwsRequest
from resources.settings.dagster_resource import RunSettings
from resources.storage.s3.lease import Lease

# All requests, one in each launch: benchmarks/launch_faults.py.
LAUNCHES = 2


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage") / "card"
    write_picture(folder / "0.jpg", (320, 240))
    return folder


def test_one_failed_request_to_s3_changes_nothing(cloud: Cloud, card: Path) -> None:
    """One in each launch, spread over the launch; then many in one."""
    faults = LaunchFaults(cloud, card)
    total = faults.measure()
    assert total > 40
    for number in range(total // LAUNCHES // 2, total, total // LAUNCHES):
        assert faults.strike(number) == [], faults.undisturbed[number - 1]
        assert not faults.unreached
    assert faults.strike(*range(2, total, 5)) == []


def test_a_job_whose_last_messages_cannot_be_read_at_first_is_not_bought_again(
    cloud: Cloud, card: Path
) -> None:
    """The first poll after the job's end fails, and any request of the next after two reads."""
    camera = cloud.camera(card)
    requests = S3Requests(cloud)
    reads: list[str] = []

    def fail(request: AwsRequest) -> None:
        key = request.parameters.get("prefix", "") or request.path
        is_message = request.service == "s3" and "-a1/" in key and key.endswith(".json")
        if is_message and request.method == "GET" and not cloud.live_jobs():
            reads.append(key)
            if len(reads) in (1, 4):
                cloud.sandbox.inject("server_error", "s3")

    with requests.watching():
        cloud.sandbox.on_request = fail
        ran = cloud.run(camera, ("footage",))
    assert reads
    assert ran.success, ran.error
    assert ran.metadata["media/files"] == 1
    assert len(cloud.submitted(camera)) == 1


@dataclass
class Watched:
    """A launch in this process, which is interrupted once it has submitted its job."""

    cloud: Cloud
    instance: dg.DagsterInstance
    ends_run: bool
    lines: list[str]

    def on_log(self, line: str) -> None:
        self.lines.append(line)
        if not line.startswith("submitted "):
            return
        if self.ends_run:  # another server took it for lost
            [run] = self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            self.instance.report_run_failed(run)
        raise dg.DagsterExecutionInterruptedError


@pytest.mark.parametrize("ends_run", [True, False])
def test_a_run_that_another_server_ended_leaves_its_jobs_to_the_next_run(
    cloud: Cloud, card: Path, monkeypatch: pytest.MonkeyPatch, ends_run: bool
) -> None:
    camera = cloud.camera(card)
    with dg.DagsterInstance.ephemeral() as instance:
        watched = Watched(cloud, instance, ends_run, [])
        monkeypatch.setattr(dg.DagsterInstance, "ephemeral", lambda: nullcontext(instance))
        launcher = BatchStepLauncher(
            LocalStepLauncher("odins_ravne_assets.worker"),
            cloud.folder,
            LaunchHooks(footage=FOOTAGE_QUERIES, on_log=watched.on_log),
        )
        settings = RunSettings(profile="sandbox", overrides=cloud.overrides)
        ran = run_here(camera, cloud.folder / "catalog", launcher, settings, ("footage",))
    monkeypatch.undo()
    assert not ran.success
    stopped = [line for line in watched.lines if line.startswith("terminated ")]
    assert bool(stopped) is not ends_run
    if ends_run:
        again = cloud.run(camera, ("footage",))
        assert again.success, again.error
        assert again.logged("resuming job")
        assert len(cloud.submitted(camera)) == 1


def test_a_launch_whose_lease_was_taken_over_ends_and_terminates_no_job(
    cloud: Cloud, card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = cloud.camera(card)
    check = Lease.check

    def lose(lease: Lease) -> None:
        if cloud.live_jobs() and camera.output_url in lease._location.url:
            raise LeaseLostError(f"{BUCKET}: another run has taken over")
        check(lease)

    monkeypatch.setattr(Lease, "check", lose)
    ran = cloud.run(camera, ("footage",))
    monkeypatch.undo()
    assert not ran.success
    assert ran.error == f"{BUCKET}: another run has taken over"
    again = cloud.run(camera, ("footage",))
    assert again.success, again.error
    assert len(cloud.submitted(camera)) == 1


@pytest.fixture
def no_spot(cloud: Cloud) -> Iterator[Cloud]:
    """An account in which jobs wait in the spot queue."""
    cloud.sandbox.set_capacity("spot", 0)
    cloud.end_machines()
    yield cloud
    cloud.reset()


def is_record(request: AwsRequest, text: bytes) -> bool:
    """Return True for a write of a launch record with this text in it."""
    is_write = request.service == "s3" and request.method == "PUT"
    return is_write and request.path.endswith("/record.json") and text in request.body()


def test_a_job_is_moved_although_the_record_of_it_could_not_be_written_at_first(
    no_spot: Cloud, card: Path
) -> None:
    camera = no_spot.camera(card)
    failures = iter(["once"])

    def fail(request: AwsRequest) -> None:
        if is_record(request, b'"moving": "') and next(failures, None):
            no_spot.sandbox.inject("server_error", "s3")

    with S3Requests(no_spot).watching():
        no_spot.sandbox.on_request = fail
        ran = no_spot.run(camera, ("footage",), pipeline__cost_optimization__fallback_timeout=30)
    assert next(failures, None) is None
    assert ran.success, ran.error
    attempts = [(each.queue, each.end) for each in no_spot.unit(camera).attempts]
    assert attempts == [("spot", "cancelled"), ("ondemand", "done")]


def test_a_decision_to_fail_is_not_forgotten_if_the_record_cannot_be_written_at_first(
    no_spot: Cloud, card: Path
) -> None:
    """The job of a person who cancelled it is not submitted again."""
    camera = no_spot.camera(card)
    cancelled: list[str] = []
    failures = iter(["once"])

    def disturb(request: AwsRequest) -> None:
        live = no_spot.live_jobs()
        if request.operation == "DescribeJobs" and live and not cancelled:
            cancelled.append(live[0]["jobId"])
            batch = no_spot.clients.of("batch")
            batch.terminate_job(jobId=cancelled[0], reason="not needed")
        if is_record(request, b'"end": "cancelled"') and next(failures, None):
            no_spot.sandbox.inject("server_error", "s3")

    with S3Requests(no_spot).watching():
        no_spot.sandbox.on_request = disturb
        ran = no_spot.run(camera, ("footage",))
    assert next(failures, None) is None
    assert not ran.success
    assert ran.error.startswith("the job was cancelled, not by this run")
    assert len(no_spot.submitted(camera)) == 1
