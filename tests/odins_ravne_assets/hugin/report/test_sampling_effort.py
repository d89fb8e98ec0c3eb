"""Effort and places of the report: from the table of deployments where there is one."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from report_rig import CameraOutput, LabelledBox, stage3

from odins_ravne_assets.hugin.privacy.places import Places
from odins_ravne_assets.hugin.report.camera_effort import camera_positions, camera_rows, visit_rate
from odins_ravne_assets.hugin.report.camera_results import load_camera_results
from odins_ravne_assets.hugin.report.page import write_report_page
from odins_ravne_assets.hugin.report.sampling_effort import (
    cameras_per_period,
    counted_visits,
    make_calendar,
    sampling_effort,
)
from odins_ravne_assets.hugin.visits.stored_deployments import read_deployments, store_deployments
from odins_ravne_assets.munin.tables import schemas
from resources.errors import StoreError
from resources.settings.deployments import Deployment
from resources.settings.profile import Privacy
from resources.storage.local_store import LocalStore
from tests.odins_ravne_assets.hugin.report.test_page import visible_text

FIRST = datetime(2025, 5, 1, 9)
OPEN = Places(frozenset(), 1)


def row(camera: str = "ridge", **columns: Any) -> Deployment:
    place = {"cameraID": camera, "latitude": 59.32, "longitude": 17.12}
    return Deployment.model_validate({**place, **columns})


def media(*times: datetime | None, camera: str = "ridge") -> pl.LazyFrame:
    columns = {"camera_id": camera, "latitude": 59.0, "longitude": 17.0}
    schema = {"camera_id": pl.String, "captured_at": schemas.TIME}
    schema |= {"latitude": pl.Float64, "longitude": pl.Float64}
    return pl.LazyFrame([columns | {"captured_at": at} for at in times], schema=schema)


def visits(*starts: datetime | None, camera: str = "ridge") -> pl.DataFrame:
    rows = [{"camera_id": camera, "start_at": at} for at in starts]
    return pl.DataFrame(rows, schema={"camera_id": pl.String, "start_at": schemas.TIME})


@pytest.mark.parametrize(
    ("deployments", "days"),
    [
        ([], 1),  # one picture
        ([{"deploymentStart": "2025-05-01", "deploymentEnd": "2025-08-08"}], 100),
        ([{"deploymentStart": "2025-05-01T12:00", "deploymentEnd": "2025-05-03T00:00"}], 1.5),
        # An open end holds to the day of the last medium, an open start from that of the first.
        ([{"deploymentStart": "2025-04-29"}], 3),
        ([{"deploymentEnd": "2025-05-10"}], 10),
        ([{"deploymentStart": "2025-06-01"}], 0),
        # Several rows: the time between them does not count as effort.
        (
            [
                {"deploymentStart": "2025-05-01", "deploymentEnd": "2025-05-10"},
                {"deploymentStart": "2025-06-01", "deploymentEnd": "2025-06-10"},
            ],
            20,
        ),
        # Outages: five days, and one to the end.
        (
            [
                {
                    "deploymentStart": "2025-05-01",
                    "deploymentEnd": "2025-05-31",
                    "Problem1_from": "2025-05-10",
                    "Problem1_to": "2025-05-14",
                    "Problem2_from": "2025-05-31",
                }
            ],
            25,
        ),
        # Outages that overlap, and one that begins before the deployment.
        (
            [
                {
                    "deploymentStart": "2025-05-02",
                    "deploymentEnd": "2025-05-31",
                    "Problem1_from": "2025-05-01",
                    "Problem1_to": "2025-05-05",
                    "Problem2_from": "2025-05-04",
                    "Problem2_to": "2025-05-06",
                }
            ],
            25,
        ),
    ],
)
def test_camera_days_are_those_of_the_table(deployments: list[dict[str, str]], days: float) -> None:
    effort = sampling_effort(media(FIRST), [row(**columns) for columns in deployments])
    assert effort["camera_days"].item() == days
    assert effort["deployed"].item() == bool(deployments)


def test_a_hundred_days_with_one_visit_are_one_per_hundred_days() -> None:
    stay = row(deploymentStart="2025-05-01", deploymentEnd="2025-08-08")
    effort = sampling_effort(media(FIRST), [stay])
    rate = visit_rate(effort)
    assert (rate.of(1), rate.camera_days) == ("1.0", 100)
    assert (effort["first_day"].item(), effort["last_day"].item()) == (
        date(2025, 5, 1),
        date(2025, 8, 8),
    )


def test_an_end_that_is_planned_is_not_reached_yet() -> None:
    stay = row(deploymentStart="2025-05-01", deploymentEnd="2025-12-31")
    now = datetime(2025, 5, 11)
    assert sampling_effort(media(FIRST), [stay], now)["camera_days"].item() == 10
    later = media(FIRST, datetime(2025, 5, 21))  # the clock of another machine
    assert sampling_effort(later, [stay], now)["camera_days"].item() == 20


def test_active_cameras_of_a_period_have_no_outages() -> None:
    columns = {"deploymentStart": "2025-05-01", "deploymentEnd": "2025-05-04"}
    stay = row(**columns, Problem1_from="2025-05-02T12:00", Problem1_to="2025-05-03T12:00")
    effort = sampling_effort(media(FIRST), [stay])
    calendar = make_calendar(date(2025, 5, 1), date(2025, 5, 4))
    assert cameras_per_period(effort, calendar) == [1, 0.5, 0.5, 1]


def test_rates_count_only_the_visits_of_active_times() -> None:
    stay = row(
        deploymentStart="2025-05-01",
        deploymentEnd="2025-05-31",
        Problem1_from="2025-05-10",
        Problem1_to="2025-05-14",
    )
    effort = sampling_effort(media(FIRST, datetime(2025, 6, 2)), [stay])
    starts = [FIRST, datetime(2025, 5, 12), datetime(2025, 6, 2), None]
    assert counted_visits(visits(*starts), effort).to_list() == [True, False, False, True]
    assert effort["files_outside"].item() == 1


def test_visits_of_cameras_without_known_days_are_in_no_rate() -> None:
    """One dated and one undated camera: a visit of the first in 300 days is 0.33, not 1.3."""
    stay = row("dated", deploymentStart="2024-07-06", deploymentEnd="2025-05-01")
    both = pl.concat([media(FIRST, camera="dated"), media(None, camera="undated")])
    effort = sampling_effort(both, [stay])
    assert effort["camera_days"].to_list() == [300, 0]
    seen = pl.concat([visits(FIRST, camera="dated"), visits(None, None, None, camera="undated")])
    counted = counted_visits(seen, effort)
    assert counted.to_list() == [True, False, False, False]
    rate = visit_rate(effort, 3)
    assert rate.of(int(counted.sum())) == "0.33"
    assert "3 visits are not counted in it: of cameras whose days are not known" in rate.explanation


# Places


def test_places_are_those_of_the_table_with_the_visits_of_each() -> None:
    moved = [
        row(deploymentEnd="2025-05-10", locationName="Fox ridge"),
        row(deploymentStart="2025-05-11", latitude=60),
    ]
    effort = sampling_effort(media(FIRST), moved)
    seen = visits(FIRST, FIRST, datetime(2025, 5, 12))
    found = camera_positions(seen, effort, OPEN)
    assert [(each.latitude, each.longitude, each.visits) for each in found] == [
        (59.32, 17.12, 2),
        (60, 17.12, 1),
    ]
    seen = seen.with_columns(category=pl.lit("animal"), species=pl.lit("x"), taxon_rank=None)
    (shown,) = camera_rows(seen, effort, OPEN)
    assert shown["place"] == "Fox ridge: 59.32000, 17.12000; 60.00000, 17.12000"


def test_covered_places_are_rounded_and_have_no_names() -> None:
    effort = sampling_effort(media(FIRST), [row(locationName="Eagle rock")])
    (found,) = camera_positions(visits(FIRST), effort, Places(frozenset({"ridge"}), 1))
    assert (found.latitude, found.longitude, found.rounded, found.name) == (59.3, 17.1, True, None)


# Stored with the results


def test_deployments_are_stored_with_the_tables(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert read_deployments(store) == ()
    rows = (row(timeZone="Europe/Stockholm", habitat="bog", Problem1_from="2025-05-01"),)
    store_deployments(store, rows)
    assert read_deployments(store) == rows
    tree = json.loads(store.read_bytes("tables/deployments.json"))
    newer = {"deployments": [tree["deployments"][0] | {"slope": 3}], "form": 2}
    store.write_bytes("tables/deployments.json", json.dumps(newer).encode())
    assert read_deployments(store) == rows  # of a newer version
    store_deployments(store, ())
    assert read_deployments(store) == ()
    store.write_bytes("tables/deployments.json", b'{"deployments": [{"cameraID": 1}]}')
    with pytest.raises(StoreError, match=r"deployments\.json: is damaged"):
        read_deployments(store)


def test_the_report_has_the_effort_and_the_places_of_stored_deployments(tmp_path: Path) -> None:
    shoot = CameraOutput(tmp_path / "ridge", "ridge").still("1.jpg", FIRST, LabelledBox())
    store = shoot.write()
    stay = row(deploymentStart="2025-05-01", deploymentEnd="2025-08-08", locationName="Fox ridge")
    store_deployments(store, [stay])
    text = visible_text(stage3(store))
    assert "2025-05-01 to 2025-08-08 by the deployments" in text
    assert "100 camera days" in text
    assert "red fox Vulpes vulpes 1 1.0" in text
    assert "Fox ridge: 59.32000, 17.12000" in text
    lynx = Privacy(sensitive_species=("Vulpes vulpes",))
    results = load_camera_results(store, store, lynx)
    write_report_page(tmp_path / "covered.html", [results], lynx)
    covered = (tmp_path / "covered.html").read_text("utf-8")
    assert "59.3, 17.1 (rounded)" in covered
    assert "Fox ridge" not in covered and "59.32" not in covered
