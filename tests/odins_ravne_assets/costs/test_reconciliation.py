"""Costs that are final only after a run are reported to the assets in Dagster."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from compute_rig import (
    SharedClients,
    aws_settings,
    running_sandbox,
    submit,
    wait_for_state,
    wait_until,
)

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.costs.reconciliation import report_late_costs
from odins_ravne_assets.defs.late_costs_sensor import late_costs
from odins_ravne_assets.instance_home import catalog_folder
from resources.batch.launch_record import Attempt, LaunchRecord, UnitOutcome, UnitRecord
from resources.batch.names import Queue
from resources.batch.outcome import AttemptOutcome
from resources.compute.environment import ComputeEnvironment
from resources.ledger.local_writer import LocalLedgerWriter
from resources.ledger.table import read_ledger
from resources.ledger.writer import CameraLedger, LedgerWriter, ReconciledLaunch, open_camera_ledger
from resources.pricing.sources import price_source
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import SandboxConfig, data_bucket
from resources.sandbox.sandbox import Sandbox
from resources.settings.dagster_resource import RunSettings
from resources.storage.local_store import LocalStore

OUTPUT = f"s3://{data_bucket('ravne')}/results/cam"


@pytest.fixture
def launch(tmp_path: Path) -> ReconciledLaunch:
    """A launch that spent three quarters of its time on detections."""
    store = LocalStore(tmp_path)
    writer = LocalLedgerWriter(store, "cam", "work-1", Decimal("3600"))
    attempt = writer.start_attempt("the test")
    attempt.work = {"detections_seconds": 3.0, "classifications_seconds": 1.0}
    attempt.started -= 4
    writer.end_attempt(attempt, AttemptOutcome.DONE, None)
    writer.write()
    rows = read_ledger([store])
    return ReconciledLaunch(CameraLedger("cam", store, store), "work-1", rows, changed=True)


def observations(instance: dg.DagsterInstance, stage: str) -> list[dg.AssetObservation]:
    records = instance.fetch_observations(dg.AssetKey(stage), limit=10).records
    return [record.asset_observation for record in records if record.asset_observation]


def test_a_changed_cost_is_observed_on_the_assets_of_its_stages(launch: ReconciledLaunch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        report_late_costs(instance, [launch])
        [detections] = observations(instance, "detections")
        [classifications] = observations(instance, "classifications")
        assert not observations(instance, "observations")
    assert detections.partition == "cam"
    metadata = {key: value.value for key, value in detections.metadata.items()}
    other = {key: value.value for key, value in classifications.metadata.items()}
    assert metadata["cost/usd_total"] == pytest.approx(3, rel=0.02)
    assert metadata["cost/usd_total"] == pytest.approx(3 * other["cost/usd_total"])
    assert metadata["launch/name"] == "work-1"


def test_an_unchanged_cost_is_not_observed(launch: ReconciledLaunch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        report_late_costs(instance, [replace(launch, changed=False)])
        assert not observations(instance, "detections")


def test_without_recent_runs_on_aws_the_sensor_skips() -> None:
    """It sends no requests to AWS: the profile has no credentials."""
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        answer = late_costs(context, settings=RunSettings(profile="cloud"))
    assert isinstance(answer, dg.SkipReason)
    assert "no camera has run on AWS" in str(answer.skip_message)


# From a launch's end to the observation


@dataclass(frozen=True)
class EndedLaunch:
    """A camera whose launch has ended, and whose machine has ended after it."""

    sandbox: Sandbox
    ledger: CameraLedger
    last_rows: pl.DataFrame  # as the launch wrote them


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[EndedLaunch]:
    config = SandboxConfig(
        scale=600,
        boot_seconds=20,
        pull_seconds=5,
        idle_seconds=1200,
        terminated_retention_seconds=10**6,
    )
    with running_sandbox(config, DAGSTER_HOME=str(tmp_path)) as sandbox:
        aws = aws_settings(sandbox)
        clients = SharedClients(aws)
        prepare_foundation(clients, aws.name, aws.region)
        ComputeEnvironment(aws, clients).setup(1)
        CameraCatalog(catalog_folder()).put(Camera("cam", "s3://footage/cam", OUTPUT))
        began = clients.clock.now()
        attempt = Attempt("ravne-cam-1", Queue.SPOT, "asked for", intended_at=began)
        attempt.job_id = submit(sandbox, 0.5)
        attempt.work = {"detections_seconds": 3.0, "classifications_seconds": 1.0}
        wait_for_state(sandbox, attempt.job_id, "SUCCEEDED")
        attempt.end = AttemptOutcome.DONE
        unit = UnitRecord(0, None, None, 600.0, attempts=[attempt], outcome=UnitOutcome.DONE)
        record = LaunchRecord("work", "settings", 1, began, [unit], finished=True)
        ledger = open_camera_ledger("cam", OUTPUT, clients)
        record.save(ledger.launches)
        rows = LedgerWriter(clients, aws, price_source(clients, aws, tmp_path)).write(
            ledger, record
        )
        wait_until(sandbox, lambda: all(m["state"] == "terminated" for m in sandbox.instances()))
        yield EndedLaunch(sandbox, ledger, rows)


def test_the_final_cost_of_the_last_machine_is_reconciled_and_observed(
    ended: EndedLaunch,
) -> None:
    where = {"endpoint_url": ended.sandbox.endpoint_url, "clock_url": ended.sandbox.clock_url}
    overrides = {f"cloud.aws.{key}": url for key, url in where.items()}
    settings = RunSettings(profile="sandbox", overrides=overrides)
    with dg.DagsterInstance.ephemeral() as instance:
        ran_lately(instance, "cam")
        answer = late_costs(dg.build_sensor_context(instance=instance), settings=settings)
        again = late_costs(dg.build_sensor_context(instance=instance), settings=settings)
        [detections] = observations(instance, "detections")
        [classifications] = observations(instance, "classifications")
    assert "updated costs: 1" in str(getattr(answer, "skip_message", ""))
    assert "updated costs: 0" in str(getattr(again, "skip_message", ""))

    assert ended.last_rows["estimated"].any()
    rows = read_ledger([ended.ledger.ledger])
    machines = rows.filter(pl.col("kind").is_in(["attempt", "overhead"]))
    [line] = ended.sandbox.bill()
    assert float(machines["usd"].sum()) == pytest.approx(line.cost, rel=0.001)
    metadata = {key: each.value for key, each in detections.metadata.items()}
    assert metadata["cost/estimated"] == 0
    assert metadata["cost/usd_of_launch"] == pytest.approx(float(rows["usd"].sum()))
    assert metadata["cost/usd_total"] == pytest.approx(0.75 * metadata["cost/usd_of_launch"])
    assert classifications.partition == "cam"


def ran_lately(instance: dg.DagsterInstance, camera_id: str) -> None:
    @dg.asset(partitions_def=dg.StaticPartitionsDefinition([camera_id]))
    def anything() -> None:
        pass

    dg.materialize([anything], partition_key=camera_id, instance=instance)
