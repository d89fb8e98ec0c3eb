"""Numbers of users' tables: however long, they are one short line."""

import pytest

from resources.settings.deployments import TABLE_COLUMNS, Deployment
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
