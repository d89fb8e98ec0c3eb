"""Cost Explorer takes a cent for each answer: it is asked once in eight hours."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest
from compute_rig import SharedClients, aws_settings, running_sandbox

from resources.errors import RavneError
from resources.ledger.aws_bill import AwsBill
from resources.ledger.cost_explorer import BILL_CACHE_SECONDS, current_month_bill
from resources.sandbox.model.config import SandboxConfig
from resources.sandbox.sandbox import Sandbox
from resources.sandbox.wire.protocol import AwsRequest

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0


@dataclass
class HandClock:
    time: float = NOON

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, wake: Event | None = None) -> bool:
        self.time += seconds
        return False


@dataclass
class Asked:
    """An account, whose Cost Explorer's questions are counted."""

    clients: SharedClients
    clock: HandClock
    folder: Path
    bodies: list[dict[str, object]] = field(default_factory=list)

    def bill(self, name: str = "ravne") -> AwsBill:
        return current_month_bill(self.clients, name, self.folder)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox(SandboxConfig()) as sandbox:
        yield sandbox


@pytest.fixture
def asked(sandbox: Sandbox, tmp_path: Path) -> Iterator[Asked]:
    clients, clock = SharedClients(aws_settings(sandbox)), HandClock()
    clients.clock = clock
    found = Asked(clients, clock, tmp_path)

    def note(request: AwsRequest) -> None:
        if request.service == "ce":
            found.bodies.append(request.json())

    sandbox.on_request = note
    yield found
    sandbox.on_request = lambda request: None


def test_an_answer_is_kept_for_eight_hours_and_then_asked_anew(asked: Asked) -> None:
    first = asked.bill()
    asked.clock.sleep(BILL_CACHE_SECONDS - 1)
    assert asked.bill() == first
    assert len(asked.bodies) == 1
    asked.clock.sleep(2)
    assert asked.bill().asked_at == asked.clock.now()
    assert len(asked.bodies) == 2


def test_it_is_asked_for_the_month_so_far_today_among_it_and_by_the_tag(asked: Asked) -> None:
    bill = asked.bill()
    [body] = asked.bodies
    assert body["TimePeriod"] == {
        "Start": "2026-11-01",
        "End": "2026-11-30",
    }  # the end is not in it
    assert body["Filter"] == {"Tags": {"Key": "Project", "Values": ["ravne"]}}
    assert bill.since == datetime(2026, 11, 1, tzinfo=UTC).timestamp()


def test_a_new_month_is_asked_for_however_young_the_last_ones_answer_is(asked: Asked) -> None:
    asked.clock.time = datetime(2026, 11, 30, 23, tzinfo=UTC).timestamp()
    asked.bill()
    asked.clock.sleep(2 * HOUR)
    assert asked.bill().since == datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert len(asked.bodies) == 2


def test_what_is_set_up_under_another_name_has_an_answer_of_its_own(asked: Asked) -> None:
    assert asked.bill("ravne").tag == "Project=ravne"
    assert asked.bill("crows").tag == "Project=crows"
    assert len(asked.bodies) == 2


@pytest.mark.parametrize("kept", ["{", '{"tag": "of another version"}'])
def test_a_kept_answer_that_cannot_be_read_is_asked_for_again(asked: Asked, kept: str) -> None:
    (asked.folder / "cost-explorer-ravne.json").write_text(kept)
    assert asked.bill().asked_at == NOON
    assert asked.bill().asked_at == NOON and len(asked.bodies) == 1


def test_an_account_that_does_not_allow_it_is_told_what_to_do(
    asked: Asked, sandbox: Sandbox
) -> None:
    sandbox.inject("denied", "ce", "GetCostAndUsage")
    with pytest.raises(RavneError, match="allow ce:GetCostAndUsage, and open Cost Explorer once"):
        asked.bill()
