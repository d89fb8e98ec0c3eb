"""However a run ends, the next one resumes it: nothing is lost, nothing is done twice."""

import dataclasses
import hashlib
import json
import os
import random
import signal
import struct
import subprocess
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
import pytest
from command_line import (
    CompletedCommand,
    Munin,
    journal_hashes,
    make_demo_footage,
    processed,
    results,
)
from dagster import DagsterRunStatus, RunsFilter
from in_process import MuninInProcess
from media_files import write_picture, write_video
from PIL import Image

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.defs.assets import footage, stages_1_to_3
from resources.launch.hooks import LaunchHooks, Progress
from resources.launch.local_launcher import LocalStepLauncher
from resources.settings.dagster_resource import RunSettings
from resources.storage.local_store import LocalStore

WORKER = "odins_ravne_assets.worker"
# More than one part of the journal has, so that interrupted runs leave several parts.
BROKEN = 280
SEEDS = range(10)
# A process whose parent has died finishes the medium in progress and exits.
EXIT_TIMEOUT_SECONDS = 30.0


def write_broken_png(path: Path, number: int) -> None:
    """Write a PNG with a valid header and damaged pixels, which only Stage 1 finds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    path.parent.mkdir(parents=True, exist_ok=True)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0))
    comment, pixels = chunk(b"tEXt", b"Comment\0%d" % number), chunk(b"IDAT", b"no pixels")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + comment + pixels)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera's footage: animals, a person, empty stills, clips, and a damaged folder."""
    folder = make_demo_footage(tmp_path_factory.mktemp("footage") / "card")
    for number in range(BROKEN):
        write_broken_png(folder / "DCIM" / "101BROKE" / f"IMAG{number:04d}.PNG", number)
    later = folder / "DCIM" / "102MEDIA"
    for number in range(5):
        taken = {"DateTimeOriginal": f"2026:05:20 0{number}:00:00"}
        write_picture(later / f"IMAG000{number}.JPG", (320, 240), exif=taken, shift=number)
    write_video(later / "IMAG0009.AVI", (320, 240), frames=30, fps=10)
    for still in sorted((folder / "DCIM" / "100MEDIA").glob("*.JPG")):
        Image.open(still).save(later / f"AGAIN-{still.name}", quality=60)
    return folder


@dataclass(frozen=True)
class Uninterrupted:
    """A run without an interruption."""

    files: dict[str, bytes]
    hashes: set[str]
    # Duration of the process of a run that has nothing left to do.
    seconds: float


@pytest.fixture(scope="module")
def munin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Munin]:
    # Runs that are to be interrupted are started as processes: `Munin.start`.
    command = MuninInProcess(tmp_path_factory.mktemp("munin"))
    yield command
    for process in command.processes():
        process.kill()


@pytest.fixture(scope="module")
def uninterrupted(card: Path, munin: Munin) -> Uninterrupted:
    output = munin.folder / "uninterrupted"
    assert munin("batch", card, output, "--camera", "card").code == 0
    expected = results(output), set(journal_hashes(output))
    command = munin.start("batch", card, output, "--camera", "card")
    run_of(command)
    started = time.monotonic()
    assert munin.wait(command).code == 0
    return Uninterrupted(*expected, time.monotonic() - started)


def run_of(command: subprocess.Popen[str]) -> psutil.Process:
    """Wait for the process of a command's one run."""
    while command.poll() is None:
        for child in psutil.Process(command.pid).children():
            with suppress(psutil.Error):  # it has exited
                if "odins_ravne_assets.run_camera" in child.cmdline():
                    return child
        time.sleep(0.01)
    raise AssertionError(command.communicate())


def moment_of(seed: int) -> float:
    """Return the moment of an interruption, as a share of a run; the seeds cover all of it."""
    return (seed + random.Random(seed).random()) / len(SEEDS)


