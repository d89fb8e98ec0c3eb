"""New footage on S3: event notifications through SQS, and listings for uploads without one."""

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from odins_ravne_assets.arrivals import sqs
from odins_ravne_assets.arrivals.listing import Known, ListedCamera, list_pages, newest_missing
from odins_ravne_assets.arrivals.routing import QuarantinedUpload, camera_of_key
from odins_ravne_assets.arrivals.sensor_state import (
    IsRunning,
    ScanResult,
    SensorState,
    request_due_runs,
)
from resources.aws.clients import AwsClients
from resources.aws.errors import translate_aws_errors
from resources.settings.profile import Uploads
from resources.storage.s3.errors import translate_s3_errors

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Seconds for reading the queue, and for listing: Dagster limits a tick to a minute, and the next
# tick continues.
SCAN_TIMEOUT_SECONDS = 20.0
QUEUE_REMEDY = "allow sqs:ReceiveMessage and sqs:DeleteMessage on the queue"
HOUR_SECONDS = 3600.0
MINUTE_SECONDS = 60.0


@dataclass
class S3UploadSource:
    """A bucket, or a prefix of it, to which footage is uploaded.

    Args:
        known: returns the media of a camera's table.
        is_running: returns True if a run of the camera is in progress: its table is about to
            change.
    """

    uploads: Uploads
    clients: AwsClients
    known: Known
    is_running: IsRunning
    _quarantined: list[QuarantinedUpload] = field(default_factory=list)
    _new_files: int = 0

    def scan(self, state: SensorState, now: float) -> ScanResult:
        """See UploadSource."""
        state.limit_to(now)
        self._quarantined, self._new_files = [], 0
        if self.uploads.queue_url:
            self._read_queue(state, now, self.uploads.queue_url)
        self._list(state, now)
        quiet = self.uploads.quiet_minutes * MINUTE_SECONDS
        longest = self.uploads.longest_wait_hours * HOUR_SECONDS
        due = tuple(request_due_runs(state.cameras, now, quiet, longest))
        return ScanResult(
            due, tuple(self._quarantined), self._new_files, len(state.cameras.pending)
        )

    @property
    def _bucket(self) -> str:
        return urlsplit(self.uploads.url or "").netloc

    @property
    def _prefix(self) -> str:
        path = urlsplit(self.uploads.url or "").path.strip("/")
        return f"{path}/" if path else ""

    def _read_queue(self, state: SensorState, now: float, queue_url: str) -> None:
        """Read the queue. The cursor of the last scan is stored by now: delete its messages."""
        client = self.clients.of("sqs")
        with translate_aws_errors(f"uploads.queue_url {queue_url}", QUEUE_REMEDY):
            sqs.delete(client, queue_url, state.receipts)
            state.receipts = []
            self._receive(client, state, now, queue_url)

    def _receive(self, client: "SQSClient", state: SensorState, now: float, queue_url: str) -> None:
        until = monotonic() + SCAN_TIMEOUT_SECONDS
        for message in sqs.receive(client, queue_url, lambda: monotonic() > until):
            if message.uploads is None:
                self._quarantine(
                    state, QuarantinedUpload(message.body[:80], "is not an upload event of S3")
                )
                continue
            state.receipts.append(message.receipt)
            for event in message.uploads:
                if event.bucket == self._bucket and event.key.startswith(self._prefix):
                    self._add_event(state, event, now)

    def _add_event(self, state: SensorState, event: sqs.UploadEvent, now: float) -> None:
        key, pattern = event.key[len(self._prefix) :], self.uploads.camera_pattern
        owner = camera_of_key(key, pattern, event.size)
        if isinstance(owner, QuarantinedUpload):
            self._quarantine(state, owner)
        elif owner:
            new = state.cameras.add_event(owner.camera_id, owner.footage, event.at, now)
            self._new_files += new

    def _list(self, state: SensorState, now: float) -> None:
        sweep = state.sweep
        pause = (
            self.uploads.listing_hours * HOUR_SECONDS
            if self.uploads.queue_url
            else self.uploads.listing_minutes * MINUTE_SECONDS
        )
        if not sweep.began:
            if now - state.listed_at < pause:
                return
            sweep.began = state.listed_at = now
            sweep.unseen = list(state.quarantined)
        began = sweep.began
        until = monotonic() + SCAN_TIMEOUT_SECONDS
        found = list_pages(
            self.clients.of("s3"),
            self._bucket,
            self._prefix,
            sweep,
            self.uploads.camera_pattern,
            lambda: monotonic() > until,
        )
        with translate_s3_errors(self.uploads.url or ""):
            for each in found:
                if isinstance(each, QuarantinedUpload):
                    self._quarantine(state, each)
                elif each.camera_id not in state.cameras.pending:
                    self._compare(state, each, now, began)
        if not sweep.began:
            state.release(state.quarantined.keys() & set(sweep.unseen))

    def _compare(self, state: SensorState, listed: ListedCamera, now: float, began: float) -> None:
        """Compare a listed camera with its table; add it if uploads are missing there."""
        if self.is_running(listed.camera_id):
            return  # the next listing compares with the new table
        newest = newest_missing(
            self.clients.of("s3"),
            self._bucket,
            self._prefix,
            listed,
            self.uploads.camera_pattern,
            self.known(listed.camera_id),
        )
        if newest is None:
            state.sweep.agreed[listed.camera_id] = listed.fingerprint
        else:
            state.cameras.add_listed(listed.camera_id, listed.footage, newest, now, began)
            self._new_files += 1

    def _quarantine(self, state: SensorState, refused: QuarantinedUpload) -> None:
        state.sweep.mark_seen(refused.path)
        if state.quarantine(refused):
            self._quarantined.append(refused)
