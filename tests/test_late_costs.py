"""Costs that are known only after a run reach the assets in Dagster."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from odins_ravne_assets.late_costs import late_costs, tell_late_costs
from resources.attempt_ends import AttemptEnd
from resources.bookkeeping import CameraBooks, Reconciled
from resources.cost_ledger import read_ledger
from resources.local_ledger import LocalBooks
from resources.object_store import LocalStore
from resources.run_settings import RunSettings


@pytest.fixture
def launch(tmp_path: Path) -> Reconciled:
    """A launch that spent three quarters of its time on detections."""
    store = LocalStore(tmp_path)
    books = LocalBooks(store, "cam", "work-1", Decimal("3600"))
    attempt = books.began("the test")
    attempt.work = {"detections_seconds": 3.0, "classifications_seconds": 1.0}
    attempt.started -= 4
    books.ended(attempt, AttemptEnd.DONE, None)
    books.write()
    rows = read_ledger([store])
    return Reconciled(CameraBooks("cam", store, store), "work-1", rows, changed=True)


def seen(instance: dg.DagsterInstance, stage: str) -> list[dg.AssetObservation]:
    records = instance.fetch_observations(dg.AssetKey(stage), limit=10).records
    return [record.asset_observation for record in records if record.asset_observation]


def test_a_changed_cost_is_observed_on_the_assets_it_was_for(launch: Reconciled) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tell_late_costs(instance, [launch])
        [detections] = seen(instance, "detections")
        [classifications] = seen(instance, "classifications")
        assert not seen(instance, "observations")
    assert detections.partition == "cam"
    told = {key: value.value for key, value in detections.metadata.items()}
    other = {key: value.value for key, value in classifications.metadata.items()}
    assert told["cost/usd_total"] == pytest.approx(3, rel=0.02)
    assert told["cost/usd_total"] == pytest.approx(3 * other["cost/usd_total"])
    assert told["launch/name"] == "work-1"


def test_a_cost_that_stays_is_not_told_again(launch: Reconciled) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        tell_late_costs(instance, [replace(launch, changed=False)])
        assert not seen(instance, "detections")


def test_where_no_camera_has_run_lately_nobody_is_asked() -> None:
    """Not even AWS: the profile's would answer nowhere."""
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        answer = late_costs(context, settings=RunSettings(profile="cloud"))
    assert isinstance(answer, dg.SkipReason)
    assert "no camera has run on AWS" in str(answer.skip_message)
