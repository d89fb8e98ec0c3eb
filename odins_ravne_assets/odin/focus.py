"""The costs as FOCUS 1.2, the FinOps Foundation's format for bills, as CSV.

A row is a charge: a row of the ledger, or a class of storage in this month. Spot is what FOCUS
calls Dynamic pricing. ListCost is what the same would cost on demand, EffectiveCost what is paid;
so 1 - sum(EffectiveCost) / sum(ListCost) is the rate saving. There is no contract: ContractedCost
is ListCost, as the specification has it then. Columns of our own begin with `x_`. Specification:
FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec, version 1.2 (May 2025).
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from odins_ravne_assets.odin.row_times import with_row_times
from odins_ravne_assets.odin.storage_costs import StorageCosts, StoredLine
from odins_ravne_assets.odin.storage_prices import StoragePrices
from resources.pricing.prices import GIB

Charge = dict[str, Any]  # by column; None is FOCUS's null

HOUR_SECONDS = Decimal(3600)
AWS_PROVIDER, OWN_MACHINE = "AWS", "own machine"
INVOICE_ISSUER = "Amazon Web Services"
# Kind of row -> ServiceCategory, ServiceSubcategory, ServiceName, ResourceType, what it is.
FOCUS_SERVICES = {
    "attempt": ("Compute", "Virtual Machines", "Amazon Elastic Compute Cloud", "Instance", "work"),
    "overhead": (
        "Compute",
        "Virtual Machines",
        "Amazon Elastic Compute Cloud",
        "Instance",
        "boot and idle time",
    ),
    "disk": ("Storage", "Block Storage", "Amazon Elastic Block Store", "Volume", "disk"),
    "address": (
        "Networking",
        "Network Connectivity",
        "Amazon Virtual Private Cloud",
        "Public IPv4 address",
        "public address",
    ),
    "requests": (
        "Storage",
        "Object Storage",
        "Amazon Simple Storage Service",
        "Bucket",
        "requests to S3",
    ),
    "logs": (
        "Management and Governance",
        "Observability",
        "Amazon CloudWatch",
        "Log group",
        "logs",
    ),
    "transfer": (
        "Storage",
        "Object Storage",
        "Amazon Simple Storage Service",
        "Bucket",
        "transfer out of AWS",
    ),
    "storage": ("Storage", "Object Storage", "Amazon Simple Storage Service", "Bucket", "storage"),
}
# Kinds that are not paid by the hour.
DAILY_KINDS = ("requests", "transfer", "logs")
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
    """Whose bill it is.

    Args:
        account_id: the account's twelve digits.
        name: of what is set up in it, its tag Project.
    """

    account_id: str
    name: str


def focus_csv(
    rows: pl.DataFrame,
    storage: StorageCosts | None,
    prices: StoragePrices | None,
    payer: BillingAccount,
    now: float,
) -> str:
    """The charges as CSV, oldest first; what cost nothing, and would have, is left out.

    Args:
        rows: of `cost_ledger.SCHEMA`.
        now: seconds since 1970 UTC; until then is charged what goes on.
    """
    charges = list(_of_ledger(with_row_times(rows, now), payer))
    if storage and prices:
        charges += _of_storage(storage, prices, payer, now)
    text = io.StringIO()
    writer = csv.DictWriter(text, FOCUS_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for charge in sorted(charges, key=lambda each: str(each["ChargePeriodStart"])):
        writer.writerow({name: _written(value) for name, value in charge.items()})
    return text.getvalue()


def _written(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _of_ledger(rows: pl.DataFrame, payer: BillingAccount) -> Iterator[Charge]:
    for row in rows.iter_rows(named=True):
        if not (row["usd"] or row["usd_on_demand"]):
            continue
        quantity, unit = _quantity(row)
        start, end = _period(row)
        yield {
            **_who(payer, local=row["market"] == "local"),
            **_what(row["kind"], _described(row)),
            **_when(start, end),
            **_costs(row["usd"], row["usd_on_demand"], quantity, unit),
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
            "x_Interrupted": row["end"] == "interrupted",
            "x_JobId": row["job_id"],
            "x_Lane": row["queue"],
            "x_Launch": row["launch"],
            "x_Reason": row["reason"],
            "x_WastedCost": row["usd_wasted"],
            "x_WastedReason": row["wasted_why"],
        }


def _is_spot(row: Charge) -> bool:
    return row["market"] == "spot" and row["kind"] in ("attempt", "overhead")


def _quantity(row: Charge) -> tuple[Decimal, str]:
    if row["kind"] == "requests":
        return Decimal((row["requests_put"] or 0) + (row["requests_get"] or 0)), "Requests"
    if row["kind"] == "transfer":
        return round(Decimal(row["bytes_read"]) / GIB, 10), "GB"
    if row["kind"] == "logs":
        return Decimal(1), "Launches"
    return round(Decimal(row["billed_seconds"] or 0) / HOUR_SECONDS, 10), "Hours"


def _period(row: Charge) -> tuple[datetime, datetime]:
    """What a row was paid for: whole seconds, the end not part of it; what is not paid by time, its
    day."""
    if row["kind"] in DAILY_KINDS:
        day = datetime.combine(row["moment"].date(), time(), UTC)
        return day, day + timedelta(days=1)
    begin = row["started_at"] or row["machine_launched_at"] or row["moment"]
    start = begin.astimezone(UTC).replace(microsecond=0)
    end = row["moment"].astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
    return start, end


def _described(row: Charge) -> str:
    what = FOCUS_SERVICES[row["kind"]][4]
    if row["kind"] in DAILY_KINDS:
        return f"{what} of camera {row['camera_id']}"
    machine = row["instance_type"] or OWN_MACHINE
    camera = f" for camera {row['camera_id']}" if row["camera_id"] else ""
    return f"{what} of {machine}{camera}"


def _of_storage(
    storage: StorageCosts, prices: StoragePrices, payer: BillingAccount, now: float
) -> Iterator[Charge]:
    """A charge for each class, from the first of the month until today."""
    today = datetime.combine(datetime.fromtimestamp(now, UTC).date(), time(), UTC)
    for line in storage.lines:
        if line.usd_this_month:
            yield _of_class(line, prices.month[line.storage_class].usd, payer, today)


def _of_class(line: StoredLine, price: Decimal, payer: BillingAccount, today: datetime) -> Charge:
    quantity = line.usd_this_month / price
    old = ", old versions" if line.old else ""
    what = f"{line.area} in S3 class {line.storage_class}{old}"
    return {
        **_who(payer, local=False),
        **_what("storage", what),
        **_when(today.replace(day=1), today),
        **_costs(line.usd_this_month, line.usd_this_month, quantity, "GB-Months"),
        "PricingCategory": "Standard",
        "x_Estimated": True,
    }


def _who(payer: BillingAccount, local: bool) -> Charge:
    return {
        "BillingAccountId": OWN_MACHINE if local else payer.account_id,
        "BillingAccountName": payer.name,
        "BillingCurrency": "USD",
        "InvoiceIssuerName": OWN_MACHINE if local else INVOICE_ISSUER,
        "ProviderName": OWN_MACHINE if local else AWS_PROVIDER,
        "PublisherName": OWN_MACHINE if local else AWS_PROVIDER,
        "Tags": json.dumps({"Project": payer.name}),
    }


def _what(kind: str, description: str) -> Charge:
    category, subcategory, service, resource, _ = FOCUS_SERVICES[kind]
    return {
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": description,
        "ChargeFrequency": "Usage-Based",
        "ResourceType": resource,
        "ServiceCategory": category,
        "ServiceSubcategory": subcategory,
        "ServiceName": service,
        "x_Kind": kind,
    }


def _when(start: datetime, end: datetime) -> Charge:
    first = start.replace(day=1, hour=0, minute=0, second=0)
    return {
        "BillingPeriodStart": first,
        "BillingPeriodEnd": (first + timedelta(days=32)).replace(day=1),
        "ChargePeriodStart": start,
        "ChargePeriodEnd": end,
    }


def _costs(usd: Decimal, list_usd: Decimal, quantity: Decimal, unit: str) -> Charge:
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
