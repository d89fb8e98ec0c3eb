"""The lifecycle policy in Dagster: an asset that applies it, and a check that looks every day."""

from typing import Any

import dagster as dg

from resources.retention.bucket_policy import LifecycleStatus, StorageLifecycle
from resources.settings.dagster_resource import RunSettings
from resources.settings.profile import Profile

RULE_COLUMNS = [dg.TableColumn(name) for name in ("rule", "what it does", "was")]


@dg.asset(
    group_name="odin",
    kinds={"s3"},
    description="The bucket's lifecycle rules, made what the profile's storage.lifecycle says: "
    "when footage moves to cheaper classes, when old versions go. Rules of others stay.",
)
def storage_lifecycle(settings: RunSettings) -> dg.MaterializeResult[Any]:
    steps: list[str] = []
    before = _policy(settings.load()).apply(steps.append)
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
    description="The bucket's rules are those of the profile, and no other rule takes away what "
    "runs read.",
)
def rules_in_force(settings: RunSettings) -> dg.AssetCheckResult:
    found = _policy(settings.load()).status()
    return dg.AssetCheckResult(
        passed=not (found.drift or found.dangers),
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join([*(_told(rule) for rule in found.drift), *found.dangers]) or None,
        metadata={"lifecycle/bucket": found.bucket, "lifecycle/rules": _table(found)},
    )


CHECK_JOB = dg.define_asset_job(
    "storage_lifecycle_check",
    selection=dg.AssetSelection.checks(rules_in_force),
    description="Look whether the bucket's lifecycle rules are still those of the profile.",
)
DAILY = dg.ScheduleDefinition(
    name="storage_lifecycle_daily",
    job=CHECK_JOB,
    cron_schedule="17 5 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


def _policy(profile: Profile) -> StorageLifecycle:
    # Only a profile with a cloud has these definitions; a run may name another one.
    if profile.cloud is None:
        raise dg.Failure("the profile has no cloud section: nothing of it is stored on S3")
    return StorageLifecycle(profile.cloud.aws, profile.storage.lifecycle)


def _told(rule: Any) -> str:
    return f"{rule.name} {rule.state}" + (f" ({rule.detail})" if rule.detail else "")


def _table(found: LifecycleStatus) -> dg.TableMetadataValue:
    rows = [
        {"rule": rule.name, "what it does": rule.what, "was": _told(rule).partition(" ")[2]}
        for rule in found.rules
    ]
    records = [dg.TableRecord(row) for row in rows]
    return dg.MetadataValue.table(records, dg.TableSchema(RULE_COLUMNS))
