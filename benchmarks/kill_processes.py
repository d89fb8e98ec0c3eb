"""Kill processes of runs at random moments, and complete each run with the same command.

    python benchmarks/kill_processes.py --seed 1 --kills 60

Sends SIGKILL, SIGTERM or SIGINT to the command, its process group, its run, its worker, a decoder,
a prober, or to all of them; on this machine, while footage is staged to S3, and while results are
downloaded (both in the sandbox). Fails (exit code 1) if the command then prints a traceback, ends
without saying why, or leaves a process; or if, after the same command has run again, results differ
from those of an undisturbed run, a medium is twice in the journal, or a temporary file is left
that no message names.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import psutil
from fuzz_mutations import write_good
from interruption_drill import CONFIG, contents, journalled, same

from odins_ravne_assets.demo.footage import write_footage
from resources.aws.batch_states import ENDED_STATUSES
from resources.aws.clients import AwsClients
from resources.compute.environment import ComputeEnvironment
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import CREDENTIALS, data_bucket
from resources.sandbox.sandbox import Sandbox
from resources.sandbox.wire.protocol import AwsRequest
from resources.settings.loader import load_profile
from resources.storage.layout import PARTIAL_PREFIX
from resources.storage.local_store import LocalStore
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

CAMERA = "card"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# The modules of the processes below the command.
MODULES = {
    "run": "odins_ravne_assets.run_camera",
    "worker": "odins_ravne_assets.worker",
    "decoder": "odins_ravne_assets.munin.detection.decode_process",
    "prober": "odins_ravne_assets.munin.media.probe_process",
}
TARGETS = ("command", "group", "all", *MODULES)
# What happens while a process is killed; the sandbox runs a worker elsewhere.
HERE, STAGING, DOWNLOAD = "here", "while staging", "while downloading"
PLACES = (HERE, HERE, HERE, STAGING, DOWNLOAD)
# Real seconds: of a command, and of processes whose parent was killed.
TIMEOUT_SECONDS, EXIT_SECONDS = 300.0, 40.0
GOOD, DAMAGED = 14, 6  # media of the card, besides those of the demo


@dataclass(frozen=True)
class Kill:
    """A signal to one process, or to several, at a moment.

    Args:
        moment: share of the time in which the target runs, or of the requests; 0 to 1.
    """

    place: str
    target: str
    signal: signal.Signals
    moment: float

    def __str__(self) -> str:
        return f"{self.signal.name} to {self.target} {self.place}, at {self.moment:.2f}"


def kills_of(seed: int, number: int) -> list[Kill]:
    """Return the kills of a seed."""
    random = Random(seed)
    kills = []
    for _ in range(number):
        place = random.choice(PLACES)
        below = {HERE: TARGETS, STAGING: TARGETS[:4], DOWNLOAD: TARGETS[:2]}[place]
        kills.append(Kill(place, random.choice(below), random.choice(SIGNALS), random.random()))
    return kills


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    text: str


@dataclass
class Command:
    """Starts `munin` with a home and a folder for temporary files of its own."""

    folder: Path
    environment: dict[str, str]
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def start(self, *words: str) -> "Running":
        home = self.folder / "home"
        for folder in (home, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)
        own = {"DAGSTER_HOME": str(home), "TMPDIR": str(self.temporary), "COLUMNS": "200"}
        log = self.folder / f"command-{next(self._numbers)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / "munin"), *words],
                env={**os.environ, **own, **self.environment}, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        return Running(process, log)

    def left_processes(self) -> list[psutil.Process]:
        """Return the processes of earlier commands that do not end by themselves."""
        home = str(self.folder / "home")
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it has exited, or belongs to another user
                if process.environ().get("DAGSTER_HOME") == home:
                    found.append(process)
        _, alive = psutil.wait_procs(found, timeout=EXIT_SECONDS)
        return alive


class Running:
    """A command that runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    def processes(self, target: str) -> list[psutil.Process]:
        """Return the running processes of a kind."""
        try:
            command = psutil.Process(self.process.pid)
            below = command.children(recursive=True)
        except psutil.Error:
            return []
        if target == "command":
            return [command]
        if target == "all":
            return [command, *below]
        return [each for each in below if MODULES.get(target, "-") in _words(each)]

    def send(self, target: str, number: signal.Signals) -> bool:
        """Send a signal; return False if there is no such process."""
        if self.process.poll() is not None:
            return False
        if target == "group":
            os.killpg(self.process.pid, number)
            return True
        sent = False
        for process in self.processes(target)[: None if target == "all" else 1]:
            with suppress(psutil.Error):
                process.send_signal(number)
                sent = True
        return sent

    def wait(self) -> Ended:
        """Wait for the end; kill a command that hangs."""
        try:
            code = self.process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return Ended(1, f"the command hangs: {self.text()}")
        return Ended(code, self.text())

    def text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []  # it has exited


