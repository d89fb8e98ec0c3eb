"""The asset cost_report, and the files it writes, for cameras whose results lie here."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from cost_rows import EXAMPLE, ledger

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.defs.cost_report import cost_report_asset
from resources.ledger.table import write_ledger
from resources.settings.dagster_resource import RunSettings
from resources.storage.layout import LEDGER_FOLDER
from resources.storage.local_store import LocalStore


@dataclass(frozen=True)
class Made:
    """A materialization, and the folder of its files."""

    metadata: dict[str, Any]
    folder: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    root = tmp_path_factory.mktemp("costs")
    catalog = CameraCatalog(root / "cameras")
    for name in ("hill", "dale"):
        catalog.put(Camera(name, (root / name).as_uri(), (root / "results" / name).as_uri()))
    other = [EXAMPLE[1] | {"camera_id": "dale", "instance_id": "i-c"}]
    for name, rows in (("hill", EXAMPLE), ("dale", other)):
        write_ledger(LocalStore(root / "results" / name / LEDGER_FOLDER), "one-1", ledger(*rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(root / "home"))
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize(
                [cost_report_asset],
                instance=instance,
                resources={"settings": RunSettings(profile="local"), "catalog": catalog},
            )
        [done] = result.asset_materializations_for_node("cost_report")
        values = {name: each.value for name, each in done.metadata.items()}
        yield Made(values, root / "home" / "costs")


def test_its_metadata_are_flat_numbers_over_all_cameras(made: Made) -> None:
    assert made.metadata["cost/usd_total"] == pytest.approx(0.19741 + 0.15672)
    assert made.metadata["cost/savings_pct"] == pytest.approx(
        100 * (1 - (0.17631 + 0.15672) / (0.8742 + 0.4464)), abs=1e-3
    )
    assert made.metadata["compute/attempts"] == 3


def test_the_report_stands_in_the_ui_as_markdown(made: Made) -> None:
    text = made.metadata["costs"]
    assert "### Costs by kind" in text
    assert "| processing | \\$0.3134 |" in text


def test_its_files_say_the_same(made: Made) -> None:
    told = json.loads((made.folder / "cost_report.json").read_text())
    assert told["computing"]["usd"] == pytest.approx(0.35413)
    assert {each["name"] for each in told["by_camera"]} == {"hill", "dale"}
    with (made.folder / "cost_focus.csv").open(newline="") as file:
        paid = sum(float(charge["EffectiveCost"]) for charge in csv.DictReader(file))
    assert paid == pytest.approx(0.35413)


def test_the_page_asks_for_nothing_and_names_what_was_paid(made: Made) -> None:
    page = (made.folder / "cost_report.html").read_text()
    assert "$0.3541" in page and page.count("<svg") == 3
    assert "default-src 'none'" in page and "http://" not in page.replace("http://www.w3.org", "")
