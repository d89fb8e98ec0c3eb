"""Which objects of the bucket move to a cheaper class, and when: rules made from the profile.

Footage alone moves: it is large, and looked at once. Results, tables, journals, launches and models
stay where they can be read at once, since every later run reads them.

An object moves only if it is large enough for the move to pay. With t the price of moving one
object, o what S3 bills for an archived object's own index (in USD per month), p the prices of a
GB-month before and after, and m the months that it then lies there, moving pays from

    bytes = (t + o m) / ((p_before - p_after) m) * 2**30

on. To infrequent access m is the time until Glacier; in Glacier footage is taken to lie for a year.
With the prices that ship for eu-north-1 and moves after 30 and 90 days that is 499 KiB and 328 KiB,
rounded up to the next 64 KiB. Sources: the price table; the index of 32 KiB at Glacier's price
and 8 KiB at Standard's, and the 128 KiB that infrequent access bills at least ("Understanding
and managing Amazon S3 storage classes", S3 user guide).
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from resources.pricing.prices import GIB, PriceBook
from resources.settings.profile import Lifecycle
from resources.storage.layout import FOOTAGE_FOLDER

# Begins the ids of our rules. All others are somebody else's, and stay as they are.
MANAGED_ID_PREFIX = "odins-ravne/"
INCOMPLETE_DAYS = 7  # a copy that was broken off is gone on with in this time
DAYS_PER_MONTH = Decimal(30)
MONTHS_IN_GLACIER = Decimal(12)
LEAST_BILLED = Decimal(128 * 1024)
STEP = Decimal(64 * 1024)
# Parts of an archived object's index, in bytes.
INDEX_IN_GLACIER, INDEX_IN_STANDARD = Decimal(32 * 1024), Decimal(8 * 1024)
# Classes that must be asked for an object before it can be read.
ARCHIVE_CLASSES = {"GLACIER", "DEEP_ARCHIVE"}

Rule = dict[str, Any]  # as S3 takes and tells it


@dataclass(frozen=True)
class MinimumSizes:
    """From how many bytes on moving an object pays."""

    to_ia: int
    to_glacier: int


def minimum_sizes(lifecycle: Lifecycle, book: PriceBook) -> MinimumSizes:
    """The break-even of both moves; see above.

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
        # Most of it comes from infrequent access, where there is less to save.
        (ia - glacier) * MONTHS_IN_GLACIER,
    )
    return MinimumSizes(to_ia, to_glacier)


def _move(book: PriceBook, item: str) -> Decimal:
    return book.rate(item).usd / 1000


def _break_even(usd_per_object: Decimal, usd_per_gib: Decimal) -> int:
    size = max(LEAST_BILLED, usd_per_object / usd_per_gib * GIB)
    return int((size / STEP).to_integral_value(ROUND_CEILING) * STEP)


def lifecycle_rules(lifecycle: Lifecycle, least: MinimumSizes) -> list[Rule]:
    """The rules of a profile, as PutBucketLifecycleConfiguration takes them."""
    return [
        _moves("footage-to-ia", lifecycle.transition_to_ia, "STANDARD_IA", least.to_ia),
        _moves("footage-to-glacier", lifecycle.transition_to_glacier, "GLACIER", least.to_glacier),
        _rule(
            "old-versions",
            NoncurrentVersionExpiration={"NoncurrentDays": lifecycle.delete_old_versions},
            # A deleted object leaves a marker, which nothing else takes away.
            Expiration={"ExpiredObjectDeleteMarker": True},
        ),
        _rule(
            "incomplete-uploads",
            AbortIncompleteMultipartUpload={"DaysAfterInitiation": INCOMPLETE_DAYS},
        ),
    ]


def _moves(name: str, days: int, storage_class: str, least_bytes: int) -> Rule:
    rule = _rule(name, Transitions=[{"Days": days, "StorageClass": storage_class}])
    # S3 compares with "greater than".
    rule["Filter"] = {"And": {"Prefix": FOOTAGE_FOLDER, "ObjectSizeGreaterThan": least_bytes - 1}}
    return rule


def _rule(name: str, **actions: Any) -> Rule:
    return {"ID": MANAGED_ID_PREFIX + name, "Status": "Enabled", "Filter": {"Prefix": ""}, **actions}


def is_managed(rule: Rule) -> bool:
    """Whether this house made a rule."""
    return str(rule.get("ID", "")).startswith(MANAGED_ID_PREFIX)


def with_filter(rule: Rule) -> Rule:
    """The same rule without the old key Prefix, which S3 takes only where no rule has a filter."""
    if "Prefix" not in rule:
        return rule
    rest = {key: value for key, value in rule.items() if key != "Prefix"}
    return {**rest, "Filter": {"Prefix": rule["Prefix"]}}


def rule_risk(rule: Rule) -> str | None:
    """What somebody else's rule would do to what is in use; None if nothing.

    In use is all but footage. A rule for some tags or sizes alone counts as one for all.
    """
    if rule.get("Status") != "Enabled" or rule_prefix(rule).startswith(FOOTAGE_FOLDER):
        return None
    moves = {move.get("StorageClass") for move in rule.get("Transitions", [])} & ARCHIVE_CLASSES
    expires = rule.get("Expiration", {}).keys() & {"Days", "Date"}
    where = rule_prefix(rule) or "the whole bucket"
    if moves:
        return f"rule {rule.get('ID', '?')} archives results and models ({where}), which runs read"
    if expires:
        return f"rule {rule.get('ID', '?')} deletes results and models ({where}) in time"
    return None


def rule_prefix(rule: Rule) -> str:
    """Where a rule holds; empty: in the whole bucket."""
    chosen = with_filter(rule).get("Filter") or {}
    return str(chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or "")


def rule_differences(wanted: Rule, there: Rule) -> list[str]:
    """What of a rule is not as wanted, in words, as `Days 60 instead of 30`."""
    expected, found = _leaves(wanted), _leaves(with_filter(there))
    return [
        f"{name.rpartition('.')[2]} {found.get(name, 'missing')} instead of "
        f"{expected.get(name, 'nothing')}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]


def _leaves(tree: Any, name: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        pairs = [(f"{name}.{key}", value) for key, value in tree.items()]
    elif isinstance(tree, list):
        pairs = [(f"{name}.{number}", value) for number, value in enumerate(tree)]
    else:
        return {name: tree}
    return {leaf: value for key, below in pairs for leaf, value in _leaves(below, key).items()}
