"""Counts, numbers, days and times as people and spreadsheets write them."""

from datetime import datetime

import pytest

from resources.spreadsheets.values import is_day_alone, parse_count, parse_date_end, parse_number
from resources.spreadsheets.values import parse_time as read


@pytest.mark.parametrize(
    ("text", "count"), [("2", 2), ("2.0", 2), ("2,0", 2), ("007", 7), ("0", 0)]
)
def test_a_count(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "text", ["", "2.5", "-1", "2-3", "5+", "²", "1e3", "two", "9" * 99, "1 000"]
)
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(ValueError, match="allowed is a whole number in digits"):
        parse_count(text)


@pytest.mark.parametrize(
    ("text", "comma", "number"),
    [
        ("59.32", False, 59.32),
        ("59,32", True, 59.32),
        ("59.32", True, 59.32),  # a cell that the spreadsheet took for text
        ("-0,5", True, -0.5),
        ("−0.5", False, -0.5),
        ("17", True, 17),
        ("1E-3", False, 0.001),
    ],
)
def test_a_number(text: str, comma: bool, number: float) -> None:
    assert parse_number(text, decimal_comma=comma) == number


@pytest.mark.parametrize(
    ("text", "comma"),
    [
        ("59,32", False),
        ("1,234.5", True),
        ("1.234,5", True),
        ("1,2,3", True),
        ("", True),
        ("x", False),
    ],
)
def test_what_is_no_number(text: str, comma: bool) -> None:
    with pytest.raises(ValueError, match="allowed is a number"):
        parse_number(text, decimal_comma=comma)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-05-28", "2026-05-28T00:00:00"),
        ("20260528", "2026-05-28T00:00:00"),
        ("2026-05-28T09:30:11", "2026-05-28T09:30:11"),
        ("2026-05-28 9:30", "2026-05-28T09:30:00"),
        ("2026-05-28T07:00:00Z", "2026-05-28T07:00:00+00:00"),
        ("2026-05-28T09:30+02:00", "2026-05-28T09:30:00+02:00"),
        ("20260528T093011", "2026-05-28T09:30:11"),
        ("2026/5/8", "2026-05-08T00:00:00"),  # the year first: one meaning
        ("28/05/2026 09:30", "2026-05-28T09:30:00"),
        ("28.5.2026", "2026-05-28T00:00:00"),
        ("5/28/2026 9:30 AM", "2026-05-28T09:30:00"),
        ("5/28/2026 12:05:07 AM", "2026-05-28T00:05:07"),
        ("5/28/2026 1:05 pm", "2026-05-28T13:05:00"),
        ("05/05/2026", "2026-05-05T00:00:00"),  # the same day either way
    ],
)
def test_a_time_has_one_meaning(text: str, time: str) -> None:
    assert read(text).isoformat() == time


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("05/06/2026", "day and month could be read either way; write the year first"),
        ("5.6.2026 12:00", "day and month could be read either way"),
        ("28/05/26", "the year must have four digits"),
        ("31/02/2026", "there is no such day"),
        ("28/05/2026 25:00", "there is no such time"),
        ("5/28/2026 13:00 PM", "there is no such time"),
        ("46170", "it is a plain number; format the cell as a date"),
        ("46170.4", "allowed is a day or a time"),
        ("May", "allowed is a day or a time, as 2026-05-28"),
        ("9" * 5000, "it is a plain number"),
        ("", "allowed is a day"),
    ],
)
def test_what_is_no_time_or_could_be_two(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(text)


@pytest.mark.parametrize("text", ["2026-05-03", "20260503", "2026/5/3", "13/5/2026", "2026-W19-1"])
def test_a_day_alone_as_an_end_lasts_to_its_last_second(text: str) -> None:
    end = parse_date_end(text)
    assert is_day_alone(text)
    assert (end.hour, end.minute, end.second) == (23, 59, 59)


def test_a_time_as_an_end_is_itself() -> None:
    assert parse_date_end("2026-05-03 00:00") == datetime(2026, 5, 3)