class Campaign:
    """Kills, and the results that each run must have in the end."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self._folder, self._sandbox = folder, sandbox
        self._card = write_card(folder / "footage" / CAMERA)
        self._numbers = count(1)
        address = {
            "MUNIN_CLOUD__AWS__ENDPOINT_URL": sandbox.endpoint_url,
            "MUNIN_CLOUD__AWS__CLOCK_URL": sandbox.clock_url,
        }
        self._command = Command(folder, {**CREDENTIALS, **address})
        overrides = {
            "cloud.aws.endpoint_url": sandbox.endpoint_url,
            "cloud.aws.clock_url": sandbox.clock_url,
        }
        cloud = load_profile("sandbox", overrides, environ={}).cloud
        assert cloud is not None
        self._clients = AwsClients(cloud.aws)
        self._bucket = f"s3://{data_bucket(cloud.aws.name)}"
        prepare_foundation(self._clients, cloud.aws.name, cloud.aws.region)
        ComputeEnvironment(cloud.aws, self._clients).setup(1)
        self.outcomes: Counter[str] = Counter()
        self._measure()

    def _measure(self) -> None:
        """Run once undisturbed here and on S3; measure the processes and count the requests."""
        output = self._folder / "undisturbed"
        running = self._command.start(*self._batch(HERE, str(output)))
        self._times = _times_of(running)
        _require(running.wait())
        self._expected = contents(LocalStore(output))
        self._left_before = self._temporary_files()
        self._remote = f"{self._bucket}/results/undisturbed"
        with self._requests("PUT", "/footage/") as puts:
            _require(self._command.start(*self._batch(STAGING, self._remote)).wait())
        if problems := self._check_results("undisturbed", self._store(self._remote)):
            raise SystemExit(f"on S3 and here: {'; '.join(problems)}")
        copy = self._folder / "copy"
        with self._requests("GET", "/results/") as gets:
            _require(self._command.start(*self._download(copy)).wait())
        self._downloaded = _files(copy)
        self._request_counts = {STAGING: next(puts), DOWNLOAD: next(gets)}

    def strike(self, kill: Kill) -> list[str]:
        """Kill, run the same command again, and return what is wrong."""
        number = next(self._numbers)
        copy = self._folder / f"copy-{number}"
        if kill.place == HERE:
            output = str(self._folder / f"output-{number}")
        else:
            output = f"{self._bucket}/results/{number}"
        words = self._download(copy) if kill.place == DOWNLOAD else self._batch(kill.place, output)
        ended = self._struck(kill, words)
        left = [f"{each.pid} is left: {_words(each)}" for each in self._command.left_processes()]
        again = self._command.start(*words).wait()
        problems = [*problems_of_end(ended), *left]
        self._left_before |= {name for name in self._temporary_files() if name in ended.text}
        if again.code or "Traceback" in again.text:
            problems.append(f"the next run has exit code {again.code}: {again.text[-3000:]}")
        elif kill.place == DOWNLOAD:
            problems += [] if _files(copy) == self._downloaded else ["the downloads differ"]
        else:
            problems += self._check_results(str(kill), self._store(output))
        # The log of a failed run stays, and its message names it.
        extra = {name for name in self._temporary_files() if name not in ended.text}
        problems += [f"{name} is left in TMPDIR" for name in sorted(extra - self._left_before)]
        self._left_before |= extra
        for folder in (self._folder / f"output-{number}", copy):
            problems += [f"{path} is left" for path in folder.rglob(f"{PARTIAL_PREFIX}*")]
        return problems

    def _struck(self, kill: Kill, words: list[str]) -> Ended:
        """Run the command and send the signal; on a run that ends before, sooner the next time."""
        if kill.place != HERE:
            if kill.place == STAGING:
                self._forget_footage()
            after = int(kill.moment * self._request_counts[kill.place])
            return self._struck_at_request(kill, words, after)
        first, last = self._times[kill.target]
        running = self._command.start(*words)
        time.sleep(first + kill.moment * (last - first))
        while not (sent := running.send(kill.target, kill.signal)):
            if running.process.poll() is not None:
                break
            time.sleep(0.01)
        ended = running.wait()
        self.outcomes[f"{kill.signal.name} to {kill.target}: {_outcome(ended, sent)}"] += 1
        return ended

    def _struck_at_request(self, kill: Kill, words: list[str], after: int) -> Ended:
        method, part = ("PUT", "/footage/") if kill.place == STAGING else ("GET", "/results/")
        sent = False
        running: Running | None = None

        def strike() -> None:
            nonlocal sent
            if running is not None and not sent:
                sent = running.send(kill.target, kill.signal)

        with self._requests(method, part, lambda number: number >= after and strike()):
            running = self._command.start(*words)
            ended = running.wait()
        self.outcomes[f"{kill.signal.name} {kill.place}: {_outcome(ended, sent)}"] += 1
        return ended

    @contextmanager
    def _requests(
        self, method: str, part: str, on_request: Callable[[int], Any] = lambda number: None
    ) -> Iterator[Iterator[int]]:
        """Count the requests to S3 of a method for keys with a part, and call for each."""
        numbers = count()

        def check(request: AwsRequest) -> None:
            if request.service == "s3" and request.method == method and part in request.path:
                on_request(next(numbers))

        self._sandbox.on_request = check
        try:
            yield numbers
        finally:
            self._sandbox.on_request = lambda request: None

    def _forget_footage(self) -> None:
        footage = self._store(f"{self._bucket}/footage/{CAMERA}")
        for stored in list(footage.list()):
            footage.delete(stored.key)
        footage.delete(".staged")

    def _batch(self, place: str, output: str) -> list[str]:
        profile = "local" if place == HERE else "sandbox"
        return ["--profile", profile, "batch", str(self._card), output, "--camera", CAMERA]

    def _download(self, folder: Path) -> list[str]:
        paths = ["--cloud-path", self._remote, "--local-path", str(folder)]
        return ["--profile", "sandbox", "cost", "download-stage3", *paths]

    def _store(self, url: str) -> ObjectStore:
        return open_store(url, self._clients)

    def _check_results(self, name: str, output: ObjectStore) -> list[str]:
        found = contents(output)
        problems = [
            f"{key} differs, or exists in one of both"
            for key in sorted(found.keys() | self._expected.keys())
            if key not in found
            or key not in self._expected
            or not same(found[key], self._expected[key])
        ]
        twice = [content for content, times in journalled(output).items() if times > 1]
        problems += [f"{content} is {name} twice in the journal" for content in twice]
        live = [job for job in self._sandbox.jobs() if job["status"] not in ENDED_STATUSES]
        return problems + [f"job {job['jobId']} is left" for job in live]

    def _temporary_files(self) -> set[str]:
        return {entry.name for entry in os.scandir(self._command.temporary)}


def write_card(folder: Path) -> Path:
    """Write a camera's footage: the demo's, synthetic stills and clips, and damaged ones."""
    write_footage(folder)
    for number in range(GOOD):
        write_good(folder / "good", number)
    for number in range(DAMAGED):
        path = write_good(folder / "damaged", 1000 + number)
        data = path.read_bytes()
        path.write_bytes(data[: 60 if number % 2 else len(data) // 2])
    return folder


def _times_of(running: Running) -> dict[str, tuple[float, float]]:
    """Return when processes of each kind run first and last, in seconds from the start."""
    started = time.monotonic()
    times: dict[str, tuple[float, float]] = {}
    while running.process.poll() is None:
        now = time.monotonic() - started
        for target in ("command", *MODULES):
            if running.processes(target):
                times[target] = (times.get(target, (now, now))[0], now)
        time.sleep(0.02)
    times["group"] = times["all"] = times["command"]
    if missing := [target for target in TARGETS if target not in times]:
        raise SystemExit(f"the undisturbed run had no {missing[0]}: {running.text()}")
    return times


def _require(ended: Ended) -> None:
    if ended.code:
        raise SystemExit(f"the undisturbed command failed: {ended.text}")


def _outcome(ended: Ended, sent: bool) -> str:
    return f"exit code {ended.code}" if sent else "had ended before"


def problems_of_end(ended: Ended) -> list[str]:
    """Return what is wrong with the end of a command that was disturbed."""
    problems = []
    if "Traceback" in ended.text:
        problems.append(f"a traceback: {ended.text[-3000:]}")
    if "the command hangs" in ended.text:
        problems.append(ended.text[-3000:])
    explained = any(word in ended.text for word in ("error: ", "stopped", "interrupted"))
    if ended.code > 0 and not explained:
        problems.append(f"exit code {ended.code} without a reason: {ended.text[-1000:]}")
    return problems


def _files(folder: Path) -> dict[str, bytes]:
    """Return the downloaded files, without pages and the ledger, to which each download adds."""
    paths = (
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".html" and "ledger" not in path.parts
    )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--skip", type=int, default=0, help="leave out the first kills of the seed")
    parser.add_argument("--only", choices=(HERE, STAGING, DOWNLOAD), help="kills of one place")
    arguments = parser.parse_args()
    os.environ.update(CREDENTIALS)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="kill-") as name, Sandbox(CONFIG) as sandbox:
        campaign = Campaign(Path(name), sandbox)
        kills = kills_of(arguments.seed, arguments.kills)
        for number, kill in enumerate(kills):
            if number >= arguments.skip and arguments.only in (None, kill.place):
                problems = campaign.strike(kill)
                failed += bool(problems)
                print(f"{number} {kill}: {'; '.join(problems) or 'same results'}", flush=True)
    for outcome, times in sorted(campaign.outcomes.items()):
        print(f"  {times:3d} {outcome}")
    print(f"{campaign.outcomes.total()} kills, seed {arguments.seed}: {failed} of them failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
