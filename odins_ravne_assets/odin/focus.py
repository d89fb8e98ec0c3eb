"""The costs as CSV in FOCUS 1.2, the FinOps Foundation's format for bills.

A row is a charge: a row of the ledger, or a storage class in this month. FOCUS calls spot prices
Dynamic pricing. ListCost is the cost on demand, EffectiveCost the amount paid; so
1 - sum(EffectiveCost) / sum(ListCost) is the rate saving. Without a contract, ContractedCost is
ListCost, as the specification demands. Additional columns begin with `x_`. Specification:
FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec, version 1.2 (May 2025).
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import polars as pl

from odins_ravne_assets.odin.formatting import HOUR_SECONDS
from odins_ravne_assets.odin.row_times import with_row_times
from odins_ravne_assets.odin.storage_costs import StorageCosts, StoredLine
from odins_ravne_assets.odin.storage_prices import StoragePrices
from odins_ravne_assets.odin.totals import MACHINE_TIME_KINDS
from resources.batch.outcome import AttemptOutcome
from resources.pricing.prices import GIB, CostKind, Market
from resources.printable import printable
from resources.spreadsheets.formula_marks import mark

Charge = dict[str, Any]  # values by column; None is FOCUS's null

AWS_PROVIDER, OWN_MACHINE = "AWS", "own machine"
INVOICE_ISSUER = "Amazon Web Services"
STORAGE_CHARGE = "storage"


class FocusService(NamedTuple):
    """FOCUS's classification of a kind of cost, and its description."""

    category: str
    subcategory: str
    name: str
    resource_type: str
    description: str


def _ec2(description: str) -> FocusService:
    name = "Amazon Elastic Compute Cloud"
    return FocusService("Compute", "Virtual Machines", name, "Instance", description)


def _s3(description: str) -> FocusService:
    name = "Amazon Simple Storage Service"
    return FocusService("Storage", "Object Storage", name, "Bucket", description)


FOCUS_SERVICES: dict[str, FocusService] = {
    CostKind.ATTEMPT: _ec2("work"),
    CostKind.OVERHEAD: _ec2("boot and idle time"),
    CostKind.DISK: FocusService(
        "Storage", "Block Storage", "Amazon Elastic Block Store", "Volume", "disk"
    ),
    CostKind.ADDRESS: FocusService(
        "Networking",
        "Network Connectivity",
        "Amazon Virtual Private Cloud",
        "Public IPv4 address",
        "public address",
    ),
    CostKind.REQUESTS: _s3("requests to S3"),
    CostKind.LOGS: FocusService(
        "Management and Governance", "Observability", "Amazon CloudWatch", "Log group", "logs"
    ),
    CostKind.TRANSFER: _s3("transfer out of AWS"),
    STORAGE_CHARGE: _s3("storage"),
}
# Kinds that are not billed by the hour; their charge period is a day.
DAILY_KINDS = (CostKind.REQUESTS, CostKind.TRANSFER, CostKind.LOGS)
FOCUS_COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "AvailabilityZone",
    "ResourceId",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "Tags",
    "x_Attempt",
    "x_CameraId",
    "x_End",
    "x_Estimated",
    "x_Frames",
    "x_Images",
    "x_InstanceType",
    "x_Interrupted",
    "x_JobId",
    "x_Kind",
    "x_Lane",
    "x_Launch",
    "x_Reason",
    "x_WastedCost",
    "x_WastedReason",
)


@dataclass(frozen=True)
class BillingAccount:
    """The account that is billed.

    Args:
        account_id: its twelve digits.
        name: value of the tag Project.
    """

    account_id: str
    name: str


