"""What earlier versions have stored, and what the tests of it ask of files.

`old_results/README.md` says what is in it, and how a version makes its own.
"""

import hashlib
import tarfile
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from command_line import CompletedCommand
from paths import ROOT

STORED = ROOT / "tests" / "old_results"
VERSIONS = sorted(path.name for path in STORED.glob("v*"))


@pytest.fixture(scope="module", params=VERSIONS)
def stored(request: pytest.FixtureRequest) -> Path:
    """The folder of a version."""
    return STORED / str(request.param)


def unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as packed:
        # As extractall(filter="data") does; Python 3.11.2 of Debian 12 lacks that argument.
        packed.extraction_filter = getattr(tarfile, "data_filter", None)
        packed.extractall(folder)


def done(ended: CompletedCommand) -> str:
    assert ended.code == 0, ended.out + ended.err
    return ended.out


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hashes(folder: Path) -> dict[str, str]:
    """Every file of a folder: its name and the hash of its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def usd(ledger: Path) -> Decimal:
    """What the rows of a ledger come to."""
    sums = (pl.read_parquet(path)["usd"].sum() for path in ledger.glob("*.parquet"))
    return sum(map(Decimal, sums), Decimal())


def new_media(journal: Path, before: dict[str, str]) -> list[str]:
    """Hashes of the media in the parts of Stage 1 that were not there before."""
    commits = journal.rglob("stage1/*/*.media.parquet")
    new = [each for each in commits if each.relative_to(journal).as_posix() not in before]
    return [row for each in new for row in pl.read_parquet(each)["content_hash"]]