def run_and_interrupt(
    munin: Munin, card: Path, output: Path, moment: float, interrupt: Callable[[int, int], None]
) -> CompletedCommand | None:
    """Run the command and interrupt it, some seconds after the start of its run's process.

    Args:
        interrupt: is called with the process ids of the command and of its run.

    Returns:
        The command; None if it had finished its work before.
    """
    command = munin.start("batch", card, output, "--camera", "card")
    run = run_of(command)
    time.sleep(moment)
    in_time = run.is_running() and run.status() != psutil.STATUS_ZOMBIE
    if in_time:
        interrupt(command.pid, run.pid)
    ended = munin.wait(command)
    return ended if in_time and ended.code else None


def interrupt_ten_times(
    munin: Munin,
    card: Path,
    uninterrupted: Uninterrupted,
    interrupt: Callable[[int, int], None],
    check: Callable[[CompletedCommand], None],
) -> None:
    """Interrupt runs at the moments of all seeds, each run resuming the one before: the first runs
    while they start, the next ones while they process media, the last while they write results.

    If a run finishes before its moment, the next one has a new output, and an earlier moment if
    the run that finished had everything to do.
    """
    chains = 0
    output = munin.folder / f"{interrupt.__name__}-{chains}"
    for seed in SEEDS:
        moment = moment_of(seed) * uninterrupted.seconds
        while True:
            fresh = not output.exists()
            if ended := run_and_interrupt(munin, card, output, moment, interrupt):
                check(ended)
                break
            assert_nothing_lost_or_done_twice(munin, output, uninterrupted)
            chains += 1
            output = munin.folder / f"{interrupt.__name__}-{chains}"
            moment *= 0.8 if fresh else 1.0
    assert munin("batch", card, output, "--camera", "card").code == 0
    assert_nothing_lost_or_done_twice(munin, output, uninterrupted)


def assert_nothing_lost_or_done_twice(
    munin: Munin, output: Path, uninterrupted: Uninterrupted
) -> None:
    """Check the results of a run that resumed an interrupted one."""
    assert results(output) == uninterrupted.files
    hashes = journal_hashes(output)
    assert len(hashes) == len(set(hashes))
    assert set(hashes) == uninterrupted.hashes
    assert not list(output.rglob(".partial-*"))
    assert_no_process_is_left(munin)


def assert_no_process_is_left(munin: Munin) -> None:
    _, alive = psutil.wait_procs(munin.processes(), timeout=EXIT_TIMEOUT_SECONDS)
    assert not alive


def kill_the_run(command: int, run: int) -> None:
    os.kill(run, signal.SIGKILL)


def kill_the_command(command: int, run: int) -> None:
    os.kill(command, signal.SIGKILL)


def press_ctrl_c(command: int, run: int) -> None:
    os.kill(command, signal.SIGINT)


@pytest.mark.timeout(900)
def test_after_kill_9_of_the_run_the_next_one_resumes(
    munin: Munin, card: Path, uninterrupted: Uninterrupted
) -> None:
    def check(ended: CompletedCommand) -> None:
        assert ended.code == 1
        assert len(ended.errors) == 1
        assert (
            "camera card: the run was killed by SIGKILL; run again to continue" in ended.errors[0]
        )

    interrupt_ten_times(munin, card, uninterrupted, kill_the_run, check)


@pytest.mark.timeout(900)
def test_after_kill_9_of_the_command_the_next_one_resumes(
    munin: Munin, card: Path, uninterrupted: Uninterrupted
) -> None:
    def check(ended: CompletedCommand) -> None:
        assert ended.code == -signal.SIGKILL

    interrupt_ten_times(munin, card, uninterrupted, kill_the_command, check)


@pytest.mark.timeout(900)
def test_after_ctrl_c_the_next_run_resumes(
    munin: Munin, card: Path, uninterrupted: Uninterrupted
) -> None:
    def check(ended: CompletedCommand) -> None:
        assert ended.code == 130
        assert not ended.errors
        assert "card: stopped; run the same command again to continue" in ended.err

    interrupt_ten_times(munin, card, uninterrupted, press_ctrl_c, check)


def launch(
    card: Path, output: Path, launcher: LocalStepLauncher, instance: dg.DagsterInstance
) -> dg.ExecuteInProcessResult:
    """Run a camera in this process, with real workers and without the command."""
    catalog = CameraCatalog(output.parent / f"{output.name}-catalog")
    catalog.put(Camera("card", card.as_uri(), output.as_uri()))
    instance.add_dynamic_partitions("camera", ["card"])
    return dg.materialize(
        [footage, stages_1_to_3],
        partition_key="card",
        instance=instance,
        resources={"settings": RunSettings(), "catalog": catalog, "launcher": launcher},
    )


