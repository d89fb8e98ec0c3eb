"""Lifecycle rules from the profile: which objects move to a cheaper storage class, and when.

Only footage moves: it is large, and read once. Results, tables, journals, launches and models stay
immediately readable, since every later run reads them.

An object moves only if it is large enough for the move to pay. With t the price of moving one
object, o the price of an archived object's index (in USD per month), p the prices of a GB-month
before and after, and m the months that it is then stored, moving pays from

    bytes = (t + o m) / ((p_before - p_after) m) * 2**30

on. For infrequent access m is the time until Glacier; for Glacier it is assumed to be a year. With
the shipped prices of eu-north-1 and moves after 30 and 90 days that is 499 KiB and 328 KiB, rounded
up to the next 64 KiB. Sources: the price table; the index of 32 KiB at Glacier's price and 8 KiB at
Standard's, and the minimum of 128 KiB that infrequent access bills ("Understanding and managing
Amazon S3 storage classes", S3 user guide).
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from resources.pricing.prices import GIB, PriceBook
from resources.settings.stored_data import Lifecycle
from resources.storage.layout import FOOTAGE_FOLDER

# Prefix of the ids of managed rules. All others were created elsewhere, and are not changed.
MANAGED_ID_PREFIX = "odins-ravne/"
INCOMPLETE_DAYS = 7  # within this time an interrupted upload is resumed
DAYS_PER_MONTH = Decimal(30)
MONTHS_IN_GLACIER = Decimal(12)
MIN_BILLED_BYTES = Decimal(128 * 1024)
SIZE_STEP = Decimal(64 * 1024)
# Parts of an archived object's index, in bytes.
INDEX_IN_GLACIER, INDEX_IN_STANDARD = Decimal(32 * 1024), Decimal(8 * 1024)
# Classes whose objects must be restored before they can be read.
ARCHIVE_CLASSES = {"GLACIER", "DEEP_ARCHIVE"}

Rule = dict[str, Any]  # as in the S3 API


@dataclass(frozen=True)
class MinimumSizes:
    """The smallest objects, in bytes, for which a move pays."""

    to_ia: int
    to_glacier: int


def minimum_sizes(lifecycle: Lifecycle, book: PriceBook) -> MinimumSizes:
    """Compute the break-even sizes of both moves; see above.

    Raises:
        RavneError: the book lacks a price.
    """
    standard, ia, glacier = (
        book.rate(item).usd for item in ("s3-standard", "s3-standard-ia", "s3-glacier")
    )
    months = (lifecycle.transition_to_glacier - lifecycle.transition_to_ia) / DAYS_PER_MONTH
    index = (INDEX_IN_GLACIER * glacier + INDEX_IN_STANDARD * standard) / GIB
    to_ia = _break_even(_move(book, "s3-transition-to-ia"), (standard - ia) * months)
    to_glacier = _break_even(
        _move(book, "s3-transition-to-glacier") + index * MONTHS_IN_GLACIER,
        # Most objects come from infrequent access, where there is less to save.
        (ia - glacier) * MONTHS_IN_GLACIER,
    )
    return MinimumSizes(to_ia, to_glacier)


def _move(book: PriceBook, item: str) -> Decimal:
    return book.rate(item).usd / 1000


def _break_even(usd_per_object: Decimal, usd_per_gib: Decimal) -> int:
    size = max(MIN_BILLED_BYTES, usd_per_object / usd_per_gib * GIB)
    return int((size / SIZE_STEP).to_integral_value(ROUND_CEILING) * SIZE_STEP)


def lifecycle_rules(lifecycle: Lifecycle, sizes: MinimumSizes) -> list[Rule]:
    """Return the rules of a profile, as PutBucketLifecycleConfiguration takes them."""
    return [
        _transition("footage-to-ia", lifecycle.transition_to_ia, "STANDARD_IA", sizes.to_ia),
        _transition(
            "footage-to-glacier", lifecycle.transition_to_glacier, "GLACIER", sizes.to_glacier
        ),
        _rule(
            "old-versions",
            NoncurrentVersionExpiration={"NoncurrentDays": lifecycle.delete_old_versions},
            # A deleted object leaves a marker, which no other rule deletes.
            Expiration={"ExpiredObjectDeleteMarker": True},
        ),
        _rule(
            "incomplete-uploads",
            AbortIncompleteMultipartUpload={"DaysAfterInitiation": INCOMPLETE_DAYS},
        ),
    ]


def _transition(name: str, days: int, storage_class: str, min_size: int) -> Rule:
    rule = _rule(name, Transitions=[{"Days": days, "StorageClass": storage_class}])
    # S3 compares with "greater than".
    rule["Filter"] = {"And": {"Prefix": FOOTAGE_FOLDER, "ObjectSizeGreaterThan": min_size - 1}}
    return rule


def _rule(name: str, **actions: Any) -> Rule:
    return {
        "ID": MANAGED_ID_PREFIX + name,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        **actions,
    }


def is_managed(rule: Rule) -> bool:
    """Return True for a rule that this policy manages."""
    return str(rule.get("ID", "")).startswith(MANAGED_ID_PREFIX)


def with_filter(rule: Rule) -> Rule:
    """Convert the deprecated key Prefix to a Filter; S3 accepts only one of them in a bucket."""
    if "Prefix" not in rule:
        return rule
    rest = {key: value for key, value in rule.items() if key != "Prefix"}
    return {**rest, "Filter": {"Prefix": rule["Prefix"]}}


def rule_risk(rule: Rule) -> str | None:
    """Return how an unmanaged rule harms objects that runs read, or None.

    Runs read everything but footage. A rule for some tags or sizes counts as one for all objects.
    """
    if rule.get("Status") != "Enabled" or rule_prefix(rule).startswith(FOOTAGE_FOLDER):
        return None
    moves = {move.get("StorageClass") for move in rule.get("Transitions", [])} & ARCHIVE_CLASSES
    expires = rule.get("Expiration", {}).keys() & {"Days", "Date"}
    where = rule_prefix(rule) or "the whole bucket"
    if moves:
        return f"rule {rule.get('ID', '?')} archives results and models ({where}), which runs read"
    if expires:
        return f"rule {rule.get('ID', '?')} deletes results and models ({where})"
    return None


def rule_prefix(rule: Rule) -> str:
    """Return the prefix to which a rule applies; empty for the whole bucket."""
    rule_filter = with_filter(rule).get("Filter") or {}
    return str(rule_filter.get("Prefix") or rule_filter.get("And", {}).get("Prefix") or "")


def rule_differences(expected_rule: Rule, actual_rule: Rule) -> list[str]:
    """Describe how a rule differs from the expected one, as `Days 60 instead of 30`."""
    expected, actual = _leaves(expected_rule), _leaves(with_filter(actual_rule))
    return [
        f"{name.rpartition('.')[2]} {actual.get(name, 'missing')} instead of "
        f"{expected.get(name, 'nothing')}"
        for name in sorted(expected.keys() | actual.keys())
        if expected.get(name) != actual.get(name)
    ]


def _leaves(tree: Any, name: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        pairs = [(f"{name}.{key}", value) for key, value in tree.items()]
    elif isinstance(tree, list):
        pairs = [(f"{name}.{number}", value) for number, value in enumerate(tree)]
    else:
        return {name: tree}
    return {leaf: value for key, below in pairs for leaf, value in _leaves(below, key).items()}
