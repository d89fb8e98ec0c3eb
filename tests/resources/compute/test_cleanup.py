"""Idle compute is torn down, orphaned jobs are terminated, and no run is harmed."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest
from cloud_rig import Cloud, RunResult, eventually, running_cloud
from compute_rig import remaining_parts, submit
from hypothesis import given
from hypothesis import strategies as st
from media_files import write_picture

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.defs.idle_compute import tidy_compute, unused_compute
from odins_ravne_assets.instance_home import catalog_folder
from resources.batch.launch_record import Attempt, LaunchRecord, UnitRecord, load_records
from resources.batch.names import Queue
from resources.compute.cleanup import ORPHANED_REASON, ComputeCleanup
from resources.compute.dagster_resource import ComputeEnvironmentResource
from resources.compute.environment import ComputeEnvironment
from resources.compute.idle_rules import CleanupDecision, ComputeUsage, IdleState, decide_cleanup
from resources.compute.usage_lease import EXPIRY_SECONDS, lease_compute, lease_folder, list_leases
from resources.sandbox.model.config import data_bucket
from resources.settings.dagster_resource import RunSettings
from resources.settings.profile import Unused
from resources.storage.layout import USAGE_LEASES_FOLDER
from resources.storage.object_store import ObjectStore

RULES = Unused(tear_down_after_minutes=60, end_jobs_after_minutes=120)
UNUSED = ComputeUsage(0.0, set_up=True, live_jobs={}, leases={}, launched_jobs={})
MINUTE = 60.0


def decision_after(checks: list[ComputeUsage], rules: Unused = RULES) -> CleanupDecision:
    """The decision of the last of some checks."""
    state = IdleState()
    for usage in checks:
        state, decision = decide_cleanup(state, usage, rules)
        state = IdleState.model_validate_json(state.model_dump_json())  # the sensor's cursor
    return decision


def every(minutes: float, usage: ComputeUsage, until: float) -> list[ComputeUsage]:
    """Repeated checks with the same usage, from its time on, to some minutes after it."""
    count = int(until / minutes) + 1
    return [replace(usage, at=usage.at + number * minutes * MINUTE) for number in range(count)]


# The rules


def test_idle_compute_is_torn_down_after_its_time_and_not_before() -> None:
    assert not decision_after(every(5, UNUSED, until=55)).tear_down
    assert decision_after(every(5, UNUSED, until=60)).tear_down
    assert decision_after(every(5, UNUSED, until=55)).summary == "unused for 55 minutes"


@pytest.mark.parametrize(
    "use", [{"live_jobs": {"id": "job"}}, {"leases": {"camera/run": 7}}, {"set_up": False}]
)
def test_any_use_restarts_the_idle_time(use: dict[str, object]) -> None:
    used = replace(UNUSED, at=50 * MINUTE, **use)  # type: ignore[arg-type]
    later = replace(UNUSED, at=55 * MINUTE)
    checks = [*every(5, UNUSED, until=45), used]
    assert not decision_after([*checks, *every(5, later, until=55)]).tear_down
    assert decision_after([*checks, *every(5, later, until=60)]).tear_down


def test_a_time_that_is_set_back_restarts_the_times_and_does_not_stop_them() -> None:
    used = replace(UNUSED, at=600 * MINUTE, leases={"camera/run": 7})
    set_back = replace(UNUSED, at=10 * MINUTE, leases={"camera/run": 7})
    expiry = EXPIRY_SECONDS / MINUTE
    checks = [used, *every(5, set_back, until=60 + expiry)]
    assert not decision_after(checks[:12]).tear_down
    assert decision_after(checks).tear_down
    idle = [*every(5, replace(UNUSED, at=600 * MINUTE), until=50), *every(5, UNUSED, until=60)]
    assert not decision_after(idle[:-1]).tear_down
    assert decision_after(idle).tear_down


def test_checks_before_and_after_a_sleep_say_nothing_of_the_time_between_them() -> None:
    state, _ = decide_cleanup(IdleState(), UNUSED, RULES)
    morning = replace(UNUSED, at=10 * 60 * MINUTE)
    state, decision = decide_cleanup(state, morning, RULES, after_sleep=True)
    assert not decision.tear_down
    assert decide_cleanup(state, replace(morning, at=11 * 60 * MINUTE), RULES)[1].tear_down


def test_without_a_time_limit_nothing_is_torn_down_or_terminated() -> None:
    never = Unused(tear_down_after_minutes=None, end_jobs_after_minutes=None)
    jobs = {"live_jobs": {"id": "job"}, "launched_jobs": {"camera": frozenset({"id"})}}
    assert not decision_after(every(5, UNUSED, until=600), never).tear_down
    assert not decision_after(every(5, replace(UNUSED, **jobs), until=600), never).end_jobs  # type: ignore[arg-type]


def test_a_lease_that_is_not_renewed_expires() -> None:
    leased = replace(UNUSED, leases={"camera/run": 7})
    assert not decision_after(every(5, leased, until=EXPIRY_SECONDS / MINUTE + 55)).tear_down
    decision = decision_after(every(5, leased, until=EXPIRY_SECONDS / MINUTE + 60))
    assert decision.tear_down and decision.expired_leases == {"camera/run": 7}


def test_an_orphaned_job_is_terminated_after_its_time_and_jobs_of_others_never() -> None:
    orphaned = replace(
        UNUSED,
        live_jobs={"ours": "ravne-cam-u0-a1", "theirs": "ravne-far-u0-a1"},
        launched_jobs={"camera": frozenset({"ours"})},
    )
    before = decision_after(every(10, orphaned, until=110))
    assert not before.end_jobs
    assert "no run has monitored ravne-cam-u0-a1 for 110 minutes" in before.summary
    assert "not known on this machine: ravne-far-u0-a1" in before.summary
    assert decision_after(every(10, orphaned, until=120)).end_jobs == {"ours": "ravne-cam-u0-a1"}
    renewed = [
        replace(usage, leases={"camera/run": number})
        for number, usage in enumerate(every(10, orphaned, until=300))
    ]
    assert not decision_after(renewed).end_jobs


@given(
    st.lists(
        st.tuples(
            st.floats(1, 1500),  # seconds since the check before
            st.dictionaries(st.sampled_from(["a/1", "b/1"]), st.integers(0, 3), max_size=2),
            st.booleans(),  # a job of camera a lives
        ),
        max_size=40,
    )
)
def test_what_a_run_that_renews_its_lease_uses_is_never_removed(
    checks: list[tuple[float, dict[str, int], bool]],
) -> None:
    state, at = IdleState(), 0.0
    changed: dict[str, tuple[int, float]] = {}
    for seconds, leases, job in checks:
        at += seconds
        for key, renewed in leases.items():
            if changed.get(key, (None, 0.0))[0] != renewed:
                changed[key] = (renewed, at)
        changed = {key: changed[key] for key in leases}
        live = {key for key, (_, when) in changed.items() if at - when < EXPIRY_SECONDS}
        jobs = {"id": "job"} if job else {}
        usage = ComputeUsage(at, True, jobs, leases, {"a": frozenset(jobs)})
        state, decision = decide_cleanup(state, usage, Unused(tear_down_after_minutes=0.1))
        assert not (decision.tear_down and (live or job))
        assert not (decision.end_jobs and "a/1" in live)
        assert not live & decision.expired_leases.keys()


# The account


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    with running_cloud(folder, DAGSTER_HOME=str(folder / "home")) as cloud:
        yield cloud


@pytest.fixture
def leases(cloud: Cloud) -> ObjectStore:
    return cloud.store(f"s3://{data_bucket('ravne')}/{USAGE_LEASES_FOLDER}")


def queue_states(cloud: Cloud) -> set[str]:
    found = cloud.clients.of("batch").describe_job_queues()["jobQueues"]
    return {queue["state"] for queue in found}


def test_a_run_that_begins_during_a_cleanup_keeps_its_compute_and_finishes(
    cloud: Cloud, leases: ObjectStore, tmp_path: Path
) -> None:
    write_picture(tmp_path / "card" / "0.jpg", (320, 240))
    camera = cloud.camera(tmp_path / "card")
    results: list[RunResult] = []
    run = Thread(target=lambda: results.append(cloud.run(camera, ("footage",))))
    steps: list[str] = []

    def on_step(step: str) -> None:
        steps.append(step)
        if step.endswith("-ondemand: disabled"):  # no run has begun until now
            run.start()
            eventually(lambda: list_leases(leases))

    cleanup = ComputeCleanup(cloud.clients, cloud.aws, ())
    assert cleanup.tear_down({}, on_step) == "1 runs use the queues"
    assert queue_states(cloud) == {"ENABLED"}
    assert "queue ravne-spot: enabled again" in steps
    run.join()
    assert results[0].success, results[0].error
    assert not list_leases(leases)


def test_an_orphaned_job_is_terminated_and_its_launch_can_be_resumed(
    cloud: Cloud, leases: ObjectStore
) -> None:
    camera = cloud.new_output("s3://ravne-data/footage/none")
    job = submit(cloud.aws, 600, queue="ravne-ondemand")
    attempt = Attempt("sleeper", Queue.ON_DEMAND, "", cloud.sandbox.clock.now(), job_id=job)
    unit = UnitRecord(0, None, None, 60.0, attempts=[attempt])
    launches = cloud.store(f"{camera.output_url}/launches")
    LaunchRecord("work", "settings", 1, 0.0, [unit]).save(launches)
    cleanup = ComputeCleanup(cloud.clients, cloud.aws, ((camera.camera_id, camera.output_url),))
    usage = cleanup.check()
    assert usage.live_jobs == {job: "sleeper"}
    assert usage.launched_jobs == {lease_folder(camera.output_url): frozenset({job})}
    ignore: list[str] = []

    clock = cloud.clients.clock
    with lease_compute(leases, camera.output_url, "new-run", clock):
        assert cleanup.end_jobs({job: "sleeper"}, usage.leases, ignore.append) == 0
    with launches.exclusive(lambda: None):  # a run of an earlier version, without a usage lease
        assert cleanup.end_jobs({job: "sleeper"}, {}, ignore.append) == 0
    assert cleanup.end_jobs({job: "sleeper"}, {}, ignore.append) == 1
    eventually(lambda: not cloud.live_jobs())
    [record] = load_records(launches)
    assert not record.finished
    assert [each.stopping for each in record.attempts] == [ORPHANED_REASON]


def test_an_expired_lease_does_not_prevent_a_teardown_but_a_renewed_one_does(
    cloud: Cloud, leases: ObjectStore
) -> None:
    with ExitStack() as left:
        left.enter_context(lease_compute(leases, "s3://b/out", "dead", cloud.clients.clock))
        expired = list_leases(leases)
        cleanup = ComputeCleanup(cloud.clients, cloud.aws, ())
        older = {key: renewed - 1 for key, renewed in expired.items()}
        assert cleanup.tear_down(older, lambda _: None) == "1 runs use the queues"
        assert cleanup.tear_down(expired, lambda _: None) is None
    assert remaining_parts(cloud.aws) == []
    ComputeEnvironment(cloud.aws, cloud.clients).setup(4)


def test_the_sensor_reports_the_usage_and_starts_the_job_that_tears_idle_compute_down(
    cloud: Cloud,
) -> None:
    catalog_folder().mkdir(parents=True)
    CameraCatalog(catalog_folder()).put(cloud.new_output("s3://ravne-data/footage/none"))
    changed = {"cloud.unused.tear_down_after_minutes": 0.5}
    settings = RunSettings(profile="sandbox", overrides=cloud.overrides | changed)
    compute = ComputeEnvironmentResource.from_profile(cloud.aws)
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(cursor: str | None) -> dg.SensorResult:
            context = dg.build_sensor_context(instance=instance, cursor=cursor)
            result = unused_compute(context, settings=settings, compute_environment=compute)
            assert isinstance(result, dg.SensorResult)
            return result

        first = tick(None)
        assert first.skip_reason and first.skip_reason.skip_message == "unused for 0 minutes"
        cloud.sandbox.clock.sleep(60)
        [request] = tick(first.cursor).run_requests or []
        ended = tidy_compute.execute_in_process(
            run_config=request.run_config,
            resources={"compute_environment": compute},
            instance=instance,
        )
        assert ended.success
        assert remaining_parts(cloud.aws) == []
        last = tick(first.cursor)
        assert last.skip_reason and last.skip_reason.skip_message == "nothing is set up"
        assert json.loads(last.cursor or "")["unused_since"] is None
