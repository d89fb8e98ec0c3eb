"""Heartbeats: a run whose server was lost is ended, and one that only waits or sleeps is not."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import should_retry

from odins_ravne_assets.instance_home import DAGSTER_YAML
from odins_ravne_assets.runs import heartbeat
from odins_ravne_assets.runs.heartbeat import (
    EXPIRY_SECONDS,
    KEY_PREFIX,
    RENEWAL_SECONDS,
    Heartbeat,
    HeartbeatWatch,
    RunHeartbeat,
    read_heartbeats,
    this_machine,
)
from odins_ravne_assets.runs.liveness import close_dead_runs, tag_process
from resources.clock import ScaledClock
from resources.launch.slots import LaunchSlots

# The sensor's interval on a busy server.
SENSOR_SECONDS = 60.0


class StillClock:
    """A clock that stands still unless the test moves it."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, wake: Event | None = None) -> bool:
        self.time += seconds
        return False


@dataclass
class Rig:
    """An instance, and a server that watches its runs."""

    instance: dg.DagsterInstance
    clock: StillClock
    watch: HeartbeatWatch
    patch: pytest.MonkeyPatch

    def on(self, host: str, identity: str = "") -> None:
        """Continue as another machine."""
        self.patch.setattr(socket, "gethostname", lambda: host)
        self.patch.setattr(heartbeat, "_identity", lambda: identity)

    def start(self, host: str, status: DagsterRunStatus = DagsterRunStatus.STARTED) -> "Beating":
        """Start a run on a host; its process is this one, which no other host can see."""
        run = dg.DagsterRun("camera", status=status, tags={"dagster/partition": "north"})
        self.instance.add_run(run)
        self.on(host)
        tag_process(self.instance, run)
        return Beating(self, run.run_id, host)

    def watch_for(self, seconds: float, *beating: "Beating") -> None:
        """Watch as the sensor does, while runs renew their heartbeats."""
        for number in range(int(seconds / SENSOR_SECONDS)):
            self.clock.time += SENSOR_SECONDS
            if number * SENSOR_SECONDS % RENEWAL_SECONDS == 0:
                for each in beating:
                    each.renew()
            self.look()

    def look(self) -> None:
        self.on("server-b")
        close_dead_runs(self.instance, self.watch)


class Beating:
    """A run on some host."""

    def __init__(self, rig: Rig, run_id: str, host: str) -> None:
        self._rig, self.run_id, self._host = rig, run_id, host
        self.interrupted = 0
        self._heartbeat = RunHeartbeat(rig.instance, run_id, rig.clock, self._interrupt)

    def _interrupt(self) -> None:
        self.interrupted += 1

    def renew(self) -> bool:
        self._rig.on(self._host)
        return self._heartbeat.renew()

    @property
    def run(self) -> dg.DagsterRun:
        run = self._rig.instance.get_run_by_id(self.run_id)
        assert run
        return run

    @property
    def is_alive(self) -> bool:
        return self.run.status == DagsterRunStatus.STARTED


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path_factory.mktemp("home")
    (folder / "dagster.yaml").write_text(DAGSTER_YAML)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


@pytest.fixture
def rig(shared: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Rig:
    shared.wipe()
    clock = StillClock()
    return Rig(shared, clock, HeartbeatWatch(clock), monkeypatch)


def test_a_run_of_a_lost_server_is_ended_and_retried(rig: Rig) -> None:
    run = rig.start("server-a")
    run.renew()
    rig.watch_for(EXPIRY_SECONDS)
    assert run.is_alive
    rig.watch_for(2 * SENSOR_SECONDS)
    assert run.run.status == DagsterRunStatus.FAILURE
    assert should_retry(run.run, rig.instance)
    messages = [entry.message for entry in rig.instance.all_logs(run.run_id)]
    assert any("server-a has not renewed its heartbeat for 10 minutes" in m for m in messages)


def test_a_run_that_waits_for_aws_for_hours_is_alive(rig: Rig) -> None:
    run, lost = rig.start("server-a"), rig.start("server-c")
    rig.watch_for(3 * EXPIRY_SECONDS, run)
    assert run.is_alive
    assert not lost.is_alive


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0, 3600.0])
def test_a_clock_that_is_set_and_an_outage_of_the_database_end_no_run(
    jump: float, rig: Rig
) -> None:
    run = rig.start("server-a")
    run.renew()
    rig.watch_for(300)
    rig.clock.time += jump  # no reading in between
    rig.look()
    assert run.is_alive
    rig.watch_for(EXPIRY_SECONDS + 120, run)
    assert run.is_alive