def focus_csv(
    rows: pl.DataFrame,
    storage: StorageCosts | None,
    prices: StoragePrices | None,
    account: BillingAccount,
    now: float,
) -> str:
    """Return the charges as CSV, oldest first. Rows without costs, also on demand, are left out.

    Args:
        rows: of LEDGER_SCHEMA.
        now: seconds since 1970 UTC; the end of charges that have not ended.
    """
    charges = list(_ledger_charges(with_row_times(rows, now), account))
    if storage and prices:
        charges += _storage_charges(storage, prices, account, now)
    text = io.StringIO()
    writer = csv.DictWriter(text, FOCUS_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for charge in sorted(charges, key=lambda each: str(each["ChargePeriodStart"])):
        writer.writerow({name: _text(value) for name, value in charge.items()})
    return text.getvalue()


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return ""
    # People open the file in a spreadsheet, and reasons and names come from outside.
    return mark(printable(value)) if isinstance(value, str) else str(value)


def _ledger_charges(rows: pl.DataFrame, account: BillingAccount) -> Iterator[Charge]:
    for row in rows.iter_rows(named=True):
        if not (row["usd"] or row["usd_on_demand"]):
            continue
        quantity, unit = _quantity(row)
        start, end = _period(row)
        yield {
            **_account_columns(account, local=row["market"] == Market.LOCAL),
            **_service_columns(row["kind"], _description(row)),
            **_period_columns(start, end),
            **_cost_columns(row["usd"], row["usd_on_demand"], quantity, unit),
            "PricingCategory": "Dynamic" if _is_spot(row) else "Standard",
            "RegionId": row["region"],
            "AvailabilityZone": row["zone"],
            "ResourceId": row["instance_id"],
            "x_Attempt": row["attempt"],
            "x_CameraId": row["camera_id"],
            "x_End": row["end"],
            "x_Estimated": row["estimated"],
            "x_Frames": row["frames"],
            "x_Images": row["images"],
            "x_InstanceType": row["instance_type"],
            "x_Interrupted": row["end"] == AttemptOutcome.INTERRUPTED,
            "x_JobId": row["job_id"],
            "x_Lane": row["queue"],
            "x_Launch": row["launch"],
            "x_Reason": row["reason"],
            "x_WastedCost": row["usd_wasted"],
            "x_WastedReason": row["wasted_why"],
        }


def _is_spot(row: Charge) -> bool:
    return row["market"] == Market.SPOT and row["kind"] in MACHINE_TIME_KINDS


def _quantity(row: Charge) -> tuple[Decimal, str]:
    if row["kind"] == CostKind.REQUESTS:
        return Decimal((row["requests_put"] or 0) + (row["requests_get"] or 0)), "Requests"
    if row["kind"] == CostKind.TRANSFER:
        return round(Decimal(row["bytes_read"]) / GIB, 10), "GB"
    if row["kind"] == CostKind.LOGS:
        return Decimal(1), "Launches"
    return round(Decimal(row["billed_seconds"] or 0) / HOUR_SECONDS, 10), "Hours"


def _period(row: Charge) -> tuple[datetime, datetime]:
    """The charge period: whole seconds, the end excluded; of DAILY_KINDS, the day."""
    if row["kind"] in DAILY_KINDS:
        day = datetime.combine(row["row_time"].date(), time(), UTC)
        return day, day + timedelta(days=1)
    begin = row["started_at"] or row["machine_launched_at"] or row["row_time"]
    start = begin.astimezone(UTC).replace(microsecond=0)
    end = row["row_time"].astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
    return start, end


def _description(row: Charge) -> str:
    description = FOCUS_SERVICES[row["kind"]].description
    if row["kind"] in DAILY_KINDS:
        return f"{description} of camera {row['camera_id']}"
    machine = row["instance_type"] or OWN_MACHINE
    camera = f" for camera {row['camera_id']}" if row["camera_id"] else ""
    return f"{description} of {machine}{camera}"


def _storage_charges(
    storage: StorageCosts, prices: StoragePrices, account: BillingAccount, now: float
) -> Iterator[Charge]:
    """A charge per storage class, from the first of the month until today."""
    today = datetime.combine(datetime.fromtimestamp(now, UTC).date(), time(), UTC)
    for line in storage.lines:
        if line.usd_this_month:
            yield _storage_charge(line, prices.monthly[line.storage_class].usd, account, today)


def _storage_charge(
    line: StoredLine, price: Decimal, account: BillingAccount, today: datetime
) -> Charge:
    quantity = line.usd_this_month / price
    old = ", old versions" if line.old else ""
    description = f"{line.area} in S3 class {line.storage_class}{old}"
    return {
        **_account_columns(account, local=False),
        **_service_columns(STORAGE_CHARGE, description),
        **_period_columns(today.replace(day=1), today),
        **_cost_columns(line.usd_this_month, line.usd_this_month, quantity, "GB-Months"),
        "PricingCategory": "Standard",
        "x_Estimated": True,
    }


def _account_columns(account: BillingAccount, local: bool) -> Charge:
    return {
        "BillingAccountId": OWN_MACHINE if local else account.account_id,
        "BillingAccountName": account.name,
        "BillingCurrency": "USD",
        "InvoiceIssuerName": OWN_MACHINE if local else INVOICE_ISSUER,
        "ProviderName": OWN_MACHINE if local else AWS_PROVIDER,
        "PublisherName": OWN_MACHINE if local else AWS_PROVIDER,
        "Tags": json.dumps({"Project": account.name}),
    }


def _service_columns(kind: str, description: str) -> Charge:
    service = FOCUS_SERVICES[kind]
    return {
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": description,
        "ChargeFrequency": "Usage-Based",
        "ResourceType": service.resource_type,
        "ServiceCategory": service.category,
        "ServiceSubcategory": service.subcategory,
        "ServiceName": service.name,
        "x_Kind": kind,
    }


def _period_columns(start: datetime, end: datetime) -> Charge:
    first = start.replace(day=1, hour=0, minute=0, second=0)
    return {
        "BillingPeriodStart": first,
        "BillingPeriodEnd": (first + timedelta(days=32)).replace(day=1),
        "ChargePeriodStart": start,
        "ChargePeriodEnd": end,
    }


def _cost_columns(usd: Decimal, list_usd: Decimal, quantity: Decimal, unit: str) -> Charge:
    price = list_usd / quantity if quantity else Decimal(0)
    return {
        "BilledCost": usd,
        "EffectiveCost": usd,
        "ListCost": list_usd,
        "ContractedCost": list_usd,
        "ListUnitPrice": price,
        "ContractedUnitPrice": price,
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
    }
