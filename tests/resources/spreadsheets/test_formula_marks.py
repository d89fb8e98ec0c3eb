"""Formula marks: no spreadsheet runs a text, and readers get the text back."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.spreadsheets.formula_marks import FORMULA_PATTERN, mark, unmark


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+46 70", "-red fox", "@sum", "\t=1", "\r=1", '"=1"', " =1", "'=1", " ' =1", "＝1"],
)
def test_a_text_that_would_run_is_marked_and_comes_back(text: str) -> None:
    assert mark(text) == f"'{text}"
    assert unmark(mark(text)) == text


@pytest.mark.parametrize("text", ["", "red fox", "'quoted'", "a=b", "1-2", "2026-05-01", "räv"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert mark(text) == text == unmark(text)


@given(st.text(alphabet="=+-@\t\r '\"a１＝é", max_size=6) | st.text(max_size=20))
def test_the_round_trip_is_exact_for_every_text(text: str) -> None:
    assert unmark(mark(text)) == text
    # The CSV of many rows is marked by polars, with the same pattern.
    assert pl.Series([text]).str.contains(FORMULA_PATTERN).item() == (mark(text) != text)
