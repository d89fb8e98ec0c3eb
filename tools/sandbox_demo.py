"""AWS Batch on one machine, in a minute: `python tools/sandbox_demo.py FOLDER [PORT]`.

Runs two cameras with profile `sandbox`, and prints each command as a user would type it. EC2 has
capacity for one spot machine. The machine of one camera is interrupted, and the camera continues on
the next one; the other camera finds no capacity and falls back to on-demand. FOLDER gets the
footage, the Dagster instance and a copy of the results. No process is left, however the demo ends.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np

from odins_ravne_assets.demo.footage import SIZE, START, read_sample, write_still

MUNIN = Path(sys.executable).parent / "munin"
CAMERAS = ("camera-a", "camera-b")
PICTURES = ("cat", "grass", "astronaut")
STILLS = 30  # per camera: some ten seconds of detection
BUCKET = "s3://ravne-data-123456789012"
# Default port of `munin sandbox up` and of profile `sandbox`.
DEFAULT_PORT = "4599"
INTERRUPTED = 130
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

SUBMITTED = re.compile(r"(?P<camera>\S+): submitted (?P<job>\S+) to (?P<queue>\S+): ")
DETECTING = re.compile(r"(?P<camera>\S+): detecting")


def make_footage(folder: Path) -> None:
    """Write the stills of two cameras, all of them different."""
    samples = [read_sample(name, SIZE) for name in PICTURES]
    for which, camera in enumerate(CAMERAS):
        media = folder / camera / "DCIM" / "100MEDIA"
        media.mkdir(parents=True, exist_ok=True)
        for number in range(STILLS):
            path = media / f"IMAG{number:04d}.JPG"
            if not path.exists():
                shifted = np.roll(samples[number % len(samples)], 8 * number + which, axis=1)
                write_still(path, shifted, START + timedelta(seconds=40 * number))


class Demo:
    """The commands of the demo, with their environment.

    Args:
        folder: for all files of the demo.
        port: port of the sandbox.
    """

    def __init__(self, folder: Path, port: str) -> None:
        self._folder = folder
        self._port = port
        self._home = {"DAGSTER_HOME": str(folder.absolute())}
        self._variables = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}
        if port != DEFAULT_PORT:
            aws, url = "MUNIN_CLOUD__AWS__", f"http://127.0.0.1:{port}"
            self._variables[f"{aws}ENDPOINT_URL"] = url
            self._variables[f"{aws}CLOCK_URL"] = f"{url}/_sandbox/clock"
        self._all_jobs_ended = True
        self._set_up = False

    def run(self) -> int:
        """Run the demo, and return the exit code of `munin batch`."""
        print_command(
            "export " + " ".join(f"{name}={text}" for name, text in self._variables.items())
        )
        if self._has_sandbox():
            self.munin("sandbox down")  # of a demo that was killed
        self.munin(
            "sandbox up" if self._port == DEFAULT_PORT else f"sandbox up --port {self._port}"
        )
        self._set_up = True
        self.munin("--profile sandbox cost setup --job-count 4")
        self.munin("sandbox capacity spot 1")
        code = self._run_batch()
        self._tear_down(check=True)
        self.munin(
            "--profile sandbox cost costs"
        )  # all machines have ended, so no cost is an estimate
        self.munin("sandbox status")
        return code

    def clean_up(self) -> None:
        """End jobs, machines and the sandbox, if they still run."""
        if self._has_sandbox():
            if self._set_up:
                self._tear_down(check=False)
            self.munin("sandbox down", check=False)

    def _tear_down(self, check: bool) -> None:
        self._set_up = False
        teardown = "--profile sandbox cost teardown"
        self.munin(teardown if self._all_jobs_ended else f"{teardown} --force", check=check)

    def _run_batch(self) -> int:
        footage, copy = self._folder / "footage", self._folder / "results"
        command = f"--profile sandbox batch {footage} {BUCKET}/results --cameras --cost-report"
        self._all_jobs_ended = False
        with self._run(f"{command} --local-output {copy}", subprocess.PIPE) as batch:
            assert batch.stderr is not None
            self._follow(line.rstrip("\n") for line in batch.stderr)
        self._all_jobs_ended = batch.returncode == 0
        return batch.returncode

    def _follow(self, lines: Iterator[str]) -> None:
        """Print the cameras' progress, and interrupt the spot machine of one during its detection.

        By then, the other camera has left the spot queue, so it does not get the next machine.
        """
        jobs: dict[str, tuple[str, str]] = {}  # camera -> job, queue
        detecting: set[str] = set()
        can_interrupt = True
        for line in lines:
            print(line, file=sys.stderr, flush=True)
            if found := SUBMITTED.match(line):
                jobs[found["camera"]] = found["job"], found["queue"]
            if found := DETECTING.match(line):
                detecting.add(found["camera"])
            if can_interrupt and "ondemand" in [queue for _, queue in jobs.values()]:
                for camera in sorted(detecting):
                    job, queue = jobs[camera]
                    if can_interrupt and queue == "spot":
                        can_interrupt = False
                        self.munin(f"sandbox interrupt {job}")

    def munin(self, command: str, check: bool = True) -> None:
        """Print a command and run it.

        Raises:
            subprocess.CalledProcessError: it failed, and `check` is set.
        """
        with self._run(command) as process:
            process.wait()
        if check and process.returncode:
            raise subprocess.CalledProcessError(process.returncode, f"munin {command}")

    @contextmanager
    def _run(self, command: str, stderr: int | None = None) -> Iterator[subprocess.Popen[str]]:
        """Run a command in its own session, to which this process forwards Ctrl-C."""
        print_command(f"munin {command}")
        with subprocess.Popen(
            [str(MUNIN), *shlex.split(command)],
            env={**os.environ, **self._home, **self._variables},
            stdin=subprocess.DEVNULL,
            stderr=stderr,
            encoding="utf-8",
            start_new_session=True,
        ) as process:
            try:
                yield process
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)
                _wait_through_interrupts(process)
                raise

    def _has_sandbox(self) -> bool:
        return (self._folder / "sandbox.json").exists()


def _wait_through_interrupts(process: subprocess.Popen[str]) -> None:
    """Print the output of an interrupted command until its end, and forward each Ctrl-C."""
    while process.poll() is None:
        try:
            for line in process.stderr or ():
                print(line, end="", file=sys.stderr, flush=True)
            process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


def print_command(command: str) -> None:
    """Print a command as a user would type it."""
    print(f"\n$ {command}", flush=True)


def main() -> None:
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    demo = Demo(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else DEFAULT_PORT)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        make_footage(Path(sys.argv[1]) / "footage")
        code = demo.run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except subprocess.CalledProcessError as error:
        code = error.returncode
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        demo.clean_up()
    sys.exit(code)


if __name__ == "__main__":
    main()
