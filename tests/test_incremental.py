"""What was looked at is not looked at again, and what changed is all that is."""

import polars as pl
import pytest

from odins_ravne_assets.munin.journal import HashSet


@pytest.mark.parametrize("zeros", [0, 1, 2, 16])
def test_the_journal_knows_a_hash_whose_first_half_ends_in_zeros(zeros: int) -> None:
    content_hash = "ab" * (16 - zeros) + "00" * zeros + "cd" * 16
    other = "ab" * 15 + "01" + "cd" * 16
    finished = HashSet([pl.Series([content_hash])])
    assert content_hash in finished
    assert other not in finished
