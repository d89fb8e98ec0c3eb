"""Tables of settings: numbers, columns, workbooks."""

import logging
from datetime import datetime, time, timedelta
from pathlib import Path

import openpyxl
import pytest
from pydantic import BaseModel

from resources.settings.deployments import TABLE_COLUMNS, Deployment
from resources.settings.loader import load_profile
from resources.settings.table_models import parse_rows


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("coordinateUncertainty", "9" * 5000),
        ("coordinateUncertainty", "9" * 4000),
        ("coordinateUncertainty", "20040001"),
        ("latitude", "9" * 5000),
        ("latitude", "1e999"),
        ("clockShift", "+" + "9" * 5000),
        ("utcOffset", "+" + "9" * 5000),
        ("deploymentStart", "9" * 5000),
    ],
)
def test_a_number_that_is_too_large_is_one_short_line(column: str, value: str) -> None:
    row = {"cameraID": "ridge", "latitude": "1", "longitude": "1", column: value}
    data = f"{','.join(row)}\n{','.join(row.values())}\n".encode()
    with pytest.raises(ValueError, match=f"^deployments.csv, line 2: {column} ") as refused:
        parse_rows(Deployment, data, "deployments.csv", TABLE_COLUMNS)
    assert len(str(refused.value)) < 400
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("table", "latitude", "uncertainty"),
    [
        ("cameraID;latitude;longitude;coordinateUncertainty\nräv;59,32;17,12;10,0\n", 59.32, 10),
        ("cameraID,latitude,longitude,coordinateUncertainty\nräv,59.32,17.12,10.0\n", 59.32, 10),
        ('cameraid,Latitude,longitude\nräv,"-0,25",17\n', -0.25, None),
    ],
)
def test_numbers_are_read_as_a_spreadsheet_writes_them(
    table: str, latitude: float, uncertainty: int | None
) -> None:
    (row,) = parse_rows(Deployment, table.encode("cp1252"), "d.csv", TABLE_COLUMNS)
    assert (row.cameraID, row.latitude, row.coordinateUncertainty) == ("räv", latitude, uncertainty)


def test_a_number_with_a_comma_that_may_be_either_is_refused_with_its_line() -> None:
    class Measured(BaseModel):
        metres: float

    with pytest.raises(ValueError, match=r"^d\.csv, line 2: metres '59,329' is not .*commas"):
        parse_rows(Measured, b'metres,name\n"59,329",17\n', "d.csv")


def test_a_number_below_a_thousand_has_decimal_commas_alone() -> None:
    data = b'cameraID,latitude,longitude\nc7,"59,329",17\n'
    (row,) = parse_rows(Deployment, data, "d.csv", TABLE_COLUMNS)
    assert row.latitude == 59.329


def test_species_and_clock_corrections_may_be_workbooks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tables = {
        "species": [["Common_Name", "scientific_name", "seen"], ["rödräv", "Vulpes vulpes", 3]],
        "clocks": [
            ["camera_id", "from", "until", "shift", "utc_offset"],
            ["ridge", datetime(2026, 5, 1), None, timedelta(hours=1), time(2)],
        ],
    }
    for name, rows in tables.items():
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(tmp_path / f"{name}.xlsx")
    with caplog.at_level(logging.WARNING):
        profile = load_profile(
            "local",
            {
                "project.species": f"{tmp_path}/species.xlsx",
                "pipeline.stage0.clock_corrections": f"{tmp_path}/clocks.xlsx",
            },
        )
    assert profile.project.species[0].common_name == "rödräv"
    (clock,) = profile.pipeline.stage0.clock_corrections
    assert (clock.start, clock.shift) == (datetime(2026, 5, 1), timedelta(hours=1))
    assert clock.utc_offset_minutes == 120
    assert caplog.messages == [f"{tmp_path}/species.xlsx: unknown column, ignored: seen"]
