"""However a run ends, the next one goes on from there: nothing is lost, nothing is done twice."""

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
from command_line import CompletedCommand, Munin, journal_hashes, make_demo_footage, processed, results
from dagster import DagsterRunStatus, RunsFilter
from media_files import write_picture, write_video
from PIL import Image

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.defs.assets import footage, stages_1_to_3
from resources.launch.hooks import LaunchHooks, Progress
from resources.launch.local_launcher import LocalStepLauncher
from resources.settings.dagster_resource import RunSettings
from resources.storage.local_store import LocalStore

WORKER = "odins_ravne_assets.worker"
# More than a part of the journal holds, so that interrupted runs leave some parts behind.
BROKEN = 280
SEEDS = range(10)
# A process ends itself when its parent is gone; until then it finishes what is in hand.
ENDS_WITHIN = 30.0


def write_broken_png(path: Path, number: int) -> None:
    """A PNG whose header is whole and whose pixels are not: it takes Stage 1 to find out."""

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
    """A camera's footage: animals, a person, empties, clips, and a folder that went bad."""
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
    """A run that nothing came across."""

    files: dict[str, bytes]
    hashes: set[str]
    # From the start of the process to its end, of one that goes on from there: what any run takes.
    seconds: float


@pytest.fixture(scope="module")
def munin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Munin]:
    command = Munin(tmp_path_factory.mktemp("munin"))
    yield command
    for process in command.processes():
        process.kill()


@pytest.fixture(scope="module")
def uninterrupted(card: Path, munin: Munin) -> Uninterrupted:
    output = munin.folder / "uninterrupted"
    assert munin("batch", card, output, "--camera", "card").code == 0
    made = results(output), set(journal_hashes(output))
    command = munin.start("batch", card, output, "--camera", "card")
    run_of(command)
    started = time.monotonic()
    assert munin.wait(command).code == 0
    return Uninterrupted(*made, time.monotonic() - started)


def run_of(command: subprocess.Popen[str]) -> psutil.Process:
    """The process of a command's one run, as soon as there is one."""
    while command.poll() is None:
        for child in psutil.Process(command.pid).children():
            with suppress(psutil.Error):  # one that has ended has no command any more
                if "odins_ravne_assets.run_camera" in child.cmdline():
                    return child
        time.sleep(0.01)
    raise AssertionError(command.communicate())


def moment_of(seed: int) -> float:
    """When to strike, as a share of a run's time: the seeds are spread over it."""
    return (seed + random.Random(seed).random()) / len(SEEDS)


def strike(
    munin: Munin, card: Path, output: Path, moment: float, blow: Callable[[int, int], None]
) -> CompletedCommand | None:
    """Run the command and strike it at a moment, in seconds since its run's process is there.

    Args:
        blow: is told the process ids of the command and of its run.

    Returns:
        How the command ended; None when it had done all its work before.
    """
    command = munin.start("batch", card, output, "--camera", "card")
    run = run_of(command)
    time.sleep(moment)
    in_time = run.is_running() and run.status() != psutil.STATUS_ZOMBIE
    if in_time:
        blow(command.pid, run.pid)
    ended = munin.wait(command)
    return ended if in_time and ended.code else None


def strike_ten_times(
    munin: Munin,
    card: Path,
    uninterrupted: Uninterrupted,
    blow: Callable[[int, int], None],
    check: Callable[[CompletedCommand], None],
) -> None:
    """Strike runs at the moments of all seeds, each run going on from the one before: the first
    as they begin, the middle ones as they look at media, the last as they write results.

    Where the work is done before its moment comes, the next run begins with an output of its own;
    and earlier, if even a run that has everything to do is faster than the one that was measured.
    """
    chains = 0
    output = munin.folder / f"{blow.__name__}-{chains}"
    for seed in SEEDS:
        moment = moment_of(seed) * uninterrupted.seconds
        while True:
            fresh = not output.exists()
            if ended := strike(munin, card, output, moment, blow):
                check(ended)
                break
            assert_nothing_lost_or_done_twice(munin, output, uninterrupted)
            chains += 1
            output = munin.folder / f"{blow.__name__}-{chains}"
            moment *= 0.8 if fresh else 1.0
    assert munin("batch", card, output, "--camera", "card").code == 0
    assert_nothing_lost_or_done_twice(munin, output, uninterrupted)


