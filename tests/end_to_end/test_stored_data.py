"""What earlier versions have stored is read and added to, and nothing of it is lost or done again.

`old_results/README.md` says what is in it, and how a version makes its own.
"""

import csv
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from command_line import TIMEOUT, Munin, processed
from in_process import MuninInProcess
from stored_data import VERSIONS, done, hashes, new_media, sha256, stored, unpack, usd

__all__ = ["stored"]  # pytest finds fixtures by their names

REVIEWED = ("species", "start_at", "count", "label_source", "reviewed_by", "machine_species")
BADGERS = [
    (
        "European badger",
        datetime(2026, 5, 14, 21, 40, 12),
        1,
        "reviewer",
        "Anna Ek",
        "domestic cat",
    ),
    (
        "European badger",
        datetime(2026, 5, 14, 22, 55, 13),
        1,
        "reviewer",
        "Anna Ek",
        "domestic cat",
    ),
]
FOX = ("red fox", datetime(2026, 5, 14, 22, 11, 12), 2, "reviewer", "Bo Li", None)
PERSON = ("person", datetime(2026, 5, 15, 0, 14, 12), 1, "machine", None, None)
# The picture that the earlier version has not seen.
CAT = ("domestic cat", datetime(2026, 5, 15, 21, 40, 12), 1, "machine", None, None)


@dataclass(frozen=True)
class Old:
    """A copy of what a version has stored, as if it had been stored here."""

    stored: Path
    root: Path
    munin: Munin

    @property
    def ridge(self) -> Path:
        return self.root / "results" / "ridge"

    @property
    def lake(self) -> Path:
        return self.root / "results" / "lake"


@pytest.fixture(scope="module")
def old(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Old:
    """A copy that the tests of this file change, one after the other."""
    root = tmp_path_factory.mktemp(stored.name)
    unpack(stored / "results.tar.xz", root / "results")
    unpack(stored / "dagster_home.tar.xz", root / "dagster")
    shutil.copytree(stored / "footage", root / "footage")
    shutil.copy(stored / "profile.yaml", root)
    before = f"/tmp/results_{stored.name}"
    moved = [root / "profile.yaml", *(root / "dagster").glob("*/*.json")]
    for path in moved:
        path.write_text(path.read_text().replace(before, str(root)))
    return Old(stored, root, MuninInProcess(root, str(root / "profile.yaml")))


def visits(results: Path) -> list[tuple[Any, ...]]:
    table = pl.read_parquet(results / "stage3" / "observations.parquet")
    return table.select(REVIEWED).sort("start_at").rows()


def test_the_fixture_is_there() -> None:
    assert "v0_1_0" in VERSIONS


def test_its_cameras_are_known_with_their_counts(old: Old) -> None:
    lines = done(old.munin("status")).splitlines()
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in lines if "SUCCESS" in line
    ]
    assert [(row[0], *row[2:5]) for row in rows] == [
        ("lake", "1", "0", "1"),
        ("ridge", "8", "2", "4"),
    ]
    assert [row[5] for row in rows] == ["older", "older"]  # than today's defaults
    assert all(row[6].startswith(str(old.root)) for row in rows)


def test_its_runs_and_what_they_told_open_in_dagster(old: Old) -> None:
    with old.munin.instance() as instance:
        runs = instance.get_runs()
        assert {(run.job_name, run.status.value) for run in runs} == {
            (job, "SUCCESS") for job in ("camera", "stage1", "stage2", "stage3")
        }
        assert {run.tags["dagster/partition"] for run in runs} == {"ridge", "lake"}
        assert set(instance.get_dynamic_partitions("camera")) == {"ridge", "lake"}
        asked = dg.AssetRecordsFilter(dg.AssetKey("observations"), asset_partitions=["ridge"])
        [latest] = instance.fetch_materializations(asked, limit=1).records
        assert latest.asset_materialization is not None
        assert latest.asset_materialization.metadata["visits/total"].value == 4
        log = [entry.user_message or "" for entry in instance.all_logs(runs[-1].run_id)]
    assert any("6 media looked at now" in line for line in log)


def test_what_it_has_spent_is_what_its_ledgers_say_beside_its_plan(old: Old) -> None:
    told = json.loads(done(old.munin("cost", "costs", "--json")))
    before = json.loads((old.stored / "cost_report.json").read_text())
    ledgers = usd(old.ridge / "ledger") + usd(old.lake / "ledger")
    assert ledgers > 0
    assert told["computing"]["usd"] == pytest.approx(float(ledgers), abs=1e-12)
    assert [plan["camera_id"] for plan in told["plans"]] == ["ridge"]
    assert told["jobs"].pop("cancelled") == 0  # which the version counts as failed
    for part in ("jobs", "computing", "by_camera", "units", "species"):
        assert told[part] == before[part], part
    for plan in (*told["plans"], *before["plans"]):
        assert plan.pop("why")  # sentences, whose words differ between versions
    assert told["plans"] == before["plans"]


