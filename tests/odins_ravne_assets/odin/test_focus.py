"""The FOCUS file follows the rules of the specification (FOCUS 1.2, columns and attributes)."""

import csv
import io
import json
import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from cost_rows import EXAMPLE, NOON, SECOND, ledger, row

from odins_ravne_assets.odin.focus import FOCUS_COLUMNS, BillingAccount, focus_csv
from odins_ravne_assets.odin.storage_costs import storage_costs
from odins_ravne_assets.odin.storage_prices import find_storage_prices
from resources.pricing.sources import shipped_prices
from tests.odins_ravne_assets.odin.test_storage_costs import RULES, stored

# Mandatory columns of 1.2, and those that may be null.
MANDATORY = {
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
}
NULLABLE = {"ChargeClass"}
# Allowed values by the specification.
ALLOWED = {
    "BillingCurrency": {"USD"},
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"", "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"Standard", "Dynamic", "Committed", "Other"},
    "ServiceCategory": {"Compute", "Storage", "Networking"},
    "ServiceSubcategory": {
        "Virtual Machines",
        "Block Storage",
        "Object Storage",
        "Network Connectivity",
    },
}
NUMBERS = (
    "BilledCost",
    "ConsumedQuantity",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "ListCost",
    "ListUnitPrice",
    "PricingQuantity",
)
TIMES = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
ROUNDING = Decimal("1e-8")

Charge = dict[str, str]


@pytest.fixture(scope="module")
def charges() -> list[Charge]:
    """The example, work on the own machine, an attempt that never ran, and storage."""
    own = row(**SECOND | {"market": "local", "usd": "0.02", "billed_seconds": 720.0})
    never = row(unit=4, attempt="never", end="cancelled", intended_at=NOON)
    prices = find_storage_prices(shipped_prices("eu-north-1"))
    assert prices is not None
    now = NOON.timestamp()
    storage = storage_costs([stored(15)], prices, RULES, now)
    rows = ledger(*EXAMPLE, own, never)
    text = focus_csv(rows, storage, prices, BillingAccount("123456789012", "ravne"), now)
    return list(csv.DictReader(io.StringIO(text)))


def test_mandatory_columns_exist_and_have_values(charges: list[Charge]) -> None:
    assert set(FOCUS_COLUMNS) >= MANDATORY
    for charge in charges:
        empty = {name for name in MANDATORY - NULLABLE if not charge[name]}
        assert not empty


def test_additional_columns_begin_with_x() -> None:
    assert all(re.fullmatch(r"x_[A-Z][A-Za-z]+|[A-Z][A-Za-z]+", name) for name in FOCUS_COLUMNS)
    assert len(set(FOCUS_COLUMNS)) == len(FOCUS_COLUMNS)


@pytest.mark.parametrize("column", ALLOWED)
def test_values_are_allowed_by_the_specification(charges: list[Charge], column: str) -> None:
    assert {charge[column] for charge in charges} <= ALLOWED[column]


def test_numbers_are_plain_decimals(charges: list[Charge]) -> None:
    for charge in charges:
        for name in NUMBERS:
            assert re.fullmatch(r"-?\d+(\.\d+)?", charge[name]), name


def test_times_are_utc_and_charges_are_within_their_billing_period(charges: list[Charge]) -> None:
    for charge in charges:
        times = {name: datetime.strptime(charge[name], "%Y-%m-%dT%H:%M:%SZ") for name in TIMES}
        assert times["ChargePeriodStart"] < times["ChargePeriodEnd"]
        start, end = times["BillingPeriodStart"], times["BillingPeriodEnd"]
        assert start <= times["ChargePeriodStart"] and times["ChargePeriodEnd"] <= end
        assert (start.day, end.day, start.hour) == (1, 1, 0)


def test_unit_prices_times_quantities_are_the_costs(charges: list[Charge]) -> None:
    for charge in charges:
        quantity = Decimal(charge["PricingQuantity"])
        for kind in ("List", "Contracted"):
            product = Decimal(charge[f"{kind}UnitPrice"]) * quantity
            assert abs(product - Decimal(charge[f"{kind}Cost"])) < ROUNDING


def test_without_a_contract_the_contracted_cost_is_the_list_cost(charges: list[Charge]) -> None:
    assert all(charge["ContractedCost"] == charge["ListCost"] for charge in charges)


def test_tags_are_a_json_object_and_empty_is_null(charges: list[Charge]) -> None:
    assert {charge["Tags"] for charge in charges} == {json.dumps({"Project": "ravne"})}
    assert not any(value in ("None", "null", "NULL") for each in charges for value in each.values())


def test_rows_without_any_cost_are_no_charges(charges: list[Charge]) -> None:
    assert "never" not in {charge["x_Attempt"] for charge in charges}


def test_the_sum_of_effective_costs_is_the_ledgers_total_with_storage(
    charges: list[Charge],
) -> None:
    by_kind = {
        kind: sum(Decimal(each["EffectiveCost"]) for each in charges if each["x_Kind"] == kind)
        for kind in {each["x_Kind"] for each in charges}
    }
    storage = Decimal(by_kind.pop("storage"))
    assert sum(by_kind.values()) == Decimal("0.19741") + Decimal("0.02")
    assert storage == pytest.approx(15 * 12 / Decimal("365.25") * Decimal("2.30"))


def test_rate_savings_follow_from_effective_and_list_cost(charges: list[Charge]) -> None:
    spot = [each for each in charges if each["PricingCategory"] == "Dynamic"]
    paid = sum(Decimal(each["EffectiveCost"]) for each in spot)
    on_demand = sum(Decimal(each["ListCost"]) for each in spot)
    assert 1 - paid / on_demand == pytest.approx(Decimal("0.7983"), abs=Decimal("1e-4"))


def test_a_free_machine_has_its_list_cost(charges: list[Charge]) -> None:
    [free] = [each for each in charges if each["x_Interrupted"] == "true"]
    assert (free["EffectiveCost"], Decimal(free["ListCost"])) == ("0.0000000000", Decimal("0.3348"))
    assert Decimal(free["ListUnitPrice"]) == Decimal("0.558")


def test_the_own_machine_is_not_billed_by_aws(charges: list[Charge]) -> None:
    [own] = [each for each in charges if each["ProviderName"] == "own machine"]
    assert own["BillingAccountId"] == "own machine"
    assert Decimal(own["EffectiveCost"]) == Decimal("0.02")


def test_a_day_of_requests_ends_within_its_month() -> None:
    last = datetime(2026, 11, 30, 23, 50, tzinfo=UTC)
    rows = ledger(row(**SECOND | {"ended_at": last}), row("requests", usd="0.01", requests_put=9))
    text = focus_csv(rows, None, None, BillingAccount("123456789012", "ravne"), last.timestamp())
    [charge] = list(csv.DictReader(io.StringIO(text)))
    assert charge["ChargePeriodEnd"] == charge["BillingPeriodEnd"] == "2026-12-01T00:00:00Z"


def test_a_name_that_a_spreadsheet_would_run_is_marked_and_no_number_is() -> None:
    rows = ledger(row(**SECOND | {"usd": "-0.01"}))
    text = focus_csv(rows, None, None, BillingAccount("123456789012", "=1+1"), NOON.timestamp())
    [charge] = list(csv.DictReader(io.StringIO(text)))
    assert charge["BillingAccountName"] == "'=1+1"
    assert Decimal(charge["EffectiveCost"]) == Decimal("-0.01")
