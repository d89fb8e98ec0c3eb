"""Cost Explorer charges a cent per request: its answer is cached for eight hours."""

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
class ManualClock:
    time: float = NOON

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, wake: Event | None = None) -> bool:
        self.time += seconds
        return False


@dataclass
class Account:
    """An account with recorded requests to Cost Explorer."""

    clients: SharedClients
    clock: ManualClock
    folder: Path
    bodies: list[dict[str, object]] = field(default_factory=list)

    def bill(self, name: str = "ravne") -> AwsBill:
        return current_month_bill(self.clients, name, self.folder)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox(SandboxConfig()) as sandbox:
        yield sandbox


@pytest.fixture
def account(sandbox: Sandbox, tmp_path: Path) -> Iterator[Account]:
    clients, clock = SharedClients(aws_settings(sandbox)), ManualClock()
    clients.clock = clock
    account = Account(clients, clock, tmp_path)

    def record(request: AwsRequest) -> None:
        if request.service == "ce":
            account.bodies.append(request.json())

    sandbox.on_request = record
    yield account
    sandbox.on_request = lambda request: None


def test_an_answer_is_cached_for_eight_hours(account: Account) -> None:
    first = account.bill()
    account.clock.sleep(BILL_CACHE_SECONDS - 1)
    assert account.bill() == first
    assert len(account.bodies) == 1
    account.clock.sleep(2)
    assert account.bill().asked_at == account.clock.now()
    assert len(account.bodies) == 2


def test_the_request_covers_the_month_including_today_and_filters_by_the_tag(
    account: Account,
) -> None:
    bill = account.bill()
    [body] = account.bodies
    assert body["TimePeriod"] == {
        "Start": "2026-11-01",
        "End": "2026-11-30",
    }  # exclusive
    assert body["Filter"] == {"Tags": {"Key": "Project", "Values": ["ravne"]}}
    assert bill.since == datetime(2026, 11, 1, tzinfo=UTC).timestamp()


def test_the_cache_is_not_used_in_a_new_month(account: Account) -> None:
    account.clock.time = datetime(2026, 11, 30, 23, tzinfo=UTC).timestamp()
    account.bill()
    account.clock.sleep(2 * HOUR)
    assert account.bill().since == datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert len(account.bodies) == 2


def test_each_tag_has_a_separate_cache(account: Account) -> None:
    assert account.bill("ravne").tag == "Project=ravne"
    assert account.bill("crows").tag == "Project=crows"
    assert len(account.bodies) == 2


@pytest.mark.parametrize("cached", ["{", '{"tag": "of another version"}'])
def test_a_cache_that_cannot_be_read_is_replaced(account: Account, cached: str) -> None:
    (account.folder / "cost-explorer-ravne.json").write_text(cached)
    assert account.bill().asked_at == NOON
    assert account.bill().asked_at == NOON and len(account.bodies) == 1


def test_a_denied_request_raises_an_error_with_a_remedy(account: Account, sandbox: Sandbox) -> None:
    sandbox.inject("denied", "ce", "GetCostAndUsage")
    with pytest.raises(RavneError, match="allow ce:GetCostAndUsage, and open Cost Explorer once"):
        account.bill()
