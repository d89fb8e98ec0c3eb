"""Which uploads are news, when a camera's card is complete, and that no crash loses or repeats."""

import json
import sqlite3
import tarfile
import tempfile
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import ROOT

from odins_ravne_assets.arrivals.pending import MAX_SEEN, PendingCameras
from odins_ravne_assets.arrivals.routing import CameraMedium, QuarantinedUpload, camera_of_key
from odins_ravne_assets.arrivals.sensor_state import MAX_QUARANTINED, SensorState, request_due_runs
from odins_ravne_assets.arrivals.sqs import UploadEvent, parse_notification
from resources.errors import ProfileError
from resources.settings.loader import load_profile

OLD_HOME = ROOT / "tests" / "old_results" / "v0_1_0" / "dagster_home.tar.xz"
PATTERN = "(?P<camera>[^/]+)/"
QUIET, LONGEST = 600.0, 43_200.0


def test_the_first_folder_of_a_key_is_the_camera() -> None:
    assert camera_of_key("north-1/DCIM/100RECNX/IMG_1.JPG", PATTERN) == CameraMedium(
        "north-1", "north-1"
    )


def test_a_pattern_finds_the_camera_deeper() -> None:
    pattern = r"site-\d+/(?P<camera>[^/]+)/"
    assert camera_of_key("site-4/cam2/a.mp4", pattern) == CameraMedium("cam2", "site-4/cam2")


@pytest.mark.parametrize("key", ["north-1/notes.txt", "deployments.csv", "north-1/.Trashes/a.jpg"])
def test_what_is_no_medium_is_nobodys_business(key: str) -> None:
    assert camera_of_key(key, PATTERN) is None


@pytest.mark.parametrize("folder", ["a...b", "a b", "-x", "x" * 64, "cam,1", "*"])
def test_an_unsafe_camera_id_is_refused_with_the_reason(folder: str) -> None:
    refused = camera_of_key(f"{folder}/IMG_1.JPG", PATTERN)
    assert isinstance(refused, QuarantinedUpload)
    assert refused.path == folder
    assert "camera id" in refused.reason


def test_media_that_no_pattern_matches_are_refused_by_their_folder() -> None:
    refused = camera_of_key("loose.jpg", PATTERN)
    assert refused == QuarantinedUpload("loose.jpg", refused.reason)  # type: ignore[union-attr]


def test_a_pattern_without_a_camera_is_refused_with_the_profile() -> None:
    with pytest.raises(ProfileError, match=r"uploads\.camera_pattern"):
        load_profile("local", {"uploads.camera_pattern": "(.*)/"})


def test_quarantine_does_not_grow_for_ever() -> None:
    state = SensorState()
    for number in range(3 * MAX_QUARANTINED):
        assert state.quarantine(QuarantinedUpload(f"bad {number}", "why"))
    assert len(state.quarantined) == MAX_QUARANTINED
    assert not state.quarantine(QuarantinedUpload(f"bad {3 * MAX_QUARANTINED - 1}", "why"))


def test_many_refused_folders_are_reported_once_each() -> None:
    state = SensorState()
    paths = [f"bad {number}" for number in range(3 * MAX_QUARANTINED)]
    for listing in range(3):
        new = [state.quarantine(QuarantinedUpload(path, "why")) for path in paths]
        assert all(new) if listing == 0 else not any(new)
        state = SensorState.read(state.text())
    assert len(state.text()) < 20_000


def test_a_notification_tells_the_key_as_it_is() -> None:
    body = """{"Records": [{"eventName": "ObjectCreated:CompleteMultipartUpload",
      "eventTime": "2026-11-23T02:14:05.123Z",
      "s3": {"bucket": {"name": "b"}, "object": {"key": "cam+1/R%C3%A9my%2B1.jpg"}}}]}"""
    assert parse_notification(body) == (UploadEvent("b", "cam 1/Rémy+1.jpg", 1795400045.123),)


def test_a_deletion_is_no_upload_and_s3s_test_message_is_none() -> None:
    assert parse_notification('{"Event": "s3:TestEvent", "Bucket": "b"}') == ()
    assert parse_notification('{"Records": [{"eventName": "ObjectRemoved:Delete"}]}') == ()


@pytest.mark.parametrize("body", ["", "[]", "{}", "hello", '{"Records": [{}]}', '{"Records": 3}'])
def test_what_is_no_notification_is_known_to_be_none(body: str) -> None:
    assert parse_notification(body) is None


