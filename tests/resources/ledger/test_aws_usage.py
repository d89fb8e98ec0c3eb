"""Parsing of EC2's instances, with the different texts of their end."""

from datetime import UTC, datetime
from typing import Any

import pytest

from resources.ledger.aws_usage import parse_machine

LAUNCHED = datetime(2026, 11, 1, 9, tzinfo=UTC)
NOW = LAUNCHED.timestamp() + 5000


def instance(state: str, transition: str = "", code: str = "", **more: Any) -> dict[str, Any]:
    return {
        "InstanceId": "i-1",
        "InstanceType": "g4dn.xlarge",
        "Placement": {"AvailabilityZone": "eu-north-1a"},
        "LaunchTime": LAUNCHED,
        "State": {"Name": state},
        "StateTransitionReason": transition,
        "StateReason": {"Code": code},
        **more,
    }


def test_a_running_machine_has_no_end() -> None:
    machine = parse_machine(instance("running", InstanceLifecycle="spot"), NOW)
    assert (machine.market, machine.ended, machine.seen_at) == ("spot", None, NOW)


def test_without_a_life_cycle_the_market_is_on_demand() -> None:
    assert parse_machine(instance("running"), NOW).market == "ondemand"


@pytest.mark.parametrize("zone", ["GMT", "UTC"])
def test_a_machine_that_was_scaled_in_has_a_known_end(zone: str) -> None:
    reason = f"User initiated (2026-11-01 10:00:00 {zone})"
    machine = parse_machine(instance("terminated", reason, "Client.UserInitiatedShutdown"), NOW)
    assert (machine.ended, machine.end_known, machine.taken) == (
        LAUNCHED.timestamp() + 3600,
        True,
        False,
    )


def test_an_interruption_is_recognized_with_or_without_a_time() -> None:
    code = "Server.SpotInstanceTermination"
    timed = parse_machine(instance("terminated", f"{code} (2026-11-01 10:00:00 GMT)", code), NOW)
    assert timed.taken and timed.end_known
    untimed = parse_machine(instance("shutting-down", code, code), NOW)
    assert untimed.taken and not untimed.end_known and untimed.ended == NOW
