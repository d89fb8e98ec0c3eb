"""New footage on S3: told by events through SQS, and found by listing what no event told."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from odins_ravne_assets.arrivals import sqs as queue
from odins_ravne_assets.arrivals.listing import Known, ListedCamera, newest_missing, list_pages
from odins_ravne_assets.arrivals.routing import QuarantinedUpload, camera_of_key
from odins_ravne_assets.arrivals.sensor_state import IsRunning, ScanResult, SensorState, request_due_runs
from resources.aws.clients import AwsClients
from resources.clock import system_clock
from resources.settings.profile import Uploads

# Dagster gives a look a minute; what it has not come to while hearing, or listing, the next one
# does. In seconds.
SCAN_TIMEOUT_SECONDS = 20.0
HOUR_SECONDS = 3600.0
MINUTE_SECONDS = 60.0


@dataclass
class S3UploadSource:
    """A bucket, or a part of it, into which cameras' footage is uploaded.

    Args:
        known: the media that a camera's table holds.
        is_running: whether a run of a camera is under way: its tables are not yet what they will
            be.
    """

    uploads: Uploads
    clients: AwsClients
    known: Known
    is_running: IsRunning
    _refused: list[QuarantinedUpload] = field(default_factory=list)
    _heard: int = 0

    def look(self, memory: SensorState, now: float) -> ScanResult:
        """See Place."""
        self._refused, self._heard = [], 0
        if self.uploads.queue_url:
            self._hear(memory, now, self.uploads.queue_url)
        self._list(memory, now)
        quiet = self.uploads.quiet_minutes * MINUTE_SECONDS
        longest = self.uploads.longest_wait_hours * HOUR_SECONDS
        due = tuple(request_due_runs(memory.cameras, now, quiet, longest))
        return ScanResult(due, tuple(self._refused), self._heard, len(memory.cameras.waiting))

    @property
    def _bucket(self) -> str:
        return urlsplit(self.uploads.url or "").netloc

    @property
    def _prefix(self) -> str:
        path = urlsplit(self.uploads.url or "").path.strip("/")
        return f"{path}/" if path else ""

    def _hear(self, memory: SensorState, now: float, queue_url: str) -> None:
        """That this look happens shows that the last one's cursor is kept: its messages may go."""
        sqs = self.clients.of("sqs")
        queue.delete(sqs, queue_url, memory.receipts)
        memory.receipts = []
        until = system_clock().now() + SCAN_TIMEOUT_SECONDS
        for message in queue.receive(sqs, queue_url, lambda: system_clock().now() > until):
            if message.uploads is None:
                self._refuse(memory, QuarantinedUpload(message.body[:80], "no notification of S3's"))
                continue
            memory.receipts.append(message.receipt)
            for told in message.uploads:
                if told.bucket == self._bucket and told.key.startswith(self._prefix):
                    self._hear_upload(memory, told, now)

    def _hear_upload(self, memory: SensorState, told: queue.UploadEvent, now: float) -> None:
        owner = camera_of_key(told.key[len(self._prefix) :], self.uploads.camera_pattern)
        if isinstance(owner, QuarantinedUpload):
            self._refuse(memory, owner)
        elif owner:
            news = memory.cameras.hear(owner.camera_id, owner.footage, told.at, now)
            self._heard += news

    def _list(self, memory: SensorState, now: float) -> None:
        sweep = memory.sweep
        pause = (
            self.uploads.listing_hours * HOUR_SECONDS
            if self.uploads.queue_url
            else self.uploads.listing_minutes * MINUTE_SECONDS
        )
        if not sweep.began:
            if now - memory.listed_at < pause:
                return
            sweep.began = memory.listed_at = now
            sweep.unseen = list(memory.refused)
        began = sweep.began
        until = system_clock().now() + SCAN_TIMEOUT_SECONDS
        found = list_pages(
            self.clients.of("s3"),
            self._bucket,
            self._prefix,
            sweep,
            self.uploads.camera_pattern,
            lambda: system_clock().now() > until,
        )
        for each in found:
            if isinstance(each, QuarantinedUpload):
                self._refuse(memory, each)
            elif each.camera_id not in memory.cameras.waiting:
                self._compare(memory, each, now, began)
        if not sweep.began:
            memory.release(memory.refused.keys() & set(sweep.unseen))

    def _compare(self, memory: SensorState, listed: ListedCamera, now: float, began: float) -> None:
        """Whether a camera's table holds all that is listed of it."""
        if self.is_running(listed.camera_id):
            return  # the next listing sees what it made
        folder = f"{self._prefix}{listed.footage}/"
        known = self.known(listed.camera_id)
        newest = newest_missing(self.clients.of("s3"), self._bucket, folder, known)
        if newest is None:
            memory.sweep.agreed[listed.camera_id] = listed.fingerprint
        else:
            memory.cameras.missed(listed.camera_id, listed.footage, newest, now, began)
            self._heard += 1

    def _refuse(self, memory: SensorState, refused: QuarantinedUpload) -> None:
        memory.sweep.saw(refused.of)
        if memory.refuse(refused):
            self._refused.append(refused)