def test_a_card_of_many_files_is_one_run_when_it_has_been_quiet() -> None:
    cameras = PendingCameras({}, {})
    for second in range(5000):
        assert cameras.add_event("a", "a", at=second, now=second + 3)
        assert not list(request_due_runs(cameras, second + 3, QUIET, LONGEST))
    assert not list(request_due_runs(cameras, 4999 + 3 + QUIET - 1, QUIET, LONGEST))
    (turn,) = request_due_runs(cameras, 4999 + 3 + QUIET, QUIET, LONGEST)
    assert (turn.camera_id, turn.files) == ("a", 5000)
    assert not cameras.pending


def test_a_camera_that_never_is_quiet_gets_its_run_all_the_same() -> None:
    cameras = PendingCameras({}, {})
    asked = []
    for minute in range(0, 60 * 25):
        cameras.add_event("a", "a", at=60.0 * minute, now=60.0 * minute)
        asked += [minute for _ in request_due_runs(cameras, 60.0 * minute, QUIET, LONGEST)]
    assert asked == [12 * 60, 12 * 60 + 12 * 60 + 1]


def test_an_upload_told_again_after_its_run_is_no_news() -> None:
    cameras = PendingCameras({}, {})
    cameras.add_event("a", "a", at=100.2, now=110)
    assert [turn.camera_id for turn in request_due_runs(cameras, 800, QUIET, LONGEST)] == ["a"]
    assert not cameras.add_event("a", "a", at=100.9, now=900)
    assert cameras.add_event("a", "a", at=101, now=900)


def test_memory_survives_being_a_cursor() -> None:
    state = SensorState()
    state.cameras.add_event("a", "x/a", at=100, now=110)
    state.cameras.add_listed("b", "b", at=90, now=120, listed=119)
    state.receipts, state.listed_at = ["r"], 5.0
    state.sweep.agreed["c"] = "ff"
    assert SensorState.read(state.text()) == state
    assert SensorState.read(None) == SensorState()


@given(
    uploads=st.lists(
        st.tuples(st.integers(0, 5000), st.sampled_from("ab"), st.integers(1, 400)), max_size=30
    ),
    told_twice=st.integers(0, 2**30),
    dies=st.sets(st.integers(0, 220)),
)
@settings(max_examples=40, deadline=None)
def test_whatever_tick_dies_each_upload_is_in_a_run_and_no_run_is_asked_for_twice(
    uploads: list[tuple[int, str, int]], told_twice: int, dies: set[int]
) -> None:
    """A tick that dies has submitted its runs, and its cursor is lost with what it heard.

    uploads: (second of arrival, camera, seconds until SQS tells it). A message stays in the queue
    until a tick deletes it, and that is the one after the tick whose cursor was kept.
    """
    queue = {n: (at + late, at, camera) for n, (at, camera, late) in enumerate(uploads)}
    cursor = SensorState().text()
    runs: dict[str, tuple[str, float]] = {}  # run key -> camera and when it was asked for
    for tick in range(260):
        now = 30.0 * tick
        state = SensorState.read(cursor)
        for message in state.receipts:
            if not (told_twice >> int(message)) & 1:  # else: a deletion that SQS did not keep
                queue.pop(int(message), None)
        state.receipts = []
        for number, (from_, at, camera) in queue.items():
            if from_ <= now:
                state.receipts.append(str(number))
                state.cameras.add_event(camera, camera, at, now)
        for turn in request_due_runs(state.cameras, now, QUIET, LONGEST):
            runs.setdefault(turn.run_key, (turn.camera_id, now))  # Dagster starts a key once
        if tick not in dies:
            cursor = state.text()
    asked = defaultdict(list)
    for camera, when in runs.values():
        asked[camera].append(when)
    for at, camera, _ in uploads:
        assert any(when > at for when in asked[camera]), (at, camera)
    for camera, times in asked.items():
        arrivals = {at for at, of, _ in uploads if of == camera}
        assert len(times) <= len(arrivals)
        assert len(set(times)) == len(times)