def test_a_project_of_its_cameras_is_the_same_as_it_made(old: Old) -> None:
    done(old.munin("export", old.root / "export"))
    for name in ("observations.csv", "camtrap-dp/observations.csv", "camtrap-dp/deployments.csv"):
        assert rows(old.root / "export" / name) == rows(old.stored / "export" / name)


def rows(table: Path) -> list[dict[str, str]]:
    """The rows of a CSV, without the column that the version lacks."""
    with table.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert {row.pop("first_detection", "") for row in read} == {""}
    return read


def test_its_backfill_is_known_to_be_done(old: Old) -> None:
    assert "backfill 1: stage3 for 0 of 1 cameras" in done(old.munin("backfill", "--resume", "1"))


def test_what_its_sensor_remembers_is_read(old: Old) -> None:
    """Whoever had forgotten it would tell of the quarantine again."""
    memory = memory_of_the_sensor(old.munin.home)
    assert json.loads(memory)["refused"].keys() == {"loose.jpg"}
    (old.root / "footage" / "loose.jpg").write_bytes(b"of no camera")
    said = look_for_footage(old, memory)
    assert "new files: 0; cameras that are still being uploaded: 2, complete: 0" in said
    assert "quarantine" not in said


def memory_of_the_sensor(home: Path) -> str:
    with closing(sqlite3.connect(home / "schedules" / "schedules.db")) as connection:
        rows = connection.execute("select instigator_body from instigators").fetchall()
    told = [json.loads(body)["job_specific_data"] or {} for (body,) in rows]
    [memory] = [each["cursor"] for each in told if each.get("cursor")]
    return str(memory)


def look_for_footage(old: Old, memory: str) -> str:
    """What the sensor says in a dry run."""
    words = ["sensor", "preview", "-m", "odins_ravne_assets.definitions", "new_footage"]
    ran = subprocess.run(
        [str(Path(sys.executable).parent / "dagster"), *words, "--cursor", memory],
        env={**os.environ, "DAGSTER_HOME": str(old.munin.home), "MUNIN_PROFILE": old.munin.profile},
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
    )
    return ran.stdout + ran.stderr


def test_another_window_makes_other_visits_and_keeps_what_people_said(old: Old) -> None:
    assert visits(old.ridge) == [BADGERS[0], FOX, BADGERS[1], PERSON]
    tables = hashes(old.ridge / "tables")
    done(old.munin("stage3", old.ridge, "--compression-window", "120"))
    assert visits(old.ridge) == [BADGERS[0], FOX, PERSON]
    now = hashes(old.ridge / "tables")
    now.pop("deployments.json")  # which the version does not store
    assert now == tables


def test_one_more_picture_is_all_that_is_looked_at(old: Old) -> None:
    rows, journal = processed(old.ridge), hashes(old.ridge / "journal")
    corrections, ledger = hashes(old.ridge / "tables" / "corrections"), hashes(old.ridge / "ledger")
    picture = old.stored / "later" / "IMAG0009.JPG"
    card = old.root / "footage" / "ridge"
    shutil.copy(picture, card / "DCIM" / "100MEDIA")
    ended = old.munin("batch", card, old.ridge)
    done(ended)
    assert "5 media were analysed with megadetector-lite and ssd-mobilenet-v2-cam16" in ended.err
    assert "and new media are too; pass --update to analyse all media again with " in ended.err

    now = hashes(old.ridge / "journal")
    assert now.items() >= journal.items()
    assert new_media(old.ridge / "journal", journal) == [sha256(picture)]
    assert processed(old.ridge) == rows | {"DCIM/100MEDIA/IMAG0009.JPG": ("done", None)}
    assert visits(old.ridge) == [BADGERS[0], FOX, BADGERS[1], PERSON, CAT]
    assert hashes(old.ridge / "tables" / "corrections") == corrections
    assert hashes(old.ridge / "ledger").items() >= ledger.items()
    with old.munin.instance() as instance:
        asked = dg.AssetRecordsFilter(dg.AssetKey("detections"), asset_partitions=["ridge"])
        [latest] = instance.fetch_materializations(asked, limit=1).records
    assert latest.asset_materialization is not None
    assert latest.asset_materialization.metadata["media/newly_looked_at"].value == 1


def test_the_script_that_was_downloaded_makes_the_visits_anew(stored: Path, tmp_path: Path) -> None:
    unpack(stored / "cloud" / "bucket.tar.xz", tmp_path)
    hill = tmp_path / "results" / "hill"
    shutil.copy(stored / "cloud" / "run_stage3_local.py", hill)
    ran = subprocess.run(
        [sys.executable, str(hill / "run_stage3_local.py"), "--compression-window", "0.5"],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    again = pl.read_parquet(hill / "rerun" / "stage3" / "observations.parquet")
    assert pl.read_parquet(hill / "stage3" / "observations.parquet")["frame_count"].to_list() == [2]
    assert again["frame_count"].to_list() == [1, 1]
