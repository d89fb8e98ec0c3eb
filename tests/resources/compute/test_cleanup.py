"""Compute that nobody uses is taken away, jobs without a run are ended, and no run is harmed."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest
from cloud_rig import Cloud, Ran, eventually, running_cloud
from compute_rig import remaining_parts, submit
from hypothesis import given
from hypothesis import strategies as st
from media_files import write_picture

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.defs.idle_compute import tidy_compute, unused_compute
from odins_ravne_assets.instance_home import catalog_folder
from resources.batch.launch_record import Attempt, LaunchRecord, UnitRecord, load_records
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
UNUSED = ComputeUsage(0.0, set_up=True, live_jobs={}, holds={}, launches={})
MINUTE = 60.0


def after(looks: list[ComputeUsage], rules: Unused = RULES) -> CleanupDecision:
    """What is to be done after some looks, the last one's."""
    memory = IdleState()
    for look in looks:
        memory, verdict = decide_cleanup(memory, look, rules)
        memory = IdleState.model_validate_json(memory.model_dump_json())  # as the sensor keeps it
    return verdict


def every(minutes: float, look: ComputeUsage, until: float) -> list[ComputeUsage]:
    """The same look again and again, from its own time on, to some minutes after it."""
    count = int(until / minutes) + 1
    return [replace(look, at=look.at + number * minutes * MINUTE) for number in range(count)]


# The rules


def test_unused_compute_is_taken_away_after_its_time_and_not_before() -> None:
    assert not after(every(5, UNUSED, until=55)).tear_down
    assert after(every(5, UNUSED, until=60)).tear_down
    assert after(every(5, UNUSED, until=55)).says == "unused for 55 minutes"


@pytest.mark.parametrize(
    "use", [{"live_jobs": {"id": "job"}}, {"holds": {"place/run": 7}}, {"set_up": False}]
)
def test_any_use_begins_the_time_anew(use: dict[str, object]) -> None:
    used = replace(UNUSED, at=50 * MINUTE, **use)  # type: ignore[arg-type]
    later = replace(UNUSED, at=55 * MINUTE)
    looks = [*every(5, UNUSED, until=45), used]
    assert not after([*looks, *every(5, later, until=55)]).tear_down
    assert after([*looks, *every(5, later, until=60)]).tear_down


def test_looks_that_are_far_apart_say_nothing_of_the_time_between_them() -> None:
    memory, _ = decide_cleanup(IdleState(), UNUSED, RULES)
    morning = replace(UNUSED, at=10 * 60 * MINUTE)
    memory, verdict = decide_cleanup(memory, morning, RULES, overslept=True)
    assert not verdict.tear_down
    assert decide_cleanup(memory, replace(morning, at=11 * 60 * MINUTE), RULES)[1].tear_down


def test_without_a_time_nothing_is_ever_taken_away() -> None:
    never = Unused(tear_down_after_minutes=None, end_jobs_after_minutes=None)
    jobs = {"live_jobs": {"id": "job"}, "launches": {"place": frozenset({"id"})}}
    assert not after(every(5, UNUSED, until=600), never).tear_down
    assert not after(every(5, replace(UNUSED, **jobs), until=600), never).end_jobs  # type: ignore[arg-type]


def test_a_hold_that_is_not_renewed_is_that_of_a_run_which_is_gone() -> None:
    held = replace(UNUSED, holds={"place/run": 7})
    assert not after(every(5, held, until=EXPIRY_SECONDS / MINUTE + 55)).tear_down
    done = after(every(5, held, until=EXPIRY_SECONDS / MINUTE + 60))
    assert done.tear_down and done.dead == {"place/run": 7}


def test_a_job_that_no_run_watches_is_ended_after_its_time_and_others_jobs_never() -> None:
    orphaned = replace(
        UNUSED,
        live_jobs={"ours": "ravne-cam-u0-a1", "theirs": "ravne-far-u0-a1"},
        launches={"place": frozenset({"ours"})},
    )
    before = after(every(10, orphaned, until=110))
    assert not before.end_jobs
    assert "no run has watched ravne-cam-u0-a1 for 110 minutes" in before.says
    assert "of no camera known here, so left alone: ravne-far-u0-a1" in before.says
    assert after(every(10, orphaned, until=120)).end_jobs == {"ours": "ravne-cam-u0-a1"}
    renewed = [
        replace(look, holds={"place/run": number})
        for number, look in enumerate(every(10, orphaned, until=300))
    ]
    assert not after(renewed).end_jobs