@pytest.mark.parametrize("hours", [1, 30])
def test_a_time_that_is_set_back_delays_no_run_beyond_the_quiet_period(hours: float) -> None:
    state, now = SensorState(), 1_000_000.0
    state.listed_at = state.sweep.began = now
    state.settling["card"] = {"is": "x", "since": now, "done": now}
    state.cameras.add_event("north", "north", now, now)
    now -= hours * 3600
    state.limit_to(now)
    assert list(state.cameras.due(now + QUIET - 1, QUIET, LONGEST)) == []
    assert [camera for camera, _ in state.cameras.due(now + QUIET, QUIET, LONGEST)] == ["north"]
    assert state.listed_at == state.sweep.began == now
    assert state.settling["card"] == {"is": "x", "since": now, "done": now}
    assert SensorState.read(state.text()) == state


@cache
def old_cursor() -> str:
    """The cursor that release 0.1.0 has stored in its DAGSTER_HOME."""
    with tarfile.open(OLD_HOME) as archive, tempfile.TemporaryDirectory() as folder:
        archive.extract("schedules/schedules.db", folder, filter="data")
        database = sqlite3.connect(Path(folder) / "schedules/schedules.db")
        rows = database.execute("SELECT instigator_body FROM instigators").fetchall()
        database.close()
    bodies = [json.loads(body) for (body,) in rows]
    (cursor,) = (
        body["job_specific_data"]["cursor"]
        for body in bodies
        if body["origin"]["job_name"] == "new_footage"
    )
    return str(cursor)


def test_the_cursor_of_release_0_1_0_is_read() -> None:
    cursor = old_cursor()
    assert "version" not in json.loads(cursor)
    state = SensorState.read(cursor)
    assert state.begun_anew == ""
    assert list(state.quarantined) == ["loose.jpg"]
    assert state.settling.keys() == {"lake", "ridge"}
    assert json.loads(state.text())["version"] == 2


def broken(**changes: object) -> str:
    return json.dumps(json.loads(old_cursor()) | changes)


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("{", "not JSON"),
        ("", ""),
        ("[" * 100_000, "not JSON"),
        ("[]", "not of this sensor"),
        ("17", "not of this sensor"),
        ("{}", "cameras: Field required"),
        (broken(version=3), "version 3, and this version reads 1 to 2"),
        (broken(version=None), "version None"),
        (broken(version="1"), "version '1'"),
        (broken(cameras=None), "cameras"),
        (broken(cameras={"waiting": {"a": {}}, "by": {}}), "cameras.waiting.a.footage"),
        (broken(cameras={"waiting": {}, "by": {"a": "yesterday"}}), "cameras.by.a"),
        (broken(receipts="r"), "receipts"),
        (broken(refused=["a"]), "refused"),
        (broken(sweep={"began": []}), "sweep.began"),
        (broken(sweep={"comparing": {"camera": "a"}}), "sweep.comparing"),
        (broken(listed_at=float("nan")), "listed_at"),
        (broken(settling={"a": {"is": 1}}), "settling.a"),
    ],
)
def test_a_cursor_that_cannot_be_read_begins_anew_with_the_reason(cursor: str, reason: str) -> None:
    state = SensorState.read(cursor)
    assert reason in state.begun_anew
    assert state == SensorState()


def test_newer_members_of_a_cursor_are_ignored() -> None:
    state = SensorState.read(broken(colour="red"))
    assert (state.begun_anew, list(state.quarantined)) == ("", ["loose.jpg"])


def test_paths_that_are_no_unicode_do_not_break_the_cursor() -> None:
    state = SensorState()
    state.quarantine(QuarantinedUpload("bad \ud800 name", "why"))
    assert list(SensorState.read(state.text()).quarantined) == ["bad \\ud800 name"]
    assert not state.quarantine(QuarantinedUpload("bad \ud800 name", "why"))


def test_the_cursor_of_a_bucket_is_bounded() -> None:
    state, now = SensorState(), 1_800_000_000.0
    for number in range(2 * MAX_SEEN):
        camera = f"a-camera-with-a-long-name-{number:06}"
        state.cameras.seen_until[camera] = now - number
        state.sweep.agree(camera, "0123456789abcdef")
        state.quarantine(QuarantinedUpload(f"a/folder/with/a/long/name/{number}", "why"))
    state.limit_to(now)
    assert len(state.cameras.seen_until) == len(state.sweep.confirmed) == MAX_SEEN
    assert "a-camera-with-a-long-name-000000" in state.cameras.seen_until, "the newest"
    assert len(state.text()) < 700_000
    state.limit_to(now + 16 * 86_400)
    state.sweep.end()
    state.sweep.end()
    assert (state.cameras.seen_until, state.sweep.agreed) == ({}, {})
