"""Costs of stored footage, calculated by hand with the price table of eu-north-1."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from odins_ravne_assets.odin.storage_costs import LifecycleRules, StorageCosts, storage_costs
from odins_ravne_assets.odin.storage_prices import find_storage_prices
from resources.pricing.sources import shipped_prices
from resources.retention.inventory import StoredDay
from resources.retention.rules import MIN_BILLED_BYTES, MinimumSizes
from resources.settings.stored_data import Lifecycle

TODAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
GB = 2**30
RULES = LifecycleRules(
    Lifecycle(transition_to_ia=30, transition_to_glacier=90, delete_old_versions=30),
    MinimumSizes(to_ia=2**19, to_glacier=2**18),
)
YEAR = Decimal("365.25")


def stored(days: int = 0, **changed: Any) -> StoredDay:
    """A thousand objects with a total of 100 GB, stored this many days ago."""
    defaults: dict[str, Any] = {
        "area": "footage",
        "storage_class": "STANDARD",
        "old": False,
        "day": TODAY - timedelta(days=days),
        "min_size": 2**19,
        "objects": 1000,
        "bytes": 100 * GB,
    }
    return StoredDay(**defaults | changed)


def costs(*days: StoredDay) -> StorageCosts:
    prices = find_storage_prices(shipped_prices("eu-north-1"))
    assert prices is not None
    return storage_costs(days, prices, RULES, NOW)


def test_a_month_of_a_hundred_gb_in_each_class() -> None:
    made = costs(
        stored(), stored(40, storage_class="STANDARD_IA"), stored(99, storage_class="GLACIER")
    )
    extra = Decimal(1000 * 32 * 1024) / GB * Decimal("0.0036")
    extra += Decimal(1000 * 8 * 1024) / GB * Decimal("0.023")
    assert {line.storage_class: line.usd_per_month for line in made.lines} == {
        "STANDARD": Decimal("2.30"),
        "STANDARD_IA": Decimal("1.25"),
        "GLACIER": Decimal("0.36") + extra,
    }
    assert made.usd_per_month == Decimal("3.91") + extra


def test_infrequent_access_bills_at_least_128_kib_per_object() -> None:
    small = {"storage_class": "STANDARD_IA", "min_size": 0, "objects": 8192, "bytes": 8192}
    [line] = costs(stored(40, **small)).lines
    assert 8192 * MIN_BILLED_BYTES == GB
    assert line.usd_per_month == Decimal("0.0125")


def test_a_class_without_a_price_is_listed_without_cost() -> None:
    made = costs(stored(storage_class="DEEP_ARCHIVE"))
    assert made.lines[0].usd_per_month is None and made.usd_per_month == 0


def test_without_known_prices_there_are_no_storage_prices() -> None:
    assert find_storage_prices(shipped_prices("ap-southeast-7")) is None


def test_objects_cost_each_class_for_its_days() -> None:
    made = costs(stored(40, storage_class="STANDARD_IA"))
    assert made.usd_so_far == 12 / YEAR * (30 * Decimal("2.30") + 10 * Decimal("1.25"))
    assert made.usd_this_month == 12 / YEAR * (9 * Decimal("2.30") + 10 * Decimal("1.25"))
    assert made.usd_rest_of_month == 12 / YEAR * 11 * Decimal("1.25")


def test_objects_stored_today_have_no_cost_yet() -> None:
    assert costs(stored()).usd_so_far == 0


def test_footage_becomes_cheaper_with_age_and_each_transition_is_paid_once() -> None:
    made = costs(stored())
    extra = Decimal(1000 * 32 * 1024) / GB * Decimal("0.0036")
    extra += Decimal(1000 * 8 * 1024) / GB * Decimal("0.023")
    glacier = Decimal("0.36") + extra
    whole = 12 / YEAR * (
        30 * Decimal("2.30") + 60 * Decimal("1.25") + (365 - 90) * glacier
    ) + Decimal("0.04")
    assert sum(month.usd_with_policy for month in made.ahead) == pytest.approx(whole)
    assert sum(month.usd_left_alone for month in made.ahead) == pytest.approx(
        12 / YEAR * 365 * Decimal("2.30")
    )
    assert made.ahead[11].usd_with_policy == pytest.approx(glacier, rel=Decimal("0.02"))


def test_overdue_footage_changes_its_class_at_once_and_only_to_the_last() -> None:
    first = costs(stored(200)).ahead[0]
    in_glacier = costs(stored(200, storage_class="GLACIER")).ahead[0]
    assert first.usd_with_policy == in_glacier.usd_with_policy + Decimal("0.03")


@pytest.mark.parametrize("changed", [{"area": "results"}, {"min_size": 0, "bytes": GB}])
def test_results_and_small_objects_stay_in_their_class(changed: dict[str, Any]) -> None:
    made = costs(stored(200, **changed))
    assert all(month.usd_with_policy == month.usd_left_alone for month in made.ahead)


def test_old_versions_are_deleted_after_their_days() -> None:
    made = costs(stored(10, area="results", old=True))
    assert made.lines[0].old
    assert made.ahead[0].usd_with_policy > 0
    assert {month.usd_with_policy for month in made.ahead[1:]} == {Decimal(0)}


def test_objects_too_small_for_infrequent_access_may_still_go_to_glacier() -> None:
    made = costs(stored(min_size=2**18))
    before = [float(month.usd_with_policy) for month in made.ahead[:2]]
    assert before == pytest.approx([2.30] * 2, rel=0.03)
    assert made.ahead[4].usd_with_policy < Decimal("0.37")


def test_downloading_all_results_has_a_cost_without_footage() -> None:
    made = costs(
        stored(), stored(area="results", bytes=GB), stored(area="results", bytes=GB, old=True)
    )
    assert made.usd_to_take_home == Decimal("0.09")
