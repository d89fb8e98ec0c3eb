"""Rows of the table of deployments: times, zones, outages, and what contradicts itself."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from resources.errors import ProfileError
from resources.settings.deployments import TABLE_COLUMNS, Deployment, arrange_deployments
from resources.settings.loader import load_profile
from resources.settings.project import Project
from resources.settings.table_models import parse_rows
from resources.settings.time_zones import parse_time_zone, zone_offset, zone_remark

RIDGE = {"cameraID": "ridge", "latitude": 59.32, "longitude": 17.12}
# The example of the standard: https://camtrap-dp.tdwg.org/example, one row.
CAMTRAP_DP = (
    "deploymentID,locationID,locationName,latitude,longitude,coordinateUncertainty,"
    "deploymentStart,deploymentEnd,setupBy,cameraID,cameraModel,cameraDelay,cameraHeight,"
    "cameraDepth,cameraTilt,cameraHeading,detectionDistance,timestampIssues,baitUse,featureType,"
    "habitat,deploymentGroups,deploymentTags,deploymentComments\n"
    "00a2c20d,e254a13c,B_HS_val 2,51.496,4.774,187,2020-05-30T02:57:37Z,2020-07-01T09:41:41Z,"
    "person:123,320,Reconyx-HC600,0,1.3,,,225,10,false,false,,forest,season:summer,"
    "position:above stream,\n"
)


def row(**columns: object) -> Deployment:
    return Deployment.model_validate({**RIDGE, **columns})


def table(
    *lines: str, header: str = "cameraID,latitude,longitude,deploymentStart,deploymentEnd"
) -> tuple[Deployment, ...]:
    data = "\n".join([header, *lines, ""]).encode()
    return tuple(parse_rows(Deployment, data, "places.csv", TABLE_COLUMNS, arrange_deployments))


# Times


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-05-03", datetime(2026, 5, 3), datetime(2026, 5, 3, 23, 59, 59)),
        ("20260503", datetime(2026, 5, 3), datetime(2026, 5, 3, 23, 59, 59)),
        ("31/05/2026", datetime(2026, 5, 31), datetime(2026, 5, 31, 23, 59, 59)),
        ("2026-05-03 9:05", datetime(2026, 5, 3, 9, 5), datetime(2026, 5, 3, 9, 5)),
        ("2026-05-03T00:00", datetime(2026, 5, 3), datetime(2026, 5, 3)),
    ],
)
def test_a_day_alone_begins_at_midnight_and_ends_with_the_day(
    text: str, start: datetime, end: datetime
) -> None:
    assert row(deploymentStart=text).starts == start
    assert row(deploymentEnd=text).ends == end


@pytest.mark.parametrize(
    ("columns", "local"),
    [
        ({"project_zone": "+02:00"}, datetime(2026, 5, 1, 9)),
        ({"utcOffset": "+01:00", "project_zone": "+02:00"}, datetime(2026, 5, 1, 8)),
        ({"timeZone": "Europe/Stockholm"}, datetime(2026, 5, 1, 9)),
        ({"project_zone": "America/New_York"}, datetime(2026, 5, 1, 3)),
        ({}, datetime(2026, 5, 1, 7)),  # nothing is known of the camera's zone
    ],
)
def test_a_start_with_an_offset_is_an_instant(columns: dict[str, str], local: datetime) -> None:
    here = row(deploymentStart="2026-05-01T07:00:00Z", **columns)
    assert here.start == datetime(2026, 5, 1, 7, tzinfo=UTC)
    assert here.starts == local


def test_the_zone_of_a_project_is_that_of_its_deployments() -> None:
    rows = [{**RIDGE, "deploymentStart": "2026-05-01T07:00:00Z"}]
    for zone in ({"utc_offset": "+02:00"}, {"time_zone": "Europe/Stockholm"}):
        (here,) = Project.model_validate({"deployments": rows, **zone}).deployments
        assert here.starts == datetime(2026, 5, 1, 9)
    with pytest.raises(ValidationError, match="exclude each other"):
        Project(utc_offset="+02:00", time_zone="Europe/Stockholm")


def test_an_unknown_zone_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"did you mean Europe/Stockholm\?$"):
        parse_time_zone("europe/stokholm")
    with pytest.raises(ProfileError, match=r"project\.time_zone.*as Europe/Stockholm"):
        load_profile("local", {"project.time_zone": "Sweden"})
    for name in ("../../etc/passwd", "Europe", ""):
        with pytest.raises(ValueError, match="allowed is a name"):
            parse_time_zone(name)


@pytest.mark.parametrize(
    ("local", "minutes", "remark"),
    [
        (datetime(2026, 3, 29, 1, 59), 60, None),
        (datetime(2026, 3, 29, 2, 30), 60, "2026-03-29 02:30 does not exist in Europe/Stockholm"),
        (datetime(2026, 3, 29, 3, 0), 120, None),
        (datetime(2026, 10, 25, 2, 30), 120, "2026-10-25 02:30 occurs twice in Europe/Stockholm"),
        (datetime(2026, 10, 25, 3, 0), 60, None),
    ],
)
def test_a_zone_has_the_offset_of_each_local_time_and_remarks_on_those_it_repeats_or_skips(
    local: datetime, minutes: int, remark: str | None
) -> None:
    zone = parse_time_zone("Europe/Stockholm")
    assert zone_offset(zone, local) == minutes
    found = zone_remark(zone, local)
    assert (found or "").startswith(remark or "") and bool(found) == bool(remark)


def test_the_order_of_two_instants_is_that_of_their_times_in_utc() -> None:
    late, early = "2026-10-25T02:50:00+02:00", "2026-10-25T02:10:00+01:00"  # 20 minutes apart
    assert row(deploymentStart=late, deploymentEnd=early).deploymentEnd == early
    with pytest.raises(ValidationError, match="is before deploymentStart"):
        row(deploymentStart=early, deploymentEnd=late)


# The table


def test_a_table_of_camtrap_dp_is_read_as_it_is() -> None:
    data = CAMTRAP_DP.encode()
    (here,) = parse_rows(Deployment, data, "d.csv", TABLE_COLUMNS, arrange_deployments)
    assert (here.cameraID, here.deploymentID) == ("320", "00a2c20d")
    assert here.start == datetime(2020, 5, 30, 2, 57, 37, tzinfo=UTC)
    assert here.remarks["cameraModel"] == "Reconyx-HC600"
    assert here.remarks["setupBy"] == "person:123"
    assert here.remarks["cameraHeight"] == "1.3"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "ridge,117.12,59.32,,",
            "line 2: latitude 117.12 is not allowed: .* swapped with .* 59.32",
        ),
        ("ridge,91,181,,", "line 2: latitude"),
        ("ridge,59.32,north,,", "line 2: longitude 'north' is not allowed"),
        ("ridge,59.32,17.12,2026-05-02,2026-05-01", "line 2: deploymentEnd 2026-05-01 is before"),
        ("ridge,59.32,17.12,03/05/2026,", "line 2: deploymentStart '03/05/2026' .* either way"),
        (
            "ridge,59.32,17.12,May,",
            "line 2: deploymentStart 'May' is not allowed: allowed is a day",
        ),
    ],
)
def test_a_mistake_is_one_line_with_the_file_and_the_line(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=rf"^places.csv, {said}") as failed:
        table(line)
    assert "\n" not in str(failed.value)


def test_coordinates_that_are_swapped_are_found_by_the_other_rows() -> None:
    lines = ["a,59.32,17.12,,", "b,59.35,17.15,,", "c,17.14,59.33,,", "d,-33.9,18.4,,"]
    with pytest.raises(ValueError, match=r"^places.csv, line 4: latitude 17.14 and .* swapped: "):
        table(*lines)
    assert len(table(lines[0], lines[1], lines[3])) == 3


@pytest.mark.parametrize(
    ("column", "text", "said"),
    [
        ("cameraHeight", "high", "allowed is a number"),
        ("cameraHeight", "-1", "at least 0"),
        ("cameraTilt", "91", "at least -90 and at most 90"),
        ("cameraHeading", "12.5", "a whole number"),
        ("baitUse", "maybe", "true and false"),
        ("featureType", "road", "allowed are roadPaved, "),
    ],
)
def test_columns_that_are_passed_on_have_values_that_camtrap_dp_allows(
    column: str, text: str, said: str
) -> None:
    with pytest.raises(ValidationError, match=rf"{column} '{text}' is not allowed: .*{said}"):
        row(**{column: text})
    assert row(baitUse="TRUE", cameraTilt="10,0").remarks == {"baitUse": "true", "cameraTilt": "10"}
    for word, value in (("SANT", "true"), ("FALSCH", "false"), ("EPÄTOSI", "false")):
        assert row(baitUse=word).remarks == {"baitUse": value}


def test_coordinates_may_have_a_decimal_comma() -> None:
    header = "cameraID;latitude;longitude;cameraHeight"
    (here,) = table("ridge;59,32;17,12;1,5", header=header)
    assert (here.latitude, here.longitude, here.remarks["cameraHeight"]) == (59.32, 17.12, "1.5")
    # Three digits behind it could be separated thousands elsewhere.
    for header in ("cameraID\tlatitude\tlongitude", "cameraID,latitude,longitude"):
        line = "ridge\t59,321\t-17,125" if "\t" in header else 'ridge,"59,321","-17,125"'
        (here,) = table(line, header=header)
        assert (here.latitude, here.longitude) == (59.321, -17.125)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2026-04-01,2026-06-02", "2026-05-02,"),
        ("2026-04-01,2026-06-02", "2026-05-02,2026-05-10"),
        ("2026-04-01,", "2026-05-02,"),
        ("2026-04-01T08:00Z,2026-05-02T08:00Z", "2026-05-02T09:30+02:00,"),
        ("2026-04-01,2026-05-02", "2026-04-01,2026-05-02"),
    ],
)
def test_overlapping_deployments_of_a_camera_are_refused_with_both_lines(
    first: str, second: str
) -> None:
    lines = [f"ridge,59,17,{first}", "lake,60,17,2026-04-01,", f"ridge,59.1,17,{second}"]
    for some in (lines, lines[::-1]):
        with pytest.raises(ValueError, match=r"^places.csv, lines 2 and 4: .* ridge overlap: "):
            table(*some)


@pytest.mark.parametrize(
    ("first_end", "second_start", "ends", "starts"),
    [
        ("2026-05-02T10:00", "2026-05-02T10:00", (2, 10, 0, 0), (2, 10)),
        ("2026-05-02T10:00:30", "2026-05-02T10:00:00", (2, 10, 0, 30), (2, 10)),
        ("2026-05-02T08:00Z", "2026-05-02T10:00+02:00", (2, 8, 0, 0), (2, 10)),
        # A day without a time belongs to the row that states a time, or to the later one.
        ("2026-05-02", "2026-05-02T10:00", (2, 9, 59, 59), (2, 10)),
        ("2026-05-02T10:00", "2026-05-02", (2, 10, 0, 0), (2, 10)),
        ("2026-05-02", "2026-05-02", (1, 23, 59, 59), (2, 0)),
        ("2026-05-01", "2026-05-02", (1, 23, 59, 59), (2, 0)),
        ("2026-05-01", "", (1, 23, 59, 59), (2, 0)),
    ],
)
def test_deployments_may_touch(
    first_end: str, second_start: str, ends: tuple[int, ...], starts: tuple[int, ...]
) -> None:
    first, second = table(f"ridge,1,2,,{first_end}", f"ridge,1,2,{second_start},")
    assert first.ends == datetime(2026, 5, *ends)
    assert second.starts == datetime(2026, 5, *starts)


def test_an_id_of_a_deployment_occurs_once() -> None:
    header = "cameraID,latitude,longitude,deploymentID"
    with pytest.raises(
        ValueError, match=r"^d.csv, lines 2 and 3: deploymentID spring occurs twice"
    ):
        data = f"{header}\nridge,1,2,spring\nlake,1,2,spring\n".encode()
        parse_rows(Deployment, data, "d.csv", TABLE_COLUMNS, arrange_deployments)


# Outages


def test_outages_are_camtrapr_s_problem_columns() -> None:
    header = (
        "cameraID,latitude,longitude,deploymentStart,deploymentEnd,"
        "Problem1_from,Problem1_to,Problem2_from,Problem2_to"
    )
    (here,) = table("a,1,2,2026-05-01,2026-05-31,2026-05-10,2026-05-14,2026-05-30,", header=header)
    assert list(here.outage_times()) == [
        (datetime(2026, 5, 10), datetime(2026, 5, 14, 23, 59, 59)),
        (datetime(2026, 5, 30), datetime(2026, 5, 31, 23, 59, 59)),
    ]
    for cells, said in (
        (",2026-05-14,,", "Problem1_to has no Problem1_from"),
        ("soon,,,", "Problem1_from 'soon' is not allowed"),
        ("2026-05-14,2026-05-10,,", "problem 1 ends before it begins"),
        ("2026-06-14,2026-06-15,,", "problem 1 is outside of the deployment"),
    ):
        with pytest.raises(ValueError, match=rf"^places.csv, line 2: {said}"):
            table(f"a,1,2,2026-05-01,2026-05-31,{cells}", header=header)


def test_rows_of_a_profile_survive_the_way_to_a_worker() -> None:
    here = row(Problem1_from="2026-05-01", timeZone="Europe/Stockholm", habitat="bog")
    project = Project(deployments=(here,), time_zone="Europe/Paris")
    assert Project.model_validate_json(project.model_dump_json()) == project
    assert project.deployments[0].zone == parse_time_zone("Europe/Stockholm")
    assert row(clockShift="+01:00").shift == timedelta(hours=1)
