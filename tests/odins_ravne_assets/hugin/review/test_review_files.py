"""Review files: counts of animals."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from odins_ravne_assets.hugin.identification.taxonomy import project_taxonomy
from odins_ravne_assets.hugin.review.review_files import ReviewTables, parse_review_file
from odins_ravne_assets.munin.tables import schemas
from resources.errors import UsageError


@pytest.mark.parametrize("count", ["9" * 5000, "100001", "-1", "²", "1e3", "two"])
def test_a_count_that_is_no_number_of_animals_is_one_line(count: str, tmp_path: Path) -> None:
    file = tmp_path / "review.csv"
    file.write_text(f"path,species,count\n1.jpg,red fox,{count}\n", encoding="utf-8")
    tables = ReviewTables(
        "ridge",
        pl.DataFrame({"path": ["1.jpg"], "content_hash": ["ab"]}),
        schemas.DETECTIONS.to_frame(),
        schemas.OBSERVATIONS.to_frame(),
    )
    with pytest.raises(UsageError, match=f"^{file}, line 2: count '.+' is not a number") as refused:
        parse_review_file(file, tables, project_taxonomy(()), "Anna", date(2026, 6, 1))
    assert len(str(refused.value)) < 250 + len(str(file))
