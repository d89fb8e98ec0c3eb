"""The writer of a job's Pipes messages to S3, which loses none in an outage.

The one of Dagster Pipes takes messages from its buffer before it has written them, and ends at the
first error: the job would go on, and its results would never arrive.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from threading import Event, Lock
from typing import IO, Any

from botocore.exceptions import BotoCoreError, ClientError
from dagster_pipes import (
    PipesMessage,
    PipesParams,
    PipesS3MessageWriter,
    PipesS3MessageWriterChannel,
)

from resources.clock import Clock, system_clock

# A write is repeated for this long, also after the worker's end.
MAX_OUTAGE_SECONDS = 1800.0
RETRY_SECONDS = 5.0


class MessageChannel(PipesS3MessageWriterChannel):
    """Writes numbered chunks of messages, each until it is written.

    Args:
        client: of S3.
        clock: times the waits between retries.
        interval: seconds between chunks.
    """

    def __init__(
        self, client: Any, bucket: str, key_prefix: str | None, clock: Clock, interval: float
    ) -> None:
        super().__init__(client, bucket, key_prefix, interval=interval)
        self._clock = clock
        self._lock = Lock()
        self._unwritten = 0  # messages
        self._ended = Event()  # all messages are written, or the outage lasts too long
        self._ended.set()

    def write_message(self, message: PipesMessage) -> None:
        """Buffer a message."""
        with self._lock:
            self._unwritten += 1
            self._ended.clear()
        super().write_message(message)

    def upload_messages_chunk(self, payload: IO[str], index: int) -> None:
        """Write a chunk: one message on each line.

        Raises:
            botocore.exceptions.ClientError, BotoCoreError: S3 fails for MAX_OUTAGE_SECONDS.
        """
        text = payload.read()
        until = self._clock.now() + MAX_OUTAGE_SECONDS
        while True:
            try:
                super().upload_messages_chunk(StringIO(text), index)
                break
            except (ClientError, BotoCoreError):
                if self._clock.now() >= until:
                    self._ended.set()
                    raise
                self._clock.sleep(RETRY_SECONDS)
        with self._lock:
            self._unwritten -= len(text.splitlines())
            if not self._unwritten:
                self._ended.set()

    @contextmanager
    def buffered_upload_loop(self) -> Iterator[None]:
        """Write messages while the context lasts, and all that are left at its end."""
        with super().buffered_upload_loop():
            yield
        # Dagster waits for a minute at most.
        self._ended.wait(MAX_OUTAGE_SECONDS)


class MessageWriter(PipesS3MessageWriter):
    """Makes the channel of a job.

    Args:
        client: of S3.
        interval: seconds between chunks.
        clock: times the waits between retries.
    """

    def __init__(self, client: Any, interval: float, clock: Clock | None = None) -> None:
        super().__init__(client, interval=interval)
        self._s3 = client
        self._clock = clock or system_clock()

    def make_channel(self, params: PipesParams) -> MessageChannel:
        """See PipesS3MessageWriter; `params` are those of `StoreMessageReader`."""
        return MessageChannel(
            self._s3, params["bucket"], params["key_prefix"], self._clock, self.interval
        )
