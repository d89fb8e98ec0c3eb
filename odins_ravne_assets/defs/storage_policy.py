"""The storage lifecycle policy in Dagster: an asset that applies it, and a daily check of it."""

from typing import Any

import dagster as dg

from resources.retention.bucket_policy import LifecycleStatus, RuleStatus
from resources.retention.dagster_resource import StorageLifecyclePolicyResource

RULE_COLUMNS = [dg.TableColumn(name) for name in ("rule", "what it does", "was")]


@dg.asset(
    group_name="odin",
    kinds={"s3"},
    description="The bucket's lifecycle rules, set to the resource storage_policy: when footage "
    "moves to cheaper storage classes, when old versions are deleted. Rules of others stay.",
)
def storage_lifecycle(storage_policy: StorageLifecyclePolicyResource) -> dg.MaterializeResult[Any]:
    steps: list[str] = []
    before = storage_policy.open().apply(steps.append)
    return dg.MaterializeResult(
        metadata={
            "lifecycle/bucket": before.bucket,
            "lifecycle/changes": len(steps),
            "lifecycle/rules": _table(before),
            "lifecycle/remarks": dg.MetadataValue.text("\n".join(before.remarks) or "none"),
        }
    )


@dg.asset_check(
    asset=storage_lifecycle,
    description="The bucket's lifecycle rules are those of the resource storage_policy, and no "
    "other rule archives or deletes files that runs read.",
)
def rules_in_force(storage_policy: StorageLifecyclePolicyResource) -> dg.AssetCheckResult:
    found = storage_policy.open().status()
    drift = [f"{rule.name} {_state(rule)}" for rule in found.drift]
    return dg.AssetCheckResult(
        passed=not (found.drift or found.dangers),
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join([*drift, *found.dangers]) or None,
        metadata={"lifecycle/bucket": found.bucket, "lifecycle/rules": _table(found)},
    )


CHECK_JOB = dg.define_asset_job(
    "storage_lifecycle_check",
    selection=dg.AssetSelection.checks(rules_in_force),
    description="Checks that the bucket's lifecycle rules are those of the profile.",
)
DAILY = dg.ScheduleDefinition(
    name="storage_lifecycle_daily",
    job=CHECK_JOB,
    cron_schedule="17 5 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


def _state(rule: RuleStatus) -> str:
    return rule.state + (f" ({rule.detail})" if rule.detail else "")


def _table(found: LifecycleStatus) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord({"rule": rule.name, "what it does": rule.what, "was": _state(rule)})
        for rule in found.rules
    ]
    return dg.MetadataValue.table(records, dg.TableSchema(RULE_COLUMNS))
