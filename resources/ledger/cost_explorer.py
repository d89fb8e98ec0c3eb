"""AWS's own bill of this month, from Cost Explorer: by the tag Project, by service.

Each question costs USD 0.01 (AWS Cost Management pricing), a third of what a small camera costs;
and the answer changes a few times a day. So it is kept, and asked again after some hours.
"""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from resources.aws.clients import AwsClients
from resources.errors import RavneError
from resources.ledger.aws_bill import AwsBill
from resources.storage.local_store import LocalStore

QUESTION_USD = Decimal("0.01")
BILL_CACHE_SECONDS = 8 * 3600
COST_METRIC = "UnblendedCost"


def current_month_bill(clients: AwsClients, name: str, kept_in: Path) -> AwsBill:
    """What AWS has billed since the first of the month, UTC, for what carries the tag.

    Args:
        name: the value of the tag Project.
        kept_in: a folder for the answer.

    Raises:
        RavneError: AWS refuses, or cannot be reached.
    """
    now = clients.clock.now()
    today = datetime.fromtimestamp(now, UTC)
    first = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    store, key = LocalStore(kept_in), f"cost-explorer-{name}.json"
    kept = _kept(store, key)
    if kept and kept.since == first.timestamp() and 0 <= now - kept.asked_at < BILL_CACHE_SECONDS:
        return kept
    services = _asked(clients, name, first, today + timedelta(days=1))
    bill = AwsBill(tag=f"Project={name}", since=first.timestamp(), asked_at=now, services=services)
    store.write_bytes(key, bill.model_dump_json(indent=1).encode())
    return bill


def _kept(store: LocalStore, key: str) -> AwsBill | None:
    if not store.exists(key):
        return None
    try:
        return AwsBill.model_validate_json(store.read_bytes(key))
    except ValidationError:
        return None  # of another version, or damaged: AWS is asked again


def _asked(clients: AwsClients, name: str, start: datetime, end: datetime) -> dict[str, Decimal]:
    """USD by service; the end's day is not part of it."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    token: dict[str, str] = {}
    while True:
        try:
            answer = clients.of("ce").get_cost_and_usage(
                TimePeriod={"Start": f"{start:%Y-%m-%d}", "End": f"{end:%Y-%m-%d}"},
                Granularity="MONTHLY",
                Metrics=[COST_METRIC],
                Filter={"Tags": {"Key": "Project", "Values": [name]}},
                GroupBy=[{"Type": "DIMENSION", "Key": "SERVICE"}],
                **token,
            )
        except (ClientError, BotoCoreError) as error:
            raise RavneError(
                f"Cost Explorer did not tell AWS's bill ({error}); allow ce:GetCostAndUsage, and "
                "open Cost Explorer once in the console, which turns it on"
            ) from None
        for span in answer["ResultsByTime"]:
            for group in span["Groups"]:
                sums[group["Keys"][0]] += Decimal(group["Metrics"][COST_METRIC]["Amount"])
        next_page = answer.get("NextPageToken")
        if not next_page:
            return dict(sums)
        token = {"NextPageToken": next_page}