def assert_nothing_lost_or_done_twice(
    munin: Munin, output: Path, uninterrupted: Uninterrupted
) -> None:
    """The results of a run that went on from an interrupted one."""
    assert results(output) == uninterrupted.files
    hashes = journal_hashes(output)
    assert len(hashes) == len(set(hashes))
    assert set(hashes) == uninterrupted.hashes
    assert not list(output.rglob(".partial-*"))
    assert_no_process_is_left(munin)


def assert_no_process_is_left(munin: Munin) -> None:
    _gone, alive = psutil.wait_procs(munin.processes(), timeout=ENDS_WITHIN)
    assert not alive


def kill_the_run(command: int, run: int) -> None:
    os.kill(run, signal.SIGKILL)


def kill_the_command(command: int, run: int) -> None:
    os.kill(command, signal.SIGKILL)


def press_ctrl_c(command: int, run: int) -> None:
    os.kill(command, signal.SIGINT)


@pytest.mark.timeout(900)
def test_after_kill_9_of_the_run_the_next_one_goes_on(
    munin: Munin, card: Path, uninterrupted: Uninterrupted
) -> None:
    def check(ended: CompletedCommand) -> None:
        assert ended.code == 1
        assert len(ended.errors) == 1
        assert "camera card: the run was killed by SIGKILL; run again to continue" in ended.errors[0]

    strike_ten_times(munin, card, uninterrupted, kill_the_run, check)


@pytest.mark.timeout(900)
def test_after_kill_9_of_the_command_the_next_one_goes_on(
    munin: Munin, card: Path, uninterrupted: Uninterrupted
) -> None:
    def check(ended: CompletedCommand) -> None:
        assert ended.code == -signal.SIGKILL

    strike_ten_times(munin, card, uninterrupted, kill_the_command, check)


@pytest.mark.timeout(900)
def test_after_ctrl_c_the_next_run_goes_on(
    munin: Munin, card: Path, uninterrupted: Uninterrupted
) -> None:
    def check(ended: CompletedCommand) -> None:
        assert ended.code == 130
        assert not ended.errors
        assert "card: stopped; run the same command again to continue" in ended.err

    strike_ten_times(munin, card, uninterrupted, press_ctrl_c, check)