def test_a_run_that_was_being_canceled_on_a_lost_server_is_canceled(rig: Rig) -> None:
    run = rig.start("server-a", DagsterRunStatus.CANCELING)
    rig.watch_for(EXPIRY_SECONDS + 120)
    assert run.run.status == DagsterRunStatus.CANCELED


def test_a_run_of_a_version_without_heartbeats_is_ended_as_late(rig: Rig) -> None:
    run = rig.start("server-a")
    rig.watch_for(EXPIRY_SECONDS)
    assert run.is_alive
    rig.watch_for(2 * SENSOR_SECONDS)
    assert not run.is_alive


def test_a_single_command_ends_no_run_of_another_server(rig: Rig) -> None:
    run = rig.start("server-a")
    rig.look()
    assert run.is_alive


def test_a_process_id_of_a_container_with_the_same_host_name_means_nothing_here(rig: Rig) -> None:
    run = rig.start("server-b")
    rig.on("server-b", "another container")
    rig.instance.add_run_tags(
        run.run_id, {".dagster/munin-launched-process": f"{run.run_id} server-b:4194303:1"}
    )
    text = Heartbeat(this_machine(), 1).text()
    rig.instance.daemon_cursor_storage.set_cursor_values({KEY_PREFIX + run.run_id: text})
    rig.look()
    assert run.is_alive  # there is no such process here
    rig.watch_for(EXPIRY_SECONDS + 120)
    assert not run.is_alive


def test_a_living_process_of_this_machine_needs_no_heartbeat(rig: Rig) -> None:
    run = rig.start("server-b")
    run.renew()
    rig.watch_for(EXPIRY_SECONDS + 120)
    assert run.is_alive


def test_slots_of_a_lost_server_are_free_once_its_run_is_ended(rig: Rig) -> None:
    run, other = rig.start("server-a"), rig.start("server-b")
    assert LaunchSlots(rig.instance, run.run_id, "account", 1).take("unit 0")
    waiting = LaunchSlots(
        rig.instance,
        other.run_id,
        "account",
        1,
        close_dead_runs=lambda instance: close_dead_runs(instance, rig.watch),
    )
    waited = 0.0
    while not waiting.take("unit 0"):  # a waiting launch watches, too
        rig.clock.time += SENSOR_SECONDS
        waited += SENSOR_SECONDS
    assert EXPIRY_SECONDS <= waited <= EXPIRY_SECONDS + 120


def test_a_run_that_comes_back_after_it_was_ended_stops(rig: Rig) -> None:
    run = rig.start("server-a")
    assert run.renew()
    rig.watch_for(EXPIRY_SECONDS + 120)  # it is asleep
    assert not run.renew()
    assert run.interrupted == 1
    assert run.run.status == DagsterRunStatus.FAILURE
    assert read_heartbeats(rig.instance, [run.run_id])[run.run_id].renewals == 1


def test_the_heartbeat_is_renewed_while_a_step_runs_and_an_error_does_not_stop_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = rig.start("server-a")
    storage = rig.instance.daemon_cursor_storage
    stored, failures = type(storage).set_cursor_values, iter([ConnectionError("no database")])

    def unreliable(self: object, pairs: dict[str, str]) -> None:
        if '"renewals": 1}' not in str(pairs) and (error := next(failures, None)):
            raise error
        stored(storage, pairs)

    monkeypatch.setattr(type(storage), "set_cursor_values", unreliable)
    fast = RunHeartbeat(rig.instance, run.run_id, ScaledClock(scale=3000))
    with fast.beating():
        deadline = time.monotonic() + 20
        while read_heartbeats(rig.instance, [run.run_id])[run.run_id].renewals < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert "was not renewed: no database" in caplog.text


def test_this_machine_is_named_the_same_each_time() -> None:
    assert this_machine() == this_machine()
    assert this_machine().startswith(f"{socket.gethostname()} ")


@pytest.mark.parametrize("text", ["", "{}", "7", '{"machine": "a", "renewals": null}', "\x00"])
def test_a_heartbeat_of_another_form_counts_as_none(text: str) -> None:
    assert Heartbeat.read(text) is None


def test_a_heartbeat_is_read_as_it_was_stored(tmp_path: Path) -> None:
    stored = Heartbeat("server-a 1b pid:[4026531836]", 12)
    assert Heartbeat.read(stored.text()) == stored
