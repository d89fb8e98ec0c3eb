"""The drill does what it says, on a small scale."""

from pathlib import Path

import pytest
from command_line import Munin
from conftest import write_picture


@pytest.mark.timeout(600)  # a minute, but for a busy machine
def test_a_drill_takes_machines_kills_an_orchestrator_and_finds_nothing_lost(
    tmp_path: Path,
) -> None:
    card = write_picture(tmp_path / "card" / "IMAG0001.JPG", (320, 240)).parent
    munin = Munin(tmp_path / "munin")
    words = ["--interruptions", "2", "--kills", "1", "--per-run", "2"]
    ended = munin("sandbox", "drill", card, *words, timeout=550)
    assert ended.code == 0, ended.err
    assert "2 interruptions and 1 killed orchestrators in " in ended.out
    assert "results as of undisturbed ones, nothing twice, no job left." in ended.out
    assert "wasted $" in ended.out


def test_a_drill_without_footage_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = Munin(tmp_path / "munin")("sandbox", "drill", tmp_path / "empty")
    assert ended.code == 2
    assert len(ended.errors) == 1
    assert "holds no pictures or videos" in ended.errors[0]
