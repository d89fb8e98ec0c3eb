"""Polling AWS, and comparing its descriptions with a plan."""

from typing import Any

import pytest

from resources.clock import ScaledClock
from resources.compute.parts import Poller, describe_status, differences
from resources.errors import RavneError


def test_the_poller_waits_until_the_change_is_complete_and_logs_at_intervals() -> None:
    clock = ScaledClock(scale=10_000)
    steps: list[str] = []
    until = clock.now() + 300

    def check() -> str | None:
        return "DELETING" if clock.now() < until else None

    Poller(clock, steps.append).wait("queue ravne-spot to be deleted", check)
    assert clock.now() >= until
    assert set(steps) == {"waiting for queue ravne-spot to be deleted: DELETING"}
    assert 1 <= len(steps) <= 10  # at most each half minute


def test_a_change_that_is_complete_is_not_logged() -> None:
    steps: list[str] = []
    Poller(ScaledClock(), steps.append).wait("anything", lambda: None)
    assert steps == []


def test_waiting_ends_with_an_error_after_a_timeout() -> None:
    poller = Poller(ScaledClock(scale=100_000), lambda _: None)
    with pytest.raises(RavneError, match=r"waited 30 minutes for it: CREATING: .*run the same"):
        poller.wait("it", lambda: "CREATING: no reason yet")


@pytest.mark.parametrize(
    ("wanted", "existing", "differing"),
    [
        ({"a": 1}, {"a": 1, "added": 2}, {}),
        ({"a": 1}, {"a": 2}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        ({"types": ["g5", "g6"]}, {"types": ["g6", "g5"]}, {}),
        ({"types": ["g5"]}, {"types": ["g6", "g5"]}, {"types": ["g5"]}),
        ({"types": ["g5", "g6"]}, {"types": ["g5", "g7"]}, {"types": ["g5", "g6"]}),
        ({"template": {"version": "2"}}, {"template": {"version": "2", "id": "lt-1"}}, {}),
        (
            {"template": {"version": "2"}},
            {"template": {"version": "1"}},
            {"template": {"version": "2"}},
        ),
        ({"images": [{"type": "A"}]}, {"images": [{"type": "A", "id": "x"}]}, {}),
        ({"images": [{"type": "A"}]}, {"images": [{"type": "B"}]}, {"images": [{"type": "A"}]}),
    ],
    ids=[
        "keys that AWS adds do not matter",
        "another value",
        "no value",
        "the order of lists does not matter",
        "a longer list differs",
        "a list with another item differs",
        "nested keys that AWS adds do not matter",
        "another nested value",
        "keys that AWS adds to the items of a list do not matter",
        "another item",
    ],
)
def test_only_the_planned_keys_are_compared(
    wanted: dict[str, Any], existing: dict[str, Any], differing: dict[str, Any]
) -> None:
    assert differences(wanted, existing) == differing


def test_a_status_is_described_with_its_reason_in_one_line() -> None:
    assert describe_status({"status": "CREATING"}) == "CREATING"
    assert describe_status({"status": "INVALID", "statusReason": "CLIENT_ERROR -\n no role"}) == (
        "INVALID: CLIENT_ERROR - no role"
    )