@given(
    st.lists(
        st.tuples(
            st.floats(1, 1500),  # seconds since the look before
            st.dictionaries(st.sampled_from(["a/1", "b/1"]), st.integers(0, 3), max_size=2),
            st.booleans(),  # a job of camera a lives
        ),
        max_size=40,
    )
)
def test_what_a_run_that_renews_its_hold_uses_is_never_taken_away(
    looks: list[tuple[float, dict[str, int], bool]],
) -> None:
    memory, at = IdleState(), 0.0
    changed: dict[str, tuple[int, float]] = {}
    for seconds, holds, job in looks:
        at += seconds
        for key, renewed in holds.items():
            if changed.get(key, (None, 0.0))[0] != renewed:
                changed[key] = (renewed, at)
        changed = {key: changed[key] for key in holds}
        living = {key for key, (_, when) in changed.items() if at - when < EXPIRY_SECONDS}
        jobs = {"id": "job"} if job else {}
        look = ComputeUsage(at, True, jobs, holds, {"a": frozenset(jobs)})
        memory, verdict = decide_cleanup(memory, look, Unused(tear_down_after_minutes=0.1))
        assert not (verdict.tear_down and (living or job))
        assert not (verdict.end_jobs and "a/1" in living)
        assert not living & verdict.dead.keys()


# The account


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    with running_cloud(folder, DAGSTER_HOME=str(folder / "home")) as cloud:
        yield cloud


@pytest.fixture
def holds(cloud: Cloud) -> ObjectStore:
    return cloud.store(f"s3://{data_bucket('ravne')}/{USAGE_LEASES_FOLDER}")


def queue_states(cloud: Cloud) -> set[str]:
    found = cloud.clients.of("batch").describe_job_queues()["jobQueues"]
    return {queue["state"] for queue in found}


def test_a_run_that_begins_while_it_is_decided_keeps_its_compute_and_is_done(
    cloud: Cloud, holds: ObjectStore, tmp_path: Path
) -> None:
    write_picture(tmp_path / "card" / "0.jpg", (320, 240))
    camera = cloud.camera(tmp_path / "card")
    ran: list[Ran] = []
    run = Thread(target=lambda: ran.append(cloud.run(camera, ("footage",))))
    said: list[str] = []

    def on_step(step: str) -> None:
        said.append(step)
        if step.endswith("-ondemand: disabled"):  # nothing was seen until now
            run.start()
            eventually(lambda: list_leases(holds))

    tidy = ComputeCleanup(cloud.clients, cloud.aws, ())
    assert tidy.tear_down({}, on_step) == "1 runs use the queues"
    assert queue_states(cloud) == {"ENABLED"}
    assert "queue ravne-spot: enabled again" in said
    run.join()
    assert ran[0].success, ran[0].error
    assert not list_leases(holds)


def test_a_job_without_a_run_is_ended_and_its_launch_left_to_be_gone_on_with(
    cloud: Cloud, holds: ObjectStore
) -> None:
    camera = cloud.new_output("s3://ravne-data/footage/none")
    job = submit(cloud.aws, 600, queue="ravne-ondemand")
    attempt = Attempt("sleeper", "ondemand", "", cloud.sandbox.clock.now(), job_id=job)
    unit = UnitRecord(0, None, None, 60.0, attempts=[attempt])
    launches = cloud.store(f"{camera.output_url}/launches")
    LaunchRecord("work", "settings", 1, 0.0, [unit]).save(launches)
    tidy = ComputeCleanup(cloud.clients, cloud.aws, ((camera.camera_id, camera.output_url),))
    look = tidy.look()
    assert look.live_jobs == {job: "sleeper"}
    assert look.launches == {lease_folder(camera.output_url): frozenset({job})}
    ignore: list[str] = []

    clock = cloud.clients.clock
    with lease_compute(holds, camera.output_url, "new-run", clock):
        assert tidy.end_jobs({job: "sleeper"}, look.holds, ignore.append) == 0
    with launches.exclusive(lambda: None):  # a run of an earlier version, which holds no compute
        assert tidy.end_jobs({job: "sleeper"}, {}, ignore.append) == 0
    assert tidy.end_jobs({job: "sleeper"}, {}, ignore.append) == 1
    eventually(lambda: not cloud.live_jobs())
    [record] = load_records(launches)
    assert not record.finished
    assert [each.stopping for each in record.attempts] == [ORPHANED_REASON]


def test_what_a_dead_run_has_left_does_not_keep_compute_up_but_a_renewed_mark_does(
    cloud: Cloud, holds: ObjectStore
) -> None:
    with ExitStack() as left:
        left.enter_context(lease_compute(holds, "s3://b/out", "dead", cloud.clients.clock))
        told = list_leases(holds)
        tidy = ComputeCleanup(cloud.clients, cloud.aws, ())
        older = {key: renewed - 1 for key, renewed in told.items()}
        assert tidy.tear_down(older, lambda _: None) == "1 runs use the queues"
        assert tidy.tear_down(told, lambda _: None) is None
    assert remaining_parts(cloud.aws) == []
    ComputeEnvironment(cloud.aws, cloud.clients).setup(4)


def test_the_sensor_says_what_it_sees_and_has_unused_compute_taken_away(cloud: Cloud) -> None:
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
