"""Launch records are stored as JSON, and those of earlier versions stay readable."""

import json
from pathlib import Path

import pytest

from resources.batch.launch_record import (
    Attempt,
    LaunchRecord,
    Refusal,
    UnitOutcome,
    UnitRecord,
    load_records,
)
from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome
from resources.errors import StoreError
from resources.storage.local_store import LocalStore

# As the first version with refusals wrote it; an attempt then had no counters of Stage 1.
OLD_RECORD = """{
 "work": "8a1f", "settings": "55c0", "number": 2, "began_at": 1795000000,
 "units": [
  {"number": 0, "start": 0, "stop": 40, "seconds": 812.5, "outcome": "set aside",
   "why": "the worker ended 5 times", "attempts": [
    {"name": "ravne-cam-8a1f-2-u0-a1", "queue": "spot-high", "reason": "cheap",
     "intended_at": 1795000001.5, "job_id": "j-1", "moving": null, "stopping": null,
     "started_at": 1795000100.0, "ended_at": 1795000200.0, "end": "out of memory",
     "said": "OutOfMemoryError", "finished_media": 3,
     "host": {"instance_id": "i-1", "market": "spot"}, "work": {"frames": 12, "seconds": 1.5}}],
   "interruptions": 1, "fruitless_deaths": 5, "failed_starts": 0}],
 "finished": true, "runs": ["r-1"]
}"""


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write_bytes("8a1f-2/record.json", OLD_RECORD.encode())
    [record] = load_records(store)
    [unit] = record.units
    [attempt] = unit.attempts
    assert record.identity == "8a1f-2" and record.finished
    assert unit.outcome is UnitOutcome.SET_ASIDE and not unit.refusals
    assert attempt.queue is Queue.SPOT_HIGH
    assert attempt.end is AttemptOutcome.OUT_OF_MEMORY and not attempt.active
    assert attempt.looked_at == 0
    assert [type(value) for value in attempt.work.values()] == [int, float]
    record.save(store)
    [stored_unit] = json.loads(store.read_bytes("8a1f-2/record.json"))["units"]
    [unit_before] = json.loads(OLD_RECORD)["units"]
    assert unit_before["attempts"][0].items() <= stored_unit["attempts"][0].items()
    del unit_before["attempts"]
    assert unit_before.items() <= stored_unit.items()


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    attempt = Attempt("a", Queue.ON_DEMAND, "moved", 5.0, end=AttemptOutcome.DONE)
    unit = UnitRecord(0, None, None, 60.0, UnitOutcome.DONE, attempts=[attempt])
    refused = UnitRecord(1, 4, 9, 60.0, refusals=[Refusal(6.0, Queue.SPOT, "over budget")])
    record = LaunchRecord("work", "settings", 1, 4.0, [unit, refused], runs=["r"])
    record.save(LocalStore(tmp_path))
    assert load_records(LocalStore(tmp_path)) == [record]
    tree = json.loads((tmp_path / "work-1" / "record.json").read_text())
    assert [each["outcome"] for each in tree["units"]] == ["done", "open"]
    assert tree["units"][0]["attempts"][0]["queue"] == "ondemand"
    assert tree["units"][0]["attempts"][0]["end"] == "done"


def test_the_age_of_an_attempt_counts_also_after_the_time_was_set_back() -> None:
    attempt, asked = Attempt("a", Queue.SPOT, "cheap", 10_000.0), dict[str, float]()
    assert attempt.age(10_030.0, asked) == 30
    later = dict[str, float]()  # of a process that began after the time was set back
    assert [attempt.age(now, later) for now in (2_000.0, 2_040.0)] == [0, 40]


def test_keys_of_a_newer_version_are_ignored(tmp_path: Path) -> None:
    tree = json.loads(OLD_RECORD) | {"region": "eu-north-1"}
    tree["units"][0]["attempts"][0]["gpu"] = "L4"
    LocalStore(tmp_path).write_bytes("8a1f-2/record.json", json.dumps(tree).encode())
    assert load_records(LocalStore(tmp_path))[0].identity == "8a1f-2"


@pytest.mark.parametrize("content", ["", OLD_RECORD[:200], "[]", OLD_RECORD.replace("work", "w")])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    store = LocalStore(tmp_path)
    store.write_bytes("8a1f-1/record.json", content.encode())
    store.write_bytes("8a1f-2/record.json", OLD_RECORD.encode())
    with pytest.raises(StoreError, match=r"8a1f-1/record\.json: is damaged or of another version"):
        load_records(store)  # a launch would buy its jobs again
    remarks: list[str] = []
    assert [record.identity for record in load_records(store, remarks)] == ["8a1f-2"]
    assert "8a1f-1/record.json" in remarks[0]
