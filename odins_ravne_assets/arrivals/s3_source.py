"""New footage on S3: event notifications through SQS, and listings for uploads without one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from odins_ravne_assets.arrivals import sqs
from odins_ravne_assets.arrivals.listing import (
    Comparison,
    Known,
    ListedCamera,
    compare,
    list_pages,
    slow_round,
)
from odins_ravne_assets.arrivals.routing import QuarantinedUpload, camera_of_key
from odins_ravne_assets.arrivals.sensor_state import (
    IsRunning,
    ScanResult,
    SensorState,
    request_due_runs,
)
from resources.aws.clients import AwsClients
from resources.aws.errors import translate_aws_errors
from resources.errors import RavneError
from resources.settings.profile import Uploads

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Seconds for reading the queue, and for listing: Dagster limits a tick to a minute, and the next
# tick continues.
SCAN_TIMEOUT_SECONDS = 20.0
# Cameras with pending uploads, which the cursor holds: with more, messages stay in the queue, and
# the listing waits.
MAX_PENDING = 2000
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
        clock: seconds of a clock that only runs forward, which bounds a scan.
    """

    uploads: Uploads
    clients: AwsClients
    known: Known
    is_running: IsRunning
    clock: Callable[[], float] = monotonic
    _quarantined: list[QuarantinedUpload] = field(default_factory=list)
    _remarks: list[str] = field(default_factory=list)
    _new_files: int = 0

    def scan(self, state: SensorState, now: float) -> ScanResult:
        """See UploadSource."""
        state.limit_to(now)
        self._quarantined, self._remarks, self._new_files = [], [], 0
        if self.uploads.queue_url:
            self._read_queue(state, now, self.uploads.queue_url)
        self._list(state, now)
        quiet = self.uploads.quiet_minutes * MINUTE_SECONDS
        longest = self.uploads.longest_wait_hours * HOUR_SECONDS
        due = tuple(request_due_runs(state.cameras, now, quiet, longest))
        return ScanResult(
            due,
            tuple(self._quarantined),
            self._new_files,
            len(state.cameras.pending),
            tuple(self._remarks),
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
        until = self.clock() + SCAN_TIMEOUT_SECONDS
        if _is_full(state):
            return
        for message in sqs.receive(
            client, queue_url, lambda: self.clock() > until or _is_full(state)
        ):
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
        """Begin or continue a listing."""
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
        if now - sweep.began > pause and not sweep.is_reported:
            sweep.is_reported = True
            self._remarks.append(slow_round(self.uploads.url or "", now - sweep.began, pause))
        until = self.clock() + SCAN_TIMEOUT_SECONDS
        # It needs botocore, which is optional.
        from resources.storage.s3.errors import translate_s3_errors

        with translate_s3_errors(self.uploads.url or ""):
            self._list_until(state, now, lambda: self.clock() > until)
        if not sweep.began:
            state.release(state.quarantined.keys() & set(sweep.unseen))

    def _list_until(self, state: SensorState, now: float, is_over: Callable[[], bool]) -> None:
        sweep = state.sweep
        if sweep.comparing is not None:
            is_complete = self._compare(state, now, is_over)
            if not is_complete or is_over():
                return
        if _is_full(state):
            return
        for each in list_pages(
            self.clients.of("s3"),
            self._bucket,
            self._prefix,
            sweep,
            self.uploads.camera_pattern,
            lambda: is_over() or _is_full(state) or sweep.comparing is not None,
        ):
            if isinstance(each, QuarantinedUpload):
                self._quarantine(state, each)
            elif each.camera_id not in state.cameras.pending:
                sweep.comparing = _comparison(each, sweep.began)
                self._compare(state, now, is_over)

    def _compare(self, state: SensorState, now: float, is_over: Callable[[], bool]) -> bool:
        """Compare a listed camera with its table; add it if uploads are missing there.

        Returns:
            False if time is up: the next scan continues.
        """
        comparison = state.sweep.comparing
        assert comparison is not None
        camera = comparison.camera
        if camera in state.cameras.pending or self.is_running(camera):
            state.sweep.comparing = None  # the next listing compares with the new table
            return True
        try:
            known = self.known(camera)
        except RavneError as error:  # harms this camera alone
            self._remarks.append(f"camera {camera}: {error}")
            state.sweep.comparing = None
            return True
        if not compare(
            self.clients.of("s3"),
            self._bucket,
            self._prefix,
            comparison,
            self.uploads.camera_pattern,
            known,
            is_over,
        ):
            return False
        state.sweep.comparing = None
        if comparison.newest is None:
            state.sweep.agree(camera, comparison.fingerprint)
            return True
        cameras, began = state.cameras, comparison.began
        cameras.add_listed(camera, comparison.footage, comparison.newest, now, began)
        self._new_files += 1
        return True

    def _quarantine(self, state: SensorState, refused: QuarantinedUpload) -> None:
        state.sweep.mark_seen(refused.path)
        if state.quarantine(refused):
            self._quarantined.append(refused)


def _comparison(listed: ListedCamera, began: float) -> Comparison:
    return Comparison(listed.camera_id, listed.footage, listed.fingerprint, began)


def _is_full(state: SensorState) -> bool:
    return len(state.cameras.pending) >= MAX_PENDING
