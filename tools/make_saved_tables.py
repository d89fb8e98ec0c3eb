"""Make tests/support/saved_tables: tables that LibreOffice has opened and saved, in Swedish.

    apt-get install --no-install-recommends libreoffice-calc
    python tools/make_saved_tables.py

The tables are invented (tests/support/filled_tables.py). Each is opened by LibreOffice without a
window, with Swedish as its locale, and saved as XLSX and as CSV with semicolons and decimal commas,
in UTF-8 and in Windows-1252. The tests read the saved files, so that they need no office suite.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import openpyxl

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parent / "tests" / "support"))

from filled_tables import DEPLOYMENTS, SAVED_TABLES, make_store, write_filled  # noqa: E402

# Of the user's profile of LibreOffice: its locale, which decides how numbers are shown and read.
SWEDISH = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Setup/L10N"><prop oor:name="ooSetupSystemLocale" oor:op="fuse">
<value>sv-SE</value></prop></item></oor:items>
"""
# Tokens of the filter: separator, quote, character set (76: UTF-8, 1: Windows-1252), first line, …,
# language (1053: Swedish), quote all texts, recognise numbers and days, save cells as shown.
# https://help.libreoffice.org/latest/en-US/text/shared/guide/csv_params.html
AS_CSV = "csv:Text - txt - csv (StarCalc):59,34,{charset},1,,1053,false,true,true"
FROM_CSV = "Text - txt - csv (StarCalc):44,34,76,1,,1053,false,true"
SAVED_AS = (("xlsx", "xlsx:Calc MS Excel 2007 XML"), ("utf8.csv", 76), ("cp1252.csv", 1))


def main() -> None:
    """Make the tables, and save them in each way."""
    SAVED_TABLES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for table in tables(folder):
            for suffix, way in SAVED_AS:
                target = way if isinstance(way, str) else AS_CSV.format(charset=way)
                saved = save(table, target, folder)
                saved.replace(SAVED_TABLES / f"{table.stem}_{table.suffix[1:]}.{suffix}")


def tables(folder: Path) -> Iterator[Path]:
    """Write the tables into a folder, and yield their paths."""
    write_filled(make_store(folder / "camera"), folder)
    book = openpyxl.Workbook()
    for row in DEPLOYMENTS:
        book.active.append(row)
    for cell in ("D3", "E2", "E3"):
        book.active[cell].number_format = "yyyy-mm-dd"
    book.active["G2"].data_type = "s"
    book.save(folder / "deployments.xlsx")
    for name in ("observations.csv", "observations.xlsx", "deployments.xlsx"):
        yield folder / name


def save(table: Path, target: str, folder: Path) -> Path:
    """Have LibreOffice open a table and save it; return the saved file."""
    profile, out = folder / "profile", folder / "out"
    (profile / "user").mkdir(parents=True, exist_ok=True)
    (profile / "user" / "registrymodifications.xcu").write_text(SWEDISH)
    opened = [f"--infilter={FROM_CSV}"] if table.suffix == ".csv" else []
    subprocess.run(
        [
            *("soffice", "--headless", f"-env:UserInstallation={profile.as_uri()}"),
            *opened,
            *("--convert-to", target, "--outdir", str(out), str(table)),
        ],
        check=True,
        timeout=180,
    )
    return out / f"{table.stem}.{target.partition(':')[0]}"


if __name__ == "__main__":
    main()
