"""Compare the bucket's lifecycle rules with the profile, and apply the profile's rules.

Needs the same permissions as the setup of compute (the policy NAME-operator). Rules that are not
managed are never changed, but are reported if they archive or delete objects that runs read.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from resources.aws.clients import AwsClients
from resources.aws.errors import error_code, translate_aws_errors
from resources.compute.parts import OnStep
from resources.compute.foundation import DEPLOY_HINT, find_foundation
from resources.errors import RavneError
from resources.pricing.prices import PriceBook
from resources.pricing.sources import shipped_prices
from resources.retention.rules import (
    MANAGED_ID_PREFIX,
    Rule,
    rule_risk,
    rule_differences,
    with_filter,
    is_managed,
    minimum_sizes,
    lifecycle_rules,
)
from resources.settings.profile import Aws, Lifecycle

# Its prices are used for a region without shipped prices.
OTHER_REGION = "us-east-1"

CLASS_NAMES = {"STANDARD_IA": "infrequent access", "GLACIER": "Glacier"}

RuleState = Literal["as wanted", "missing", "differs", "not wanted"]


@dataclass(frozen=True)
class RuleStatus:
    """The status of a managed rule.

    Args:
        what: description; empty for a rule that the profile does not have.
        detail: how it differs.
    """

    name: str
    state: RuleState
    what: str
    detail: str = ""


@dataclass(frozen=True)
class LifecycleStatus:
    """The status of a bucket's rules.

    Args:
        others: ids of unmanaged rules.
        dangers: how those harm objects that runs read.
        remarks: on the prices from which the sizes were computed.
    """

    bucket: str
    rules: tuple[RuleStatus, ...]
    others: tuple[str, ...]
    dangers: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def drift(self) -> tuple[RuleStatus, ...]:
        """The managed rules that differ from the profile."""
        return tuple(rule for rule in self.rules if rule.state != "as wanted")

    def as_json(self) -> dict[str, Any]:
        """Return the status as JSON data."""
        return {**asdict(self), "as_wanted": not self.drift}


class StorageLifecycle:
    """The lifecycle policy of a profile, on its bucket. All methods are idempotent.

    Args:
        clients: created from `aws` by default.

    Example:
        ```python
        StorageLifecycle(aws, profile.storage.lifecycle).apply(print)
        ```
    """

    def __init__(self, aws: Aws, lifecycle: Lifecycle, clients: AwsClients | None = None) -> None:
        self._aws = aws
        self._clients = clients or AwsClients(aws)
        book, self._remarks = _prices(aws.region)
        self._wanted = lifecycle_rules(lifecycle, minimum_sizes(lifecycle, book))
        self._remedy = f"ask an administrator to attach the policy {aws.name}-operator"

    def status(self) -> LifecycleStatus:
        """Compare the bucket's rules with the profile.

        Raises:
            RavneError: there is no bucket, AWS refuses, or cannot be reached.
        """
        with translate_aws_errors("cost lifecycle", self._remedy):
            found, _ = find_foundation(self._clients, self._aws)
            rules = self._there(found.bucket, found.account).get("Rules", [])
        return self._status(found.bucket, rules)

    def apply(self, on_step: OnStep) -> LifecycleStatus:
        """Set the managed rules to those of the profile; other rules stay.

        Args:
            on_step: called with each change.

        Returns:
            The status before: its `drift` is what was changed.

        Raises:
            RavneError: see `status`.
        """
        with translate_aws_errors("cost lifecycle", self._remedy):
            found, _ = find_foundation(self._clients, self._aws)
            told = self._there(found.bucket, found.account)
            before = self._status(found.bucket, told.get("Rules", []))
            if before.drift:
                self._put(found.bucket, found.account, told)
        for rule in before.drift:
            on_step(f"lifecycle rule {rule.name}: {_change(rule)}")
        return before

    def _there(self, bucket: str, account: str) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        try:
            answer: dict[str, Any] = self._clients.of("s3").get_bucket_lifecycle_configuration(
                Bucket=bucket, ExpectedBucketOwner=account
            )
        except ClientError as error:
            if error_code(error) == "NoSuchLifecycleConfiguration":
                return {}
            if error_code(error) == "NoSuchBucket":
                raise RavneError(f"bucket {bucket} is not there: {DEPLOY_HINT}") from None
            raise
        return answer

    def _put(self, bucket: str, account: str, told: dict[str, Any]) -> None:
        kept = [with_filter(rule) for rule in told.get("Rules", []) if not is_managed(rule)]
        # Left out, it would be set to S3's default for others' rules as well.
        least = "TransitionDefaultMinimumObjectSize"
        self._clients.of("s3").put_bucket_lifecycle_configuration(
            Bucket=bucket,
            ExpectedBucketOwner=account,
            LifecycleConfiguration={"Rules": [*kept, *self._wanted]},
            **({least: told[least]} if told.get(least) else {}),
        )

    def _status(self, bucket: str, rules: list[Rule]) -> LifecycleStatus:
        ours = {rule["ID"]: rule for rule in rules if is_managed(rule)}
        others = [rule for rule in rules if not is_managed(rule)]
        wanted = {rule["ID"]: rule for rule in self._wanted}
        states = [_state(rule, ours.get(key)) for key, rule in wanted.items()]
        states += [_not_wanted(rule) for key, rule in ours.items() if key not in wanted]
        return LifecycleStatus(
            bucket,
            tuple(states),
            tuple(str(rule.get("ID", "(no id)")) for rule in others),
            tuple(text for text in map(rule_risk, others) if text),
            self._remarks,
        )


def _prices(region: str) -> tuple[PriceBook, tuple[str, ...]]:
    book = shipped_prices(region)
    if book.quotes:
        return book, ()
    remark = f"no shipped storage prices of {region}; minimum sizes are those of {OTHER_REGION}"
    return shipped_prices(OTHER_REGION), (remark,)


def _state(wanted: Rule, there: Rule | None) -> RuleStatus:
    name, what = wanted["ID"].removeprefix(MANAGED_ID_PREFIX), describe_rule(wanted)
    if there is None:
        return RuleStatus(name, "missing", what)
    differs = rule_differences(wanted, there)
    if not differs:
        return RuleStatus(name, "as wanted", what)
    return RuleStatus(name, "differs", what, "; ".join(differs))


def _not_wanted(there: Rule) -> RuleStatus:
    return RuleStatus(there["ID"].removeprefix(MANAGED_ID_PREFIX), "not wanted", describe_rule(there))


def describe_rule(rule: Rule) -> str:
    """Describe what a managed rule does."""
    parts = []
    for move in rule.get("Transitions", []):
        size = rule.get("Filter", {}).get("And", {}).get("ObjectSizeGreaterThan")
        least = f" of {(size + 1) // 1024} KiB and more" if size is not None else ""
        place = CLASS_NAMES.get(move["StorageClass"], move["StorageClass"])
        parts.append(f"footage{least} to {place} after {move.get('Days')} days")
    if days := rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays"):
        parts.append(f"overwritten and deleted versions are deleted after {days} days")
    if days := rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"):
        parts.append(f"unfinished uploads are deleted after {days} days")
    return "; ".join(parts)


def _change(rule: RuleStatus) -> str:
    changes = {
        "missing": "created",
        "differs": f"corrected ({rule.detail})",
        "not wanted": "deleted",
    }
    return changes[rule.state]
