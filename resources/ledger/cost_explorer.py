"""AWS's own bill of this month, from Cost Explorer: by the tag Project, by service.

Each request costs USD 0.01 (AWS Cost Management pricing), a third of the cost of a small camera,
and the answer changes a few times a day. So the answer is cached for some hours.
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

BILL_CACHE_SECONDS = 8 * 3600
COST_METRIC = "UnblendedCost"


def current_month_bill(clients: AwsClients, name: str, cache_folder: Path) -> AwsBill:
    """Return AWS's bill of resources with the tag, since the first of the month, UTC.

    Args:
        name: the value of the tag Project.
        cache_folder: a folder for the cached answer.

    Raises:
        RavneError: AWS denies the request or does not answer.
    """
    now = clients.clock.now()
    today = datetime.fromtimestamp(now, UTC)
    first = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    store, key = LocalStore(cache_folder), f"cost-explorer-{name}.json"
    cached = _load_cache(store, key)
    is_fresh = cached is not None and 0 <= now - cached.asked_at < BILL_CACHE_SECONDS
    if cached and is_fresh and cached.since == first.timestamp():
        return cached
    services = _request(clients, name, first, today + timedelta(days=1))
    bill = AwsBill(tag=f"Project={name}", since=first.timestamp(), asked_at=now, services=services)
    store.write_bytes(key, bill.model_dump_json(indent=1).encode())
    return bill


def _load_cache(store: LocalStore, key: str) -> AwsBill | None:
    if not store.exists(key):
        return None
    try:
        return AwsBill.model_validate_json(store.read_bytes(key))
    except ValidationError:
        return None  # another version's, or damaged: request the bill again


def _request(clients: AwsClients, name: str, start: datetime, end: datetime) -> dict[str, Decimal]:
    """USD by service; the day of `end` is excluded."""
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
                f"Cost Explorer did not return AWS's bill ({error}); allow ce:GetCostAndUsage, and "
                "open Cost Explorer once in the console, which enables it"
            ) from None
        for period in answer["ResultsByTime"]:
            for group in period["Groups"]:
                sums[group["Keys"][0]] += Decimal(group["Metrics"][COST_METRIC]["Amount"])
        next_page = answer.get("NextPageToken")
        if not next_page:
            return dict(sums)
        token = {"NextPageToken": next_page}
