"""Waiting for AWS, and comparing what it says with what is wanted."""

from typing import Any

import pytest

from resources.clock import ScaledClock
from resources.compute.parts import Poller, describe_status, differences
from resources.errors import RavneError


def test_waiting_ends_when_nothing_is_in_the_way_and_tells_now_and_then() -> None:
    clock = ScaledClock(scale=10_000)
    told: list[str] = []
    until = clock.now() + 300

    def look() -> str | None:
        return "DELETING" if clock.now() < until else None

    Poller(clock, told.append).until("queue ravne-spot to be deleted", look)
    assert clock.now() >= until
    assert set(told) == {"waiting for queue ravne-spot to be deleted: DELETING"}
    assert 1 <= len(told) <= 10  # at most each half minute


def test_what_needs_no_waiting_is_not_told() -> None:
    told: list[str] = []
    Poller(ScaledClock(), told.append).until("anything", lambda: None)
    assert told == []


def test_waiting_does_not_go_on_for_ever() -> None:
    waiting = Poller(ScaledClock(scale=100_000), lambda _: None)
    with pytest.raises(RavneError, match=r"waited 30 minutes for it: CREATING: .*run the same"):
        waiting.until("it", lambda: "CREATING: no reason yet")


@pytest.mark.parametrize(
    ("wanted", "there", "differing"),
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
        "what AWS adds does not matter",
        "another value",
        "no value",
        "lists in another order are the same",
        "a list with more in it is another",
        "a list with something else in it is another",
        "what AWS adds further in does not matter",
        "another value further in",
        "what AWS adds to the items of a list does not matter",
        "another item",
    ],
)
def test_only_what_was_asked_for_is_compared(
    wanted: dict[str, Any], there: dict[str, Any], differing: dict[str, Any]
) -> None:
    assert differences(wanted, there) == differing


def test_a_state_is_told_with_awss_reason_in_one_line() -> None:
    assert describe_status({"status": "CREATING"}) == "CREATING"
    assert describe_status({"status": "INVALID", "statusReason": "CLIENT_ERROR -\n no role"}) == (
        "INVALID: CLIENT_ERROR - no role"
    )