def workers() -> list[psutil.Process]:
    """Return the running workers of this process."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it has exited
            if WORKER in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


@contextmanager
def polling(poll: Callable[[], None]) -> Iterator[None]:
    """Call a function repeatedly in a thread, during the block."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(0.01):
            poll()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Killer:
    """Kills a worker at moments of the workers' total lifetime, in seconds."""

    def __init__(self, *moments: float) -> None:
        self.lifetime = 0.0
        self.killed = 0
        self._moments = sorted(moments)
        self._polled_at = time.monotonic()

    def poll(self) -> None:
        now, alive = time.monotonic(), workers()
        self.lifetime += (now - self._polled_at) * bool(alive)
        self._polled_at = now
        if alive and self._moments and self.lifetime >= self._moments[0]:
            alive[0].kill()
            del self._moments[0]
            self.killed += 1


@pytest.fixture(scope="module")
def worker_lifetime(card: Path, munin: Munin) -> float:
    """The total lifetime of the workers of an uninterrupted run, in seconds."""
    patient = Killer()
    with dg.DagsterInstance.ephemeral() as instance, polling(patient.poll):
        launcher = LocalStepLauncher(WORKER)
        assert launch(card, munin.folder / "patient", launcher, instance).success
    return patient.lifetime


@pytest.mark.parametrize("seed", range(len(SEEDS) // 2))
def test_after_kill_9_of_a_worker_another_one_resumes(
    munin: Munin, card: Path, uninterrupted: Uninterrupted, worker_lifetime: float, seed: int
) -> None:
    """Kill one worker in each half of a run: ten in all."""
    killer = Killer()
    for speed in (1, 3, 9):  # for a machine that has become faster since the measurement
        shares = [moment_of(each) / speed for each in (seed, seed + len(SEEDS) // 2)]
        moments = [share * worker_lifetime for share in shares]
        output = munin.folder / f"kill-a-worker-{seed}-{speed}"
        killer = Killer(*moments)
        with dg.DagsterInstance.ephemeral() as instance, polling(killer.poll):
            assert launch(card, output, LocalStepLauncher(WORKER), instance).success
        assert killer.killed == sum(moment <= killer.lifetime for moment in moments)
        assert_nothing_lost_or_done_twice(munin, output, uninterrupted)
        if killer.killed:
            break
    assert killer.killed


def test_media_that_kill_every_worker_are_set_aside_and_the_others_are_processed(
    tmp_path: Path,
) -> None:
    card, output = tmp_path / "card", tmp_path / "output"
    for number in (1, 4):
        write_picture(card / f"IMAG000{number}.JPG", (320, 240), shift=number)
    # Neighbours, so that the worker that has set the first aside meets the second; clips, so that
    # each takes a while.
    poison = ["IMAG0002.AVI", "IMAG0003.AVI"]
    for number, name in enumerate(poison):
        write_video(card / name, (320 + 16 * number, 240), frames=60, fps=2)
    hashes = [hashlib.sha256((card / name).read_bytes()).hexdigest() for name in poison]
    marks: list[tuple[str, int]] = []
    killed_unmarked: list[psutil.Process] = []

    def kill_the_first(progress: Progress) -> None:
        if progress["stage"] == "detections" and not killed_unmarked:
            killed_unmarked.extend(workers())
            killed_unmarked[0].kill()

    def kill_at_poison() -> None:
        with suppress(FileNotFoundError):  # no medium is marked
            marked = json.loads((output / "journal" / "in-hand.json").read_text())
            mark = (marked["content_hash"], marked["deaths"])
            if mark[0] in hashes and mark not in marks:
                marks.append(mark)
                workers()[0].kill()

    with dg.DagsterInstance.ephemeral() as instance, polling(kill_at_poison):
        launcher = LocalStepLauncher(WORKER, LaunchHooks(on_progress=kill_the_first))
        assert launch(card, output, launcher, instance).success
    assert marks == [(content, deaths) for content in hashes for deaths in (0, 1)]
    assert processed(output) == {
        "IMAG0001.JPG": ("done", None),
        "IMAG0002.AVI": ("failed", "skipped: the worker crashed 2 times on this file"),
        "IMAG0003.AVI": ("failed", "skipped: the worker crashed 2 times on this file"),
        "IMAG0004.JPG": ("done", None),
    }
    assert sorted(journal_hashes(output)) == sorted(set(journal_hashes(output)))
    assert not (output / "journal" / "in-hand.json").exists()


def log(munin: Munin, camera: str = "card") -> Iterator[str]:
    """Yield the log of the latest run of a camera."""
    with munin.instance() as instance:
        for run in instance.get_runs(RunsFilter(tags={"dagster/partition": camera}), limit=1):
            yield from (entry.message for entry in instance.all_logs(run.run_id))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + EXIT_TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_parallel_runs_of_a_camera_do_its_work_once(
    munin: Munin, card: Path, uninterrupted: Uninterrupted
) -> None:
    output = munin.folder / "two-at-once"
    commands = [munin.start("batch", card, output, "--camera", "card") for _ in range(2)]
    assert [munin.wait(command).code for command in commands] == [0, 0]
    assert_nothing_lost_or_done_twice(munin, output, uninterrupted)


def test_a_run_that_waits_for_another_one_of_its_camera_can_be_stopped(
    munin: Munin, card: Path
) -> None:
    output = munin.folder / "in-use"
    with LocalStore(output).exclusive(lambda: None):
        command = munin.start("batch", card, output, "--camera", "waiting")
        wait_until(lambda: any("waiting for its end" in line for line in log(munin, "waiting")))
        started = time.monotonic()
        command.send_signal(signal.SIGINT)
        assert munin.wait(command).code == 130
        assert time.monotonic() - started < 10
    assert_no_process_is_left(munin)


def test_a_second_ctrl_c_ends_the_command_immediately(munin: Munin, card: Path) -> None:
    command = munin.start("batch", card, munin.folder / "impatient", "--camera", "impatient")
    wait_until(
        lambda: any(line.startswith("Started execution") for line in log(munin, "impatient"))
    )
    command.send_signal(signal.SIGINT)
    time.sleep(0.1)
    command.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert munin.wait(command).code == 130
    assert time.monotonic() - started < 5
    assert_no_process_is_left(munin)


def test_a_run_ends_with_its_command_even_if_the_shell_ignores_interrupts(
    munin: Munin, card: Path
) -> None:
    def ignore_interrupts() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    in_background = dataclasses.replace(munin, before_start=ignore_interrupts)
    command = in_background.start("batch", card, munin.folder / "behind", "--camera", "behind")
    wait_until(lambda: any(line.startswith("Started execution") for line in log(munin, "behind")))
    command.kill()
    munin.wait(command)
    assert_no_process_is_left(munin)


def test_a_run_whose_process_was_killed_is_failed_by_the_next_command(
    munin: Munin, card: Path
) -> None:
    command = munin.start("batch", card, munin.folder / "dead", "--camera", "dead")
    run = run_of(command)
    wait_until(lambda: any(line.startswith("Started execution") for line in log(munin, "dead")))
    run.kill()
    munin.wait(command)
    with munin.instance() as instance:
        (left,) = instance.get_runs(RunsFilter(tags={"dagster/partition": "dead"}))
        assert not left.is_finished
        munin("status")
        assert instance.get_run_by_id(left.run_id).status == DagsterRunStatus.FAILURE
    assert "process was killed." in " ".join(log(munin, "dead"))


def test_no_run_is_left_unfinished_in_the_instance(munin: Munin, uninterrupted: object) -> None:
    """Covers all runs above that were killed or stopped."""
    with munin.instance() as instance:
        statuses = Counter(run.status for run in instance.get_runs())
    assert statuses.keys() <= {
        DagsterRunStatus.SUCCESS,
        DagsterRunStatus.FAILURE,
        DagsterRunStatus.CANCELED,
    }
