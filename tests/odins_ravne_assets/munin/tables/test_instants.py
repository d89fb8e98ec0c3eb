"""Times of camera clocks are compared as instants."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odins_ravne_assets.munin.tables.instants import instant, instants

Row = tuple[str, datetime | None, int | None]
SCHEMA = {
    "camera_id": pl.String(),
    "captured_at": pl.Datetime("ms"),
    "utc_offset_minutes": pl.Int16(),
}


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 10, 25, hour, minute)


def hours(rows: list[Row]) -> list[float | None]:
    """The instants in hours of that day."""
    start = datetime(2026, 10, 25, tzinfo=UTC).timestamp() * 1000
    return [None if each is None else (each - start) / 3_600_000 for each in instants(frame(rows))]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("a", at(2, 30), 120), ("a", at(2, 30), 60)], [0.5, 1.5]),
        ([("a", at(2), 60), ("a", at(3), 60)], [2, 3]),  # one offset: the wall clock
        ([("a", at(2), None), ("a", at(3), None)], [2, 3]),
        ([("a", at(2), 60), ("a", at(3), None)], [2, 3]),
        # Unknown ones: of the last row before, else of the first one after, in any order of rows.
        ([("a", at(4), None), ("a", at(5), 60), ("a", at(3), 120)], [2, 4, 1]),
        ([("a", at(1), None), ("a", at(5), 60), ("a", at(3), 120)], [-1, 4, 1]),
        ([("a", at(5), None), ("a", at(5), 60), ("a", at(3), 120)], [4, 4, 1]),
        # Of one's own camera only; none at the camera: zero.
        ([("a", at(1), None), ("b", at(5), 60), ("b", at(3), 120)], [1, 4, 1]),
        ([("b", at(1), None), ("a", at(5), 60), ("b", at(3), 120)], [-1, 4, 1]),
        # A row without a time lends no offset.
        ([("a", None, 300), ("a", at(2), None), ("a", at(3), 60)], [None, 1, 2]),
        ([], []),
    ],
)
def test_instants_by_the_rule(rows: list[Row], expected: list[float | None]) -> None:
    assert hours(rows) == expected


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "ö"]),
        st.none() | st.integers(0, 6).map(at),
        st.sampled_from([None, -480, 60, 120]),
    ),
    max_size=12,
)


@given(ROWS)
def test_instants_equal_the_reference(rows: list[Row]) -> None:
    expected = []
    for camera, time, offset in rows:
        dated = sorted(
            (when, -1000 if own is None else own) for each, when, own in rows
            if each == camera and when is not None
        )  # fmt: skip
        known = [(when, own) for when, own in dated if own != -1000]
        if offset is None and time is not None:
            before = [own for when, own in known if when <= time]
            offset = (before or [own for when, own in known][::-1] or [0])[-1]
        if time is None:
            expected.append(None)
        else:
            utc = time.replace(tzinfo=UTC) - timedelta(minutes=offset or 0)
            expected.append(int(utc.timestamp() * 1000))
    found = instants(frame(rows)).to_list()
    if len({own for _, _, own in rows} - {None}) > 1:
        assert found == expected
    assert frame(rows).lazy().select(instant()).collect().to_series().to_list() == found
