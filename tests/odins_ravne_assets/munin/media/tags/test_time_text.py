"""Texts of times, as cameras and programs write them."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odins_ravne_assets.munin.media.tags.time_text import clean_text, parse_offset, parse_time_text

TAKEN = datetime(2021, 5, 28, 9, 30, 11)
TO_THE_MINUTE = TAKEN.replace(second=0)


@pytest.mark.parametrize(
    ("text", "at", "offset"),
    [
        # EXIF, and what cameras make of it
        ("2021:05:28 09:30:11", TAKEN, None),
        ("2021-05-28 09:30:11", TAKEN, None),
        ("2021/05/28 09:30:11", TAKEN, None),
        ("2021.05.28 09.30.11", TAKEN, None),
        ("2021 05 28 09 30 11", TAKEN, None),
        ("2021: 5:28  9:30:11", TAKEN, None),
        ("2021:05:28:09:30:11", TAKEN, None),
        ("2021:05:28 09:30", TO_THE_MINUTE, None),
        ("2021:05:28 09:30:11\0\1\x7f", TAKEN, None),
        ("2021:05:28 09:30:11\0002022:01:01 00:00:00", TAKEN, None),
        # am and pm
        ("2021:05:28 09:30:11 AM", TAKEN, None),
        ("2021:05:28 09:30:11AM", TAKEN, None),
        ("2021:05:28 09:30:11 PM", TAKEN.replace(hour=21), None),
        ("2021/ 5/28  9:30PM", TO_THE_MINUTE.replace(hour=21), None),
        ("2021:05:28 12:30:11 a.m.", TAKEN.replace(hour=0), None),
        ("2021:05:28 12:30:11 p.m.", TAKEN.replace(hour=12), None),
        ("2021:05:28 21:30:11 PM", TAKEN.replace(hour=21), None),
        # offsets and fractions
        ("2021-05-28T09:30:11Z", TAKEN, 0),
        ("2021-05-28T09:30:11 UTC", TAKEN, 0),
        ("2021-05-28T09:30:11+02:00", TAKEN, 120),
        ("2021:05:28 09:30:11-0330", TAKEN, -210),
        ("2021:05:28 09:30:11+2", TAKEN, 120),
        ("2021-05-28T09:30:11.25+0200", TAKEN.replace(microsecond=250_000), 120),
        ("2021:05:28 09:30:11,5", TAKEN.replace(microsecond=500_000), None),
        ("2021-05-28T09:30:11.123456789Z", TAKEN.replace(microsecond=123_000), 0),
        ("20210528T093011Z", TAKEN, 0),
        ("20210528 093011", TAKEN, None),
        # AVI
        ("2021/ 5/28  9:30", TO_THE_MINUTE, None),
        ("2021/05/28/ 09:30", TO_THE_MINUTE, None),
        ("2021/05/28/ 09:30:11\n", TAKEN, None),
        ("FRI MAY 28 09:30:11 2021\n\0", TAKEN, None),
        ("Fri May 28 09:30:11 2021", TAKEN, None),
        ("May 28 09:30:11 2021", TAKEN, None),
        # RFC 1123
        ("Fri, 28 May 2021 09:30:11 GMT", TAKEN, 0),
        ("28 May 2021 09:30:11 +0200", TAKEN, 120),
    ],
)
def test_a_time_is_read_with_its_offset(text: str, at: datetime, offset: int | None) -> None:
    assert parse_time_text(text) == (at, offset, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "blank or zeros"),
        ("    :  :     :  :  ", "blank or zeros"),
        ("0000:00:00 00:00:00", "blank or zeros"),
        ("0000-00-00T00:00:00", "blank or zeros"),
        ("2021:05:28", "not a time: '2021:05:28'"),
        ("28/05/2021 09:30:11", "not a time: '28/05/2021 09:30:11'"),
        ("05/06/2021 09:30:11", "not a time: '05/06/2021 09:30:11'"),
        ("28 Mai 2021 09:30:11", "not a time: '28 Mai 2021 09:30:11'"),
        ("0528 09:30:11", "not a time: '0528 09:30:11'"),
        ("2021:05:28 24:00:00", "not plausible: '2021:05:28 24:00:00'"),
        ("2021:02:29 09:30:11", "not plausible: '2021:02:29 09:30:11'"),
        ("1970:01:01 00:00:00", "not plausible: '1970:01:01 00:00:00'"),
        ("2021:05:28 09:30:11" + " " * 40 + "x" * 10**6, "not a time: '2021:05:28 09:30:11"),
    ],
)
def test_a_text_without_a_time_has_a_problem(text: str, problem: str) -> None:
    found = parse_time_text(text)
    assert found.at is None
    assert (found.problem or "").startswith(problem)


@given(st.text(max_size=80))
def test_any_text_is_handled(text: str) -> None:
    found = parse_time_text(text)
    assert (found.at is None) != (found.problem is None)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("+02:00", 120),
        ("+2:00", 120),
        ("-0330", -210),
        ("+2", 120),
        ("UTC+2", 120),
        ("UTC", 0),
        ("z", 0),
        ("+14:00", 840),
        ("+14:01", None),
        ("+02:60", None),
        ("   :  ", None),
    ],
)
def test_offsets_are_minutes(text: str, minutes: int | None) -> None:
    assert parse_offset(text) == minutes


@pytest.mark.parametrize(
    ("value", "text"),
    [(b"ACME  \0\1\2", "ACME"), ("\0ACME", "ACME"), (b"\0\0", ""), (5, ""), (None, "")],
)
def test_a_text_ends_at_its_first_nul(value: object, text: str) -> None:
    assert clean_text(value) == text
