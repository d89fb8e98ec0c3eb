"""A `munin ui` (webserver and daemon) on an instance of its own, and what its pages ask it."""

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
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

LOCATION = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "odins_ravne_assets.definitions",
}
# Seconds that a busy machine may take to start it, and to end it.
STARTS_WITHIN, ENDS_WITHIN = 120.0, 30.0
LOADED = "{workspaceOrError {... on Workspace {locationEntries {loadStatus}}}}"
RUNS = """query ($filter: RunsFilter) {
  runsOrError(filter: $filter) {
    ... on Runs {results {runId status startTime endTime tags {key value}}}
  }
}"""
TICKS = """query ($sensor: InstigationSelector!) {
  instigationStateOrError(instigationSelector: $sensor) {
    ... on InstigationState {
      ticks {status timestamp endTimestamp skipReason runIds error {message}}
    }
  }
}"""
OVER = {"SUCCESS", "FAILURE", "CANCELED"}

Found = TypeVar("Found")


def wait_for(what: str, found: Callable[[], Found | None], seconds: float) -> Found:
    """Ask again and again until there is an answer that is true."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        if time.monotonic() >= deadline:
            raise SystemExit(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.5)
    return answer


class DagsterUI:
    """A context in which it runs.

    Args:
        home: DAGSTER_HOME.
        profile: the path of a profile.
    """

    def __init__(
        self, home: Path, profile: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._home = home
        self._profile = profile
        self._environment = dict(environment or {})
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])

    def __enter__(self) -> "DagsterUI":
        self._home.mkdir(parents=True, exist_ok=True)
        munin = Path(sys.executable).parent / "munin"
        words = [str(munin), "--profile", str(self._profile), "ui", "--port", str(self.port)]
        with (self._home.parent / "ui.log").open("ab") as log:
            self._process = subprocess.Popen(
                words,
                env={**os.environ, "DAGSTER_HOME": str(self._home), **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for("the UI with its code location", self._is_loaded, STARTS_WITHIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill webserver, daemon and code server at once, and the runs that the daemon started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _is_loaded(self) -> bool:
        if self._process.poll() is not None:
            raise SystemExit(f"munin ui has ended: {self._home.parent / 'ui.log'}")
        try:
            answer = self.ask(LOADED)
        except (urllib.error.URLError, ConnectionError):
            return False
        entries = answer["workspaceOrError"]["locationEntries"]
        return [entry["loadStatus"] for entry in entries] == ["LOADED"]

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer to GraphQL."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        if "errors" in answer:
            raise SystemExit(f"the UI answers: {answer['errors']}")
        data: dict[str, Any] = answer["data"]
        return data

    def switch_on(self, sensor: str) -> None:
        """As its switch on the page Automation does."""
        self.ask(
            "mutation ($sensor: SensorSelector!) {startSensor(sensorSelector: $sensor) "
            "{... on PythonError {message}}}",
            sensor={**LOCATION, "sensorName": sensor},
        )

    def ticks(self, sensor: str) -> list[dict[str, Any]]:
        """The sensor's ticks, the latest first; times are seconds since 1970 UTC."""
        answer = self.ask(TICKS, sensor={**LOCATION, "name": sensor})
        found: list[dict[str, Any]] = answer["instigationStateOrError"]["ticks"]
        return found

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Runs, the latest first."""
        found: list[dict[str, Any]] = self.ask(RUNS, filter=filters)["runsOrError"]["results"]
        return found

    def ended_runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Runs, once there are any and all have ended."""
        found = self.runs(**filters)
        return found if all(run["status"] in OVER for run in found) else []
