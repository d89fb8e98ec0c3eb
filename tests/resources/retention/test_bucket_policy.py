"""The lifecycle policy: its rules, their drift, and unmanaged rules."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest
from botocore.exceptions import ClientError
from compute_rig import running_sandbox
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from odins_ravne_assets.cli.main import app
from odins_ravne_assets.defs.storage_policy import rules_in_force, storage_lifecycle
from resources.aws.clients import AwsClients
from resources.errors import RavneError
from resources.pricing.sources import shipped_prices
from resources.retention.bucket_policy import StorageLifecycle
from resources.retention.dagster_resource import StorageLifecyclePolicyResource
from resources.retention.rules import (
    INDEX_IN_GLACIER,
    INDEX_IN_STANDARD,
    MANAGED_ID_PREFIX,
    lifecycle_rules,
    minimum_sizes,
    rule_prefix,
    rule_risk,
)
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import SandboxConfig, data_bucket
from resources.sandbox.sandbox import Sandbox
from resources.settings.profile import Aws
from resources.settings.stored_data import Lifecycle
from resources.storage.layout import FOOTAGE_FOLDER

BUCKET = data_bucket("ravne")
BOOK = shipped_prices("eu-north-1")
THEIRS = {
    "ID": "keep-logs-a-year",
    "Status": "Enabled",
    "Filter": {"Prefix": "logs/"},
    "Expiration": {"Days": 365},
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox(SandboxConfig(scale=60)) as sandbox:
        prepare_foundation(
            AwsClients(Aws(endpoint_url=sandbox.endpoint_url)), "ravne", "eu-north-1"
        )
        yield sandbox


@pytest.fixture
def aws(sandbox: Sandbox) -> Aws:
    return Aws(endpoint_url=sandbox.endpoint_url, clock_url=sandbox.clock_url)


@pytest.fixture
def s3(aws: Aws) -> Iterator[Any]:
    """S3, with no rules on the bucket before and after."""
    client = AwsClients(aws).of("s3")
    yield client
    client.delete_bucket_lifecycle(Bucket=BUCKET)


def rules_of(s3: Any) -> dict[str, dict[str, Any]]:
    answer = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)
    return {rule["ID"]: rule for rule in answer["Rules"]}


def put(s3: Any, *rules: dict[str, Any], **more: Any) -> None:
    given = {"Rules": list(rules)}
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=given, **more)


# Which objects move


def test_with_the_shipped_prices_a_move_pays_from_half_a_mebibyte_on() -> None:
    minimum = minimum_sizes(Lifecycle(), BOOK)
    assert (minimum.to_ia, minimum.to_glacier) == (512 * 1024, 384 * 1024)


@given(st.integers(30, 400), st.integers(30, 3000))
@settings(max_examples=60, deadline=None)
def test_an_object_of_the_minimum_size_is_cheaper_after_the_move(ia: int, later: int) -> None:
    lifecycle = Lifecycle(transition_to_ia=ia, transition_to_glacier=ia + later)
    minimum = minimum_sizes(lifecycle, BOOK)
    price = {item: BOOK.rate(item).usd for item in ("s3-standard", "s3-standard-ia", "s3-glacier")}
    gib, months = Decimal(minimum.to_ia) / 2**30, Decimal(later) / 30
    left = gib * price["s3-standard"] * months
    moved = gib * price["s3-standard-ia"] * months + BOOK.rate("s3-transition-to-ia").usd / 1000
    assert moved <= left
    gib, year = Decimal(minimum.to_glacier) / 2**30, Decimal(12)
    index = INDEX_IN_GLACIER * price["s3-glacier"] + INDEX_IN_STANDARD * price["s3-standard"]
    archived = (gib * price["s3-glacier"] + index / 2**30) * year
    archived += BOOK.rate("s3-transition-to-glacier").usd / 1000
    assert archived <= gib * price["s3-standard-ia"] * year


def test_only_footage_moves_and_no_managed_rule_deletes_current_versions() -> None:
    for rule in lifecycle_rules(Lifecycle(), minimum_sizes(Lifecycle(), BOOK)):
        if "Transitions" in rule:
            assert rule_prefix(rule) == FOOTAGE_FOLDER
        assert not rule.get("Expiration", {}).keys() & {"Days", "Date"}
        assert rule_risk(rule) is None


@pytest.mark.parametrize(
    ("rule", "action"),
    [
        ({"Filter": {"Prefix": ""}, "Transitions": [{"StorageClass": "GLACIER"}]}, "archives"),
        ({"Filter": {"Prefix": "results/"}, "Expiration": {"Days": 9}}, "deletes"),
        ({"Prefix": "models/", "Transitions": [{"StorageClass": "DEEP_ARCHIVE"}]}, "archives"),
    ],
)
def test_an_unmanaged_rule_that_harms_results_is_reported(
    rule: dict[str, Any], action: str
) -> None:
    risk = rule_risk({"ID": "theirs", "Status": "Enabled", **rule})
    assert risk is not None and "theirs" in risk and action in risk
    assert rule_risk({"ID": "theirs", "Status": "Disabled", **rule}) is None


# The bucket


def test_apply_creates_the_rules_of_the_profile_and_is_idempotent(aws: Aws, s3: Any) -> None:
    policy, steps = StorageLifecycle(aws, Lifecycle()), list[str]()
    assert {rule.state for rule in policy.status().rules} == {"missing"}
    policy.apply(steps.append)
    assert len(steps) == 4
    assert policy.status().drift == ()
    rules = rules_of(s3)
    assert rules[f"{MANAGED_ID_PREFIX}footage-to-glacier"]["Transitions"] == [
        {"Days": 90, "StorageClass": "GLACIER"}
    ]
    assert rules[f"{MANAGED_ID_PREFIX}footage-to-ia"]["Filter"] == {
        "And": {"Prefix": "footage/", "ObjectSizeGreaterThan": 512 * 1024 - 1}
    }
    assert rules[f"{MANAGED_ID_PREFIX}old-versions"]["NoncurrentVersionExpiration"] == {
        "NoncurrentDays": 30
    }
    assert policy.apply(steps.append).drift == () and len(steps) == 4


def test_unmanaged_rules_and_the_minimum_object_size_stay(aws: Aws, s3: Any) -> None:
    old_form = {**THEIRS, "Prefix": "logs/"}
    del old_form["Filter"]
    minimum = "varies_by_storage_class"
    put(s3, old_form, TransitionDefaultMinimumObjectSize=minimum)
    policy = StorageLifecycle(aws, Lifecycle())
    policy.apply(lambda _: None)
    assert rules_of(s3)[THEIRS["ID"]] == THEIRS
    answer = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)
    assert answer["TransitionDefaultMinimumObjectSize"] == minimum
    assert policy.status().others == (THEIRS["ID"],)


def test_changed_and_surplus_rules_are_drift_and_are_corrected(aws: Aws, s3: Any) -> None:
    StorageLifecycle(aws, Lifecycle()).apply(lambda _: None)
    rules = rules_of(s3)
    rules[f"{MANAGED_ID_PREFIX}incomplete-uploads"]["Status"] = "Disabled"
    put(s3, *rules.values(), {**THEIRS, "ID": f"{MANAGED_ID_PREFIX}of-an-earlier-version"})
    policy, steps = StorageLifecycle(aws, Lifecycle(transition_to_glacier=180)), list[str]()
    drift = {rule.name: (rule.state, rule.detail) for rule in policy.status().drift}
    assert drift["footage-to-glacier"] == ("differs", "Days 90 instead of 180")
    assert drift["incomplete-uploads"] == ("differs", "Status Disabled instead of Enabled")
    assert drift["of-an-earlier-version"][0] == "not wanted"
    policy.apply(steps.append)
    assert policy.status().drift == ()
    assert "lifecycle rule footage-to-glacier: corrected (Days 90 instead of 180)" in steps


def test_a_region_without_shipped_prices_uses_sizes_of_another_with_a_remark(aws: Aws) -> None:
    far = aws.model_copy(update={"region": "eu-west-2"})
    [remark] = StorageLifecycle(far, Lifecycle(), AwsClients(aws)).status().remarks
    assert "eu-west-2" in remark and "us-east-1" in remark


def test_the_error_for_a_missing_bucket_names_the_command_that_creates_it(aws: Aws) -> None:
    nobodys = aws.model_copy(update={"name": "nobodys"})
    with pytest.raises(RavneError, match=r"bucket nobodys-data-\d+ does not exist: .*foundation"):
        StorageLifecycle(nobodys, Lifecycle()).status()


# S3's validation, which the sandbox has too


def test_the_sandbox_refuses_what_s3_refuses(s3: Any) -> None:
    def moving(days: int, storage_class: str, name: str) -> dict[str, Any]:
        move = {"Days": days, "StorageClass": storage_class}
        return {**lifecycle_rules(Lifecycle(), minimum_sizes(Lifecycle(), BOOK))[0],
                "ID": name, "Transitions": [move]}  # fmt: skip

    for rules in (
        [moving(10, "STANDARD_IA", "a")],
        [moving(30, "STANDARD_IA", "a"), moving(40, "GLACIER", "b")],
        [moving(30, "STANDARD_IA", "a"), moving(60, "GLACIER", "a")],
        [THEIRS, {"ID": "b", "Status": "Enabled", "Prefix": "", "Expiration": {"Days": 3}}],
    ):
        with pytest.raises(ClientError, match="Invalid"):
            put(s3, *rules)


# The command and the UI


def test_the_command_shows_drift_and_corrects_it(
    aws: Aws, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUNIN_CLOUD__AWS__ENDPOINT_URL", str(aws.endpoint_url))
    monkeypatch.setenv("MUNIN_CLOUD__AWS__CLOCK_URL", str(aws.clock_url))
    munin = CliRunner()
    words = ["--profile", "sandbox", "cost", "lifecycle"]
    found = munin.invoke(app, words)
    assert found.exit_code == 0 and "missing" in found.stdout
    assert "munin --profile sandbox cost lifecycle --apply" in found.stdout
    done = munin.invoke(app, [*words, "--apply", "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["as_wanted"] and found["bucket"] == BUCKET


def test_the_check_reports_drift_and_the_asset_corrects_it(aws: Aws, s3: Any) -> None:
    resources = {"storage_policy": StorageLifecyclePolicyResource.from_profile(aws, Lifecycle())}
    before = dg.materialize(
        [rules_in_force, storage_lifecycle], selection=dg.AssetSelection.checks(rules_in_force),
        resources=resources,
    )  # fmt: skip
    [found] = before.get_asset_check_evaluations()
    assert not found.passed and "footage-to-glacier missing" in str(found.description)
    after = dg.materialize([storage_lifecycle, rules_in_force], resources=resources)
    [found] = after.get_asset_check_evaluations()
    assert found.passed
    [materialization] = after.asset_materializations_for_node("storage_lifecycle")
    assert materialization.metadata["lifecycle/changes"].value == 4


def test_the_asset_applies_the_policy_of_the_resource_that_its_run_is_given(
    aws: Aws, s3: Any
) -> None:
    lifecycle = Lifecycle(transition_to_ia=45, transition_to_glacier=180)
    policy = StorageLifecyclePolicyResource.from_profile(aws, lifecycle)
    assert policy.aws() == aws and policy.lifecycle() == lifecycle
    dg.materialize([storage_lifecycle], resources={"storage_policy": policy})
    stored = rules_of(s3)
    assert stored[f"{MANAGED_ID_PREFIX}footage-to-ia"]["Transitions"][0]["Days"] == 45
    assert stored[f"{MANAGED_ID_PREFIX}footage-to-glacier"]["Transitions"][0]["Days"] == 180
