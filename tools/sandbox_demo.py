"""AWS Batch on one machine, in a minute: `python tools/sandbox_demo.py FOLDER [PORT]`.

Runs two cameras with profile `sandbox`, by the commands that a user would type, and prints each.
EC2 has one spot machine to give. The camera that gets it loses it half way and goes on with the
next one; the other finds no capacity and falls back to on-demand. FOLDER gets the footage, the
Dagster instance and a copy of the results. No process is left behind, however it ends.
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
from demo_footage import SIZE, START, read, write_still

MUNIN = Path(sys.executable).parent / "munin"
CAMERAS = ("camera-a", "camera-b")
PICTURES = ("chelsea.png", "grass.png", "astronaut.png")
STILLS = 30  # of each camera: some ten seconds of detecting
BUCKET = "s3://ravne-data-123456789012"
# What `munin sandbox up` listens on, and profile `sandbox` asks, if nothing else is said.
DEFAULT_PORT = "4599"
INTERRUPTED = 130
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

SUBMITTED = re.compile(r"(?P<camera>\S+): submitted (?P<job>\S+) to (?P<queue>\S+): ")
DETECTING = re.compile(r"(?P<camera>\S+): detecting")


def make_footage(folder: Path) -> None:
    """Stills of two cameras, no two of them the same."""
    samples = [read(name, SIZE) for name in PICTURES]
    for which, camera in enumerate(CAMERAS):
        media = folder / camera / "DCIM" / "100MEDIA"
        media.mkdir(parents=True, exist_ok=True)
        for number in range(STILLS):
            path = media / f"IMAG{number:04d}.JPG"
            if not path.exists():
                moved = np.roll(samples[number % len(samples)], 8 * number + which, axis=1)
                write_still(path, moved, START + timedelta(seconds=40 * number))


class Demo:
    """The commands of the demo, and what they need.

    Args:
        folder: holds everything of the demo.
        port: where the sandbox listens.
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
        self._clean = True  # every job has ended
        self._set_up = False

    def run(self) -> int:
        """From the sandbox's start to both cameras' bill; the exit code of `munin batch`."""
        say("export " + " ".join(f"{name}={text}" for name, text in self._variables.items()))
        if self._sandbox_known():
            self.munin("sandbox down")  # of a demo that was killed
        self.munin(
            "sandbox up" if self._port == DEFAULT_PORT else f"sandbox up --port {self._port}"
        )
        self._set_up = True
        self.munin("--profile sandbox cost setup --job-count 4")
        self.munin("sandbox capacity spot 1")
        code = self._run_batch()
        self._tear_down(check=True)
        self.munin("--profile sandbox cost costs")  # all machines have ended: nothing is estimated
        self.munin("sandbox status")
        return code

    def clean_up(self) -> None:
        """End what may still run: jobs, machines, the sandbox."""
        if self._sandbox_known():
            if self._set_up:
                self._tear_down(check=False)
            self.munin("sandbox down", check=False)

    def _tear_down(self, check: bool) -> None:
        self._set_up = False
        teardown = "--profile sandbox cost teardown"
        self.munin(teardown if self._clean else f"{teardown} --force", check=check)

    def _run_batch(self) -> int:
        footage, copy = self._folder / "footage", self._folder / "results"
        words = f"--profile sandbox batch {footage} {BUCKET}/results --cameras --cost-report"
        self._clean = False
        with self._started(f"{words} --local-output {copy}", subprocess.PIPE) as batch:
            assert batch.stderr is not None
            self._follow(line.rstrip("\n") for line in batch.stderr)
        self._clean = batch.returncode == 0
        return batch.returncode

    def _follow(self, lines: Iterator[str]) -> None:
        """Show what the cameras tell, and take the spot machine of one while it works.

        The other has left the spot queue by then, so that the next machine is not given to it.
        """
        jobs: dict[str, tuple[str, str]] = {}  # camera -> job, queue
        detecting: set[str] = set()
        waiting = True
        for line in lines:
            print(line, file=sys.stderr, flush=True)
            if found := SUBMITTED.match(line):
                jobs[found["camera"]] = found["job"], found["queue"]
            if found := DETECTING.match(line):
                detecting.add(found["camera"])
            if waiting and "ondemand" in [queue for _, queue in jobs.values()]:
                for camera in sorted(detecting):
                    job, queue = jobs[camera]
                    if waiting and queue == "spot":
                        waiting = False
                        self.munin(f"sandbox interrupt {job}")

    def munin(self, words: str, check: bool = True) -> None:
        """Print a command and run it.

        Raises:
            subprocess.CalledProcessError: it failed, and `check` is set.
        """
        with self._started(words) as process:
            process.wait()
        if check and process.returncode:
            raise subprocess.CalledProcessError(process.returncode, f"munin {words}")

    @contextmanager
    def _started(self, words: str, stderr: int | None = None) -> Iterator[subprocess.Popen[str]]:
        """A command that Ctrl-C does not reach but through us."""
        say(f"munin {words}")
        with subprocess.Popen(
            [str(MUNIN), *shlex.split(words)],
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

    def _sandbox_known(self) -> bool:
        return (self._folder / "sandbox.json").exists()


def _wait_through_interrupts(process: subprocess.Popen[str]) -> None:
    """Show the last words of a command that was interrupted; each further Ctrl-C is its own too."""
    while process.poll() is None:
        try:
            for line in process.stderr or ():
                print(line, end="", file=sys.stderr, flush=True)
            process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


def say(command: str) -> None:
    """Show a command as it is typed."""
    print(f"\n$ {command}", flush=True)


def main() -> None:
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    demo = Demo(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else DEFAULT_PORT)
    for ending in ENDINGS:
        signal.signal(ending, signal.default_int_handler)
    try:
        make_footage(Path(sys.argv[1]) / "footage")
        code = demo.run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except subprocess.CalledProcessError as error:
        code = error.returncode
    finally:
        for ending in ENDINGS:
            signal.signal(ending, signal.SIG_IGN)
        demo.clean_up()
    sys.exit(code)


if __name__ == "__main__":
    main()
