"""`munin ui` (webserver and daemon) as a process, and its GraphQL API, for tests, tools and
benchmarks."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil

# The selector of the code location of `munin ui`.
LOCATION = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "odins_ravne_assets.definitions",
}
# On a busy machine.
START_TIMEOUT_SECONDS, STOP_TIMEOUT_SECONDS = 120.0, 30.0
LOADED = "{workspaceOrError {... on Workspace {locationEntries {loadStatus}}}}"
RUNS = """query ($filter: RunsFilter) {
  runsOrError(filter: $filter) {
    ... on Runs {results {runId status jobName startTime endTime tags {key value}}}
  }
}"""
TICKS = """query ($sensor: InstigationSelector!) {
  instigationStateOrError(instigationSelector: $sensor) {
    ... on InstigationState {
      ticks {status timestamp endTimestamp skipReason runIds error {message}}
    }
  }
}"""
FINISHED_STATUSES = {"SUCCESS", "FAILURE", "CANCELED"}

Result = TypeVar("Result")


def wait_for(what: str, poll: Callable[[], Result | None], seconds: float) -> Result:
    """Poll until the result is true; return it."""
    deadline = time.monotonic() + seconds
    while not (result := poll()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)
    return result


class DagsterUI:
    """`munin ui` on an instance, started like a shell's background job.

    As a context manager, it waits until the UI is ready, and stops it at the end.

    Args:
        home: DAGSTER_HOME.
        log: the file of its output.
        profile: the name or the path of a profile.
        environment: variables in addition to those of this process.
    """

    def __init__(
        self,
        home: Path,
        log: Path,
        profile: str | Path = "local",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        home.mkdir(parents=True, exist_ok=True)
        munin = Path(sys.executable).parent / "munin"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(munin), "--profile", str(profile), "ui", "--port", str(self.port)],
                env={**os.environ, "DAGSTER_HOME": str(home), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
            )

    def __enter__(self) -> Self:
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self.stop()

    def wait_until_ready(self) -> None:
        """Wait for the server and its code location."""
        wait_for("the UI with its code location", self._is_loaded, START_TIMEOUT_SECONDS)

    def _is_loaded(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            answer = self.graphql(LOADED)
        except (urllib.error.URLError, ConnectionError):
            return False
        entries = answer["workspaceOrError"]["locationEntries"]
        return [entry["loadStatus"] for entry in entries] == ["LOADED"]

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Send a GraphQL query; return the data of the response."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def stop(self) -> None:
        """Terminate it, and check that it and all of its child processes have exited."""
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
            _, alive = psutil.wait_procs(children, timeout=STOP_TIMEOUT_SECONDS)
            assert not alive, f"left behind: {[process.cmdline() for process in alive]}"
        finally:
            for process in children:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            if self._process.poll() is None:
                self._process.kill()

    def kill(self) -> None:
        """Kill webserver, daemon, code server and the daemon's runs."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def switch_on(self, sensor: str) -> None:
        """Start a sensor, as its switch on the page Automation does."""
        self.graphql(
            "mutation ($sensor: SensorSelector!) {startSensor(sensorSelector: $sensor) "
            "{... on PythonError {message}}}",
            sensor={**LOCATION, "sensorName": sensor},
        )

    def ticks(self, sensor: str) -> list[dict[str, Any]]:
        """Return the sensor's ticks, the latest first; times are seconds since 1970 UTC."""
        answer = self.graphql(TICKS, sensor={**LOCATION, "name": sensor})
        found: list[dict[str, Any]] = answer["instigationStateOrError"]["ticks"]
        return found

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Return runs, the latest first."""
        answer = self.graphql(RUNS, filter=filters)
        found: list[dict[str, Any]] = answer["runsOrError"]["results"]
        return found

    def ended_runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Return runs, or nothing until all have ended."""
        found = self.runs(**filters)
        return found if all(run["status"] in FINISHED_STATUSES for run in found) else []
