"""What the campaign of kills does, and what it would find; the campaign itself takes an hour."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kill_processes import (
    DOWNLOAD,
    HERE,
    STAGING,
    TARGETS,
    Ended,
    Running,
    kills_of,
    problems_of_end,
    write_card,
)


def test_kills_are_those_of_the_seed_and_cover_every_target() -> None:
    kills = kills_of(1, 60)
    assert kills == kills_of(1, 60) != kills_of(2, 60)
    assert {kill.target for kill in kills if kill.place == HERE} == set(TARGETS)
    assert {kill.place for kill in kills} == {HERE, STAGING, DOWNLOAD}
    # The worker of a run on S3 is a job elsewhere.
    assert not {kill.target for kill in kills if kill.place != HERE} & {"worker", "decoder"}


@pytest.mark.parametrize(
    ("ended", "problem"),
    [
        (Ended(0, "done"), None),
        (Ended(-9, ""), None),
        (Ended(1, "error: the run was killed by SIGKILL; run again to continue"), None),
        (Ended(130, "card: stopped; run the same command again to continue"), None),
        (Ended(1, "some text"), "exit code 1 without a reason: some text"),
        (Ended(1, "error: a\nTraceback (most recent call last):"), "a traceback: error: a"),
        (Ended(1, "error: the command hangs: at"), "error: the command hangs: at"),
    ],
)
def test_a_command_must_say_why_it_ended(ended: Ended, problem: str | None) -> None:
    found = problems_of_end(ended)
    assert [each.partition("\n")[0] for each in found] == ([problem] if problem else [])


@pytest.mark.parametrize("target", ["command", "group", "all"])
def test_a_signal_ends_the_command_and_its_processes(target: str, tmp_path: Path) -> None:
    program = "import subprocess, sys; subprocess.run(['sleep', '60'])"
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    running = Running(process, tmp_path / "log")
    (tmp_path / "log").write_text("text")
    while len(running.processes("all")) < 2:
        time.sleep(0.01)
    below = running.processes("all")[1]
    assert running.processes("worker") == []
    assert not running.send("worker", signal.SIGKILL)
    assert running.send(target, signal.SIGKILL)
    assert running.wait() == Ended(-signal.SIGKILL, "text")
    if target != "command":
        below.wait(10)
    else:
        below.kill()
    assert not running.send(target, signal.SIGKILL)


def test_the_card_has_sound_and_damaged_media(tmp_path: Path) -> None:
    card = write_card(tmp_path / "card")
    assert {path.suffix for path in card.rglob("*.*")} == {".JPG", ".MP4", ".jpg", ".mp4"}
    first = next((card / "damaged").iterdir())
    assert first.stat().st_size < 10_000
