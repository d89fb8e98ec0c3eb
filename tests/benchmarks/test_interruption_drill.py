"""The interruption drill, on a small scale."""

import subprocess
import sys
from pathlib import Path

import pytest
from media_files import write_picture
from paths import ROOT


def run_drill(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "interruption_drill.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=550)


@pytest.mark.timeout(600)  # it takes a minute, more on a busy machine
def test_a_drill_interrupts_machines_kills_an_orchestrator_and_finds_nothing_lost(
    tmp_path: Path,
) -> None:
    card = write_picture(tmp_path / "card" / "IMAG0001.JPG", (320, 240)).parent
    words = ["--interruptions", "2", "--kills", "1", "--per-run", "2"]
    ended = run_drill(card, *words)
    assert ended.returncode == 0, ended.stderr
    assert "2 interruptions and 1 killed orchestrators in " in ended.stdout
    assert "same results as undisturbed runs, nothing twice, no job left." in ended.stdout
    assert "Wasted $" in ended.stdout


def test_a_drill_without_footage_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ended = run_drill(tmp_path / "empty")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: FOOTAGE ")
    assert ended.stderr.endswith("contains no pictures or videos\n")
