"""Compare the bucket's lifecycle rules with the profile, and apply the profile's rules.

Needs the same permissions as the setup of compute (the policy NAME-operator). Rules that are not
managed are never changed, but are reported if they archive or delete objects that runs read.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from resources.aws.clients import AwsClients
from resources.aws.errors import error_code, translate_aws_errors
from resources.compute.foundation import DEPLOY_HINT, find_foundation
from resources.compute.parts import OnStep
from resources.errors import RavneError
from resources.pricing.prices import PriceBook
from resources.pricing.sources import shipped_prices
from resources.retention.rules import (
    MANAGED_ID_PREFIX,
    Rule,
    is_managed,
    lifecycle_rules,
    minimum_sizes,
    rule_differences,
    rule_risk,
    with_filter,
)
from resources.settings.profile import Aws
from resources.settings.stored_data import Lifecycle

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import (
        LifecycleRuleTypeDef,
        PutBucketLifecycleConfigurationRequestTypeDef,
    )

# Its prices are used for a region without shipped prices.
OTHER_REGION = "us-east-1"

CLASS_NAMES = {"STANDARD_IA": "infrequent access", "GLACIER": "Glacier"}

Configuration = dict[str, Any]  # as GetBucketLifecycleConfiguration returns it
RuleState = Literal["as wanted", "missing", "differs", "not wanted"]


@dataclass(frozen=True)
class RuleStatus:
    """The status of a managed rule.

    Args:
        what: description of its actions.
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
        self._expected = lifecycle_rules(lifecycle, minimum_sizes(lifecycle, book))
        self._remedy = f"ask an administrator to attach the policy {aws.name}-operator"

    def status(self) -> LifecycleStatus:
        """Compare the bucket's rules with the profile.

        Raises:
            RavneError: there is no bucket, AWS refuses, or cannot be reached.
        """
        with translate_aws_errors("cost lifecycle", self._remedy):
            found, _ = find_foundation(self._clients, self._aws)
            current = self._read(found.bucket, found.account)
        return self._status(found.bucket, current)

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
            current = self._read(found.bucket, found.account)
            before = self._status(found.bucket, current)
            if before.drift:
                self._write(found.bucket, found.account, current)
        for rule in before.drift:
            on_step(f"lifecycle rule {rule.name}: {_change(rule)}")
        return before

    def _read(self, bucket: str, account: str) -> Configuration:
        from botocore.exceptions import ClientError

        try:
            return dict(
                self._clients.of("s3").get_bucket_lifecycle_configuration(
                    Bucket=bucket, ExpectedBucketOwner=account
                )
            )
        except ClientError as error:
            if error_code(error) == "NoSuchLifecycleConfiguration":
                return {}
            if error_code(error) == "NoSuchBucket":
                raise RavneError(f"bucket {bucket} does not exist: {DEPLOY_HINT}") from None
            raise

    def _write(self, bucket: str, account: str, current: Configuration) -> None:
        others = [with_filter(rule) for rule in current.get("Rules", []) if not is_managed(rule)]
        rules = cast("list[LifecycleRuleTypeDef]", [*others, *self._expected])
        request: PutBucketLifecycleConfigurationRequestTypeDef = {
            "Bucket": bucket,
            "ExpectedBucketOwner": account,
            "LifecycleConfiguration": {"Rules": rules},
        }
        # Without it, S3 would reset it to its default, for unmanaged rules too.
        if minimum := current.get("TransitionDefaultMinimumObjectSize"):
            request["TransitionDefaultMinimumObjectSize"] = minimum
        self._clients.of("s3").put_bucket_lifecycle_configuration(**request)

    def _status(self, bucket: str, current: Configuration) -> LifecycleStatus:
        rules: list[Rule] = current.get("Rules", [])
        managed = {rule["ID"]: rule for rule in rules if is_managed(rule)}
        others = [rule for rule in rules if not is_managed(rule)]
        expected = {rule["ID"]: rule for rule in self._expected}
        statuses = [_rule_status(rule, managed.get(key)) for key, rule in expected.items()]
        statuses += [_not_wanted(rule) for key, rule in managed.items() if key not in expected]
        return LifecycleStatus(
            bucket,
            tuple(statuses),
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


def _rule_status(expected: Rule, actual: Rule | None) -> RuleStatus:
    name, what = expected["ID"].removeprefix(MANAGED_ID_PREFIX), describe_rule(expected)
    if actual is None:
        return RuleStatus(name, "missing", what)
    differences = rule_differences(expected, actual)
    if not differences:
        return RuleStatus(name, "as wanted", what)
    return RuleStatus(name, "differs", what, "; ".join(differences))


def _not_wanted(rule: Rule) -> RuleStatus:
    return RuleStatus(rule["ID"].removeprefix(MANAGED_ID_PREFIX), "not wanted", describe_rule(rule))


def describe_rule(rule: Rule) -> str:
    """Describe what a managed rule does."""
    parts = []
    for move in rule.get("Transitions", []):
        size = rule.get("Filter", {}).get("And", {}).get("ObjectSizeGreaterThan")
        minimum = f" of {(size + 1) // 1024} KiB and more" if size is not None else ""
        name = CLASS_NAMES.get(move["StorageClass"], move["StorageClass"])
        parts.append(f"footage{minimum} to {name} after {move.get('Days')} days")
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
