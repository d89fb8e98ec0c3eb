"""`run_camera`, but its process is killed at a call of AWS Batch: before it is made, or after.

    python dying_run.py before|after OPERATION N REQUEST

It dies at its Nth call, by a SIGKILL of its own: nothing is cleaned up, nothing is told. The
operation `hand-over` is none of Batch's: a finished launch is written down as such.
"""

import os
import signal
import sys
from collections.abc import Mapping
from itertools import count
from typing import Any

from odins_ravne_assets import run_camera
from resources.aws.clients import AwsClients
from resources.batch.launch_record import LaunchRecord
from resources.launch import batch_step
from resources.storage.object_store import ObjectStore

_, MOMENT, OPERATION, NUMBER, REQUEST = sys.argv
CALLS = count(1)


class DyingClients(AwsClients):
    def _create(self, service: str, options: Mapping[str, Any] | None = None) -> Any:
        client = super()._create(service, options)
        if service == "batch":
            client.meta.events.register(f"{MOMENT}-call.batch.{OPERATION}", die_in_time)
        return client


class DyingRecord(LaunchRecord):
    def save(self, store: ObjectStore) -> None:
        if self.finished and MOMENT == "before":
            die_in_time()
        super().save(store)
        if self.finished:
            die_in_time()


def die_in_time(**_: Any) -> None:
    if next(CALLS) == int(NUMBER):
        os.kill(os.getpid(), signal.SIGKILL)


if OPERATION == "hand-over":
    batch_step.LaunchRecord = DyingRecord  # type: ignore[misc]
batch_step.AwsClients = DyingClients  # type: ignore[misc]
sys.argv = [sys.argv[0], REQUEST]
sys.exit(run_camera.main())
