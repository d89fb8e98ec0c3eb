"""Which uploads are news, when a camera's card is complete, and that no crash loses or repeats."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odins_ravne_assets.arrivals.pending import PendingCameras
from odins_ravne_assets.arrivals.routing import CameraMedium, QuarantinedUpload, camera_of_key
from odins_ravne_assets.arrivals.sensor_state import MAX_QUARANTINED, SensorState, request_due_runs
from odins_ravne_assets.arrivals.sqs import UploadEvent, parse_notification
from resources.errors import ProfileError
from resources.settings.loader import load_profile

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
