"""The stored state of the checks for idle compute."""

import pytest

from resources.compute.idle_rules import IdleState, LeaseRenewal


def test_the_cursor_of_release_0_1_0_is_read() -> None:
    state, problem = IdleState.read(
        '{"unused_since": 5.0, "unwatched_since": {"f": 4.0}, '
        '"holds": {"k": {"renewed_ns": 3, "seen_at": 2.0}}}'
    )
    lease = LeaseRenewal(renewed_ns=3, seen_at=2.0)
    expected = IdleState(unused_since=5.0, unwatched_since={"f": 4.0}, leases={"k": lease})
    assert (state, problem) == (expected, "")
    assert IdleState.read(state.model_dump_json()) == (state, "")


def test_no_cursor_is_a_new_state() -> None:
    assert IdleState.read(None) == (IdleState(), "")


@pytest.mark.parametrize(
    ("cursor", "problem"),
    [
        ("{", "Invalid JSON"),
        ("[]", "object"),
        ("null", "object"),
        ('{"version": 2}', "version"),
        ('{"unused_since": "yesterday"}', "unused_since"),
        ('{"holds": {"k": {}}}', "holds.k.renewed_ns"),
    ],
)
def test_a_cursor_that_cannot_be_read_begins_anew_with_the_reason(
    cursor: str, problem: str
) -> None:
    state, found = IdleState.read(cursor)
    assert state == IdleState()
    assert problem in found