def launch(
    card: Path, output: Path, launcher: LocalStepLauncher, instance: dg.DagsterInstance
) -> dg.ExecuteInProcessResult:
    """A camera's run in this process: the workers are real, the command is left out."""
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
    """The workers that this process has started and that live."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it ended meanwhile
            if WORKER in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


@contextmanager
def watching(look: Callable[[], None]) -> Iterator[None]:
    """Look again and again, in a thread, for as long as the context lasts."""
    over = threading.Event()

    def again() -> None:
        while not over.wait(0.01):
            look()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Killer:
    """Kills a worker each time that workers have lived for some seconds in all."""

    def __init__(self, *moments: float) -> None:
        self.lived = 0.0
        self.killed = 0
        self._moments = sorted(moments)
        self._looked = time.monotonic()

    def look(self) -> None:
        now, alive = time.monotonic(), workers()
        self.lived += (now - self._looked) * bool(alive)
        self._looked = now
        if alive and self._moments and self.lived >= self._moments[0]:
            alive[0].kill()
            del self._moments[0]
            self.killed += 1


@pytest.fixture(scope="module")
def life_of_workers(card: Path, munin: Munin) -> float:
    """For how many seconds there are workers in a run that nothing comes across."""
    patient = Killer()
    with dg.DagsterInstance.ephemeral() as instance, watching(patient.look):
        launcher = LocalStepLauncher(WORKER)
        assert launch(card, munin.folder / "patient", launcher, instance).success
    return patient.lived


@pytest.mark.parametrize("seed", range(len(SEEDS) // 2))
def test_after_kill_9_of_a_worker_another_one_goes_on(
    munin: Munin, card: Path, uninterrupted: Uninterrupted, life_of_workers: float, seed: int
) -> None:
    """Two workers of a run, in each half of its work one: ten kills in all."""
    killer = Killer()
    for haste in (1, 3, 9):  # a machine that has become quicker meanwhile is struck earlier
        shares = [moment_of(each) / haste for each in (seed, seed + len(SEEDS) // 2)]
        moments = [share * life_of_workers for share in shares]
        output = munin.folder / f"kill-a-worker-{seed}-{haste}"
        killer = Killer(*moments)
        with dg.DagsterInstance.ephemeral() as instance, watching(killer.look):
            assert launch(card, output, LocalStepLauncher(WORKER), instance).success
        assert killer.killed == sum(moment <= killer.lived for moment in moments)
        assert_nothing_lost_or_done_twice(munin, output, uninterrupted)
        if killer.killed:
            break
    assert killer.killed


def test_media_that_kill_every_worker_are_set_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    card, output = tmp_path / "card", tmp_path / "output"
    for number in (1, 4):
        write_picture(card / f"IMAG000{number}.JPG", (320, 240), shift=number)
    # Neighbours, so that the second is met by the worker that has just set the first aside; clips,
    # so that each is in hand for a while.
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

    def kill_who_takes_poison() -> None:
        with suppress(FileNotFoundError):  # nothing is marked now
            marked = json.loads((output / "journal" / "in-hand.json").read_text())
            mark = (marked["content_hash"], marked["deaths"])
            if mark[0] in hashes and mark not in marks:
                marks.append(mark)
                workers()[0].kill()

    with dg.DagsterInstance.ephemeral() as instance, watching(kill_who_takes_poison):
        launcher = LocalStepLauncher(WORKER, LaunchHooks(on_progress=kill_the_first))
        assert launch(card, output, launcher, instance).success
    assert marks == [(content, deaths) for content in hashes for deaths in (0, 1)]
    assert processed(output) == {
        "IMAG0001.JPG": ("done", None),
        "IMAG0002.AVI": ("failed", "set aside: its worker died 2 times while looking at it"),
        "IMAG0003.AVI": ("failed", "set aside: its worker died 2 times while looking at it"),
        "IMAG0004.JPG": ("done", None),
    }
    assert sorted(journal_hashes(output)) == sorted(set(journal_hashes(output)))
    assert not (output / "journal" / "in-hand.json").exists()


def log(munin: Munin, camera: str = "card") -> Iterator[str]:
    """What the latest run of a camera has logged."""
    with munin.instance() as instance:
        for run in instance.get_runs(RunsFilter(tags={"dagster/partition": camera}), limit=1):
            yield from (entry.message for entry in instance.all_logs(run.run_id))


def wait_until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + ENDS_WITHIN
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_two_runs_of_a_camera_at_once_do_its_work_once(
    munin: Munin, card: Path, uninterrupted: Uninterrupted
) -> None:
    output = munin.folder / "two-at-once"
    commands = [munin.start("batch", card, output, "--camera", "card") for _ in range(2)]
    assert [munin.wait(command).code for command in commands] == [0, 0]
    assert_nothing_lost_or_done_twice(munin, output, uninterrupted)


def test_a_run_waits_for_another_one_of_its_camera_and_can_be_stopped_meanwhile(
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


def test_a_second_ctrl_c_ends_the_command_at_once(munin: Munin, card: Path) -> None:
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


def test_a_run_ends_with_its_command_also_where_a_shell_has_it_ignore_interrupts(
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


def test_a_run_whose_process_was_killed_is_marked_as_failed_by_the_next_look(
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
    """Of all the runs above that were killed or stopped."""
    with munin.instance() as instance:
        statuses = Counter(run.status for run in instance.get_runs())
    assert statuses.keys() <= {
        DagsterRunStatus.SUCCESS,
        DagsterRunStatus.FAILURE,
        DagsterRunStatus.CANCELED,
    }
