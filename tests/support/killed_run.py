"""`run_camera` in a process that is killed at a call of AWS Batch: before the call, or after it.

    python killed_run.py before|after OPERATION N REQUEST

At its Nth call the process sends itself SIGKILL: nothing is cleaned up or logged. The operation
`hand-over` is not of Batch: it is the moment when a launch record is saved as finished.
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


class KillingClients(AwsClients):
    def _create(self, service: str, options: Mapping[str, Any] | None = None) -> Any:
        client = super()._create(service, options)
        if service == "batch":
            client.meta.events.register(f"{MOMENT}-call.batch.{OPERATION}", kill_at_call)
        return client


class KillingRecord(LaunchRecord):
    def save(self, store: ObjectStore) -> None:
        if self.finished and MOMENT == "before":
            kill_at_call()
        super().save(store)
        if self.finished:
            kill_at_call()


def kill_at_call(**_: Any) -> None:
    if next(CALLS) == int(NUMBER):
        os.kill(os.getpid(), signal.SIGKILL)


if OPERATION == "hand-over":
    batch_step.LaunchRecord = KillingRecord  # type: ignore[misc]
batch_step.AwsClients = KillingClients  # type: ignore[misc]
sys.argv = [sys.argv[0], REQUEST]
sys.exit(run_camera.main())
