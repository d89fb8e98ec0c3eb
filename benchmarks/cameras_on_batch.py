"""An account in the sandbox with cameras of one small image each, and checks of its records."""

import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from PIL import Image

from odins_ravne_assets.cameras.catalog import Camera
from resources.aws.batch_states import ENDED_STATUSES, JobStatus
from resources.aws.clients import AwsClients
from resources.compute.environment import ComputeEnvironment
from resources.ledger.table import read_ledger
from resources.ledger.writer import open_camera_ledger
from resources.sandbox.foundation import prepare_foundation
from resources.sandbox.model.config import CREDENTIALS, SandboxConfig, data_bucket
from resources.sandbox.sandbox import Sandbox
from resources.settings.loader import find_profile
from resources.settings.profile import Aws
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store

# Jobs and runs share two cores, so the clock is slow: a lease of 90 s is 18 real seconds.
CONFIG = SandboxConfig(
    scale=5, boot_seconds=20, pull_seconds=5, idle_seconds=120, stop_grace_seconds=60
)
Job = dict[str, Any]


@dataclass(frozen=True)
class Account:
    """The account, its bucket as an s3:// URL, and the path of its profile."""

    sandbox: Sandbox
    clients: AwsClients
    bucket: str
    profile: Path

    def camera(self, name: str) -> Camera:
        return Camera(name, f"{self.bucket}/footage/{name}", f"{self.bucket}/results/{name}")

    def put_footage(self, names: Iterable[str]) -> None:
        """Write one small image for each camera."""
        data = io.BytesIO()
        Image.new("RGB", (64, 48), "green").save(data, "JPEG")
        for name in names:
            store = open_store(self.camera(name).footage_url, self.clients)
            store.write_bytes("IMG_1.JPG", data.getvalue())

    def read(self, camera: Camera, key: str) -> bytes:
        return open_store(camera.output_url, self.clients).read_bytes(key)

    def write(self, name: str, key: str, data: bytes) -> None:
        open_store(self.camera(name).output_url, self.clients).write_bytes(key, data)

    def report(self, names: Sequence[str]) -> list[str]:
        """Print a summary of some cameras' jobs, from the sandbox's own records.

        Returns:
            The faults found.
        """
        jobs = [job for job in self.sandbox.jobs() if job["tags"]["Camera"] in names]
        statuses = Counter(job["status"] for job in jobs)
        done = [job for job in jobs if job["status"] == JobStatus.SUCCEEDED]
        succeeded = Counter(job["tags"]["Camera"] for job in done)
        ledger = read_ledger(
            open_camera_ledger(name, self.camera(name).output_url, self.clients).ledger
            for name in names
        )
        attempts = ledger.filter(pl.col("kind") == "attempt")
        in_ledger = {*attempts["job_id"]} - {None}
        bill = self.sandbox.bill()
        left = [job for job in jobs if job["status"] not in ENDED_STATUSES]
        twice = [name for name, count in succeeded.items() if count > 1]
        most, limit = most_at_once(jobs), self.limit
        facts = {
            "jobs": f"{len(jobs)}: {dict(statuses)}",
            "done by more than one job": len(twice),
            "left running": len(left),
            "most jobs at once": f"{most} of {limit} allowed",
            "jobs in the ledger": f"{len(in_ledger & {job['jobId'] for job in jobs})}, cost of "
            f"attempts ${attempts['usd'].sum():.4f}",
            "bill": f"${sum(line.cost for line in bill):.4f} for {len(bill)} machines, with boot "
            "and idle time",
        }
        for name, value in facts.items():
            print(f"{name:<28}{value}", flush=True)
        faults = {
            "cameras were done by more than one job": twice,
            "jobs were left running": left,
            "more jobs at once than max_parallel_jobs": most > limit,
            "jobs are in no ledger": {job["jobId"] for job in jobs} - in_ledger,
        }
        return [fault for fault, found in faults.items() if found]

    def _ledger(self, name: str) -> ObjectStore:
        return open_camera_ledger(name, self.camera(name).output_url, self.clients).ledger

    @property
    def limit(self) -> int:
        tree = yaml.safe_load(self.profile.read_text())
        return int(tree["pipeline"]["cost_optimization"]["max_parallel_jobs"])


@contextmanager
def account(root: Path, parallel_jobs: int) -> Iterator[Account]:
    """Run the account.

    Args:
        parallel_jobs: `max_parallel_jobs`.
    """
    os.environ.update(CREDENTIALS)
    with Sandbox(CONFIG) as sandbox:
        tree = yaml.safe_load(find_profile("sandbox").read_text())
        tree["cloud"]["aws"] |= {
            "endpoint_url": sandbox.endpoint_url,
            "clock_url": sandbox.clock_url,
        }
        tree["pipeline"]["cost_optimization"]["max_parallel_jobs"] = parallel_jobs
        profile = root / "profile.yaml"
        profile.write_text(yaml.safe_dump(tree))
        aws = Aws.model_validate(tree["cloud"]["aws"])
        clients = AwsClients(aws)
        prepare_foundation(clients, aws.name, aws.region)
        ComputeEnvironment(aws, clients).setup(parallel_jobs)
        yield Account(sandbox, clients, f"s3://{data_bucket(aws.name)}", profile)


def most_at_once(jobs: Iterable[Job]) -> int:
    """Return the maximum number of jobs that were submitted and not ended."""
    changes = [(job["createdAt"], 1) for job in jobs]
    changes += [(job["stoppedAt"], -1) for job in jobs if "stoppedAt" in job]
    count = most = 0
    for _, change in sorted(changes):
        count += change
        most = max(most, count)
    return most
