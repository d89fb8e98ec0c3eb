"""Fail each request to S3 of a whole launch on AWS Batch, one in each launch, in the sandbox.

    python benchmarks/launch_faults.py --every 1

An undisturbed launch counts the requests of launcher and worker. Then one launch for each of them
fails it with an error of the server. boto3's retries are off in the launcher, so that it meets each
error, as at the end of an outage that outlasts them. Fails (exit code 1) if a run fails, if its
results differ from those of the undisturbed one, or if it submits a second job.
"""

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from cloud_rig import Cloud, running_cloud, tables_of
from media_files import write_picture

from resources.aws import clients
from resources.sandbox.wire.protocol import AwsRequest

STAGES = ("footage",)
NO_RETRIES = {"retries": {"total_max_attempts": 1}}
# Parts of keys that differ between launches: the output, the launch, the run and the lease.
OWN_PARTS = re.compile(r"results/\d+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16}|[0-9a-f]{12}-\d+")

# A request without what differs between launches, and its number among equal ones, from 1. Launches
# poll more or less often, so that the number among all requests would be another one in each.
Name = tuple[str, int]


@dataclass
class S3Requests:
    """The requests to S3 of one launch, of which some fail.

    Args:
        seen: all of them, in order.
    """

    cloud: Cloud
    failing: Collection[Name] = ()
    seen: list[Name] = field(default_factory=list)
    _equal: Counter[str] = field(default_factory=Counter)

    def __call__(self, request: AwsRequest) -> None:
        """Handle a request before the sandbox does."""
        if request.service != "s3":
            return
        key = request.parameters.get("prefix", "") or request.bucket_and_key[1]
        text = f"{request.operation} {OWN_PARTS.sub('*', key)}"
        self._equal[text] += 1
        name = (text, self._equal[text])
        self.seen.append(name)
        if name in self.failing:
            self.cloud.sandbox.inject("server_error", "s3")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the requests while the context lasts."""
        self.cloud.sandbox.on_request = self
        try:
            with patch.dict(clients.CLIENT_OPTIONS, NO_RETRIES):
                yield
        finally:
            self.cloud.sandbox.on_request = lambda request: None
            self.cloud.sandbox.clear_faults()


@dataclass
class LaunchFaults:
    """Launches of one card, compared with an undisturbed one."""

    cloud: Cloud
    card: Path
    stages: tuple[str, ...] = STAGES
    undisturbed: list[Name] = field(default_factory=list)  # its requests
    unreached: bool = False  # the last launch polled less, and met no failing request
    _expected: dict[str, Any] = field(default_factory=dict)

    def measure(self) -> int:
        """Launch without a fault, and return the number of requests.

        Raises:
            RuntimeError: the run failed.
        """
        problems, self.undisturbed, self._expected = self._launch(())
        if problems:
            raise RuntimeError(f"the undisturbed launch: {'; '.join(problems)}")
        return len(self.undisturbed)

    def strike(self, *failing: int) -> list[str]:
        """Launch with failing requests, by their numbers in the undisturbed launch, from 1.

        Returns:
            What is wrong.
        """
        names = [self.undisturbed[number - 1] for number in failing]
        problems, requests, tables = self._launch(names)
        self.unreached = not set(names) & set(requests)
        if tables.keys() != self._expected.keys():
            problems.append(f"tables {sorted(tables)}")
        problems += [
            f"{name} differs"
            for name in tables.keys() & self._expected.keys()
            if not tables[name].equals(self._expected[name])
        ]
        return problems

    def _launch(self, failing: Sequence[Name]) -> tuple[list[str], list[Name], dict[str, Any]]:
        """Launch a camera; return what is wrong, its requests and its tables."""
        camera = self.cloud.camera(self.card)
        requests = S3Requests(self.cloud, failing)
        with requests.watching():
            ran = self.cloud.run(camera, self.stages)
        problems = [] if ran.success else [f"the run failed: {ran.error}"]
        if len(jobs := self.cloud.submitted(camera)) != 1:
            problems.append(f"jobs {jobs}")
        if self.cloud.live_jobs():
            problems.append("a job is left")
        problems += [
            f"launch {record.identity} is not finished"
            for record in self.cloud.records(camera)
            if not record.finished
        ]
        return problems, requests.seen, tables_of(self.cloud.results(camera))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="fail every so manyth request only")
    parser.add_argument("--first", type=int, default=1, help="the first request that fails")
    arguments = parser.parse_args()
    failed, reached, started = 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as name, running_cloud(Path(name)) as cloud:
        write_picture(Path(name, "card", "0.jpg"), (320, 240))
        faults = LaunchFaults(cloud, Path(name, "card"))
        total = faults.measure()
        numbers = range(arguments.first, total + 1, arguments.every)
        for number in numbers:
            problems = faults.strike(number)
            failed += bool(problems)
            reached += not faults.unreached
            request, times = faults.undisturbed[number - 1]
            outcome = "; ".join(problems) or "same results"
            unreached = "not reached, " if faults.unreached else ""
            print(f"{number} {request} ({times}): {unreached}{outcome}", flush=True)
    seconds = time.monotonic() - started
    print(f"{reached} of {total} requests failed: {failed} launches differ; {seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
