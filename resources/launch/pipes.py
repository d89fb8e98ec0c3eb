"""Dagster Pipes over an object store: context and messages of a job, at keys of our choice.

Unlike dagster-aws's S3 injector and reader, they let a later process resume the session of a
running job, need no thread per job, and read all messages of a job that has ended.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from dagster import PipesMessageHandler
from dagster_pipes import PIPES_PROTOCOL_VERSION_FIELD, PipesContextData, PipesParams

from resources.storage.object_store import ObjectStore

OnMessage = Callable[[Mapping[str, Any]], None]


@contextmanager
def without_message_warnings(log: logging.Logger) -> Iterator[None]:
    """Suppress Dagster's warnings about sessions closed without messages.

    They are several lines each, and say nothing if the job's end explains the missing messages.
    """

    def is_other(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("[pipes] did not receive")

    log.addFilter(is_other)
    try:
        yield
    finally:
        log.removeFilter(is_other)


class StoreContextInjector(dg.PipesContextInjector):
    """Writes the context to a key of a store on S3, where `PipesS3ContextLoader` reads it."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key

    @contextmanager
    def inject_context(self, context: PipesContextData) -> Iterator[PipesParams]:
        """See PipesContextInjector. The context is not deleted: a retried job reads it again."""
        self._store.write_bytes(self._key, json.dumps(context).encode())
        bucket, key = bucket_and_key(self._store.url, self._key)
        yield {"bucket": bucket, "key": key}

    def no_messages_debug_text(self) -> str:
        return f"Attempted to inject context through {self._store.url}/{self._key}."


class StoreMessageReader(dg.PipesMessageReader):
    """Reads the numbered chunks that `PipesS3MessageWriter` writes, whenever it is polled.

    Args:
        on_message: called with the payload of each custom message as it is read; Dagster would
            retain it until the session ends.
    """

    def __init__(self, store: ObjectStore, prefix: str, on_message: OnMessage) -> None:
        self._store = store
        self._prefix = prefix
        self._on_message = on_message
        self._next = 1
        self._handled = 0  # messages of the next chunk
        self._handler: PipesMessageHandler | None = None

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        """See PipesMessageReader."""
        self._handler = handler
        bucket, prefix = bucket_and_key(self._store.url, self._prefix)
        try:
            yield {"bucket": bucket, "key_prefix": prefix}
        finally:
            self.read_new()
            self.stop()

    def read_new(self) -> None:
        """Handle the messages that the job has written since the last call, unless stopped.

        Raises:
            StoreError: the store cannot be read. The next call continues after the last message
                that was handled.
        """
        if self._handler is None:
            return
        while self._store.exists(key := f"{self._prefix}/{self._next}.json"):
            for line in self._store.read_bytes(key).splitlines()[self._handled :]:
                self._handle(self._handler, json.loads(line))
                self._handled += 1
            self._next += 1
            self._handled = 0

    def stop(self) -> None:
        """Read no further messages, so that the end of the session needs no store."""
        self._handler = None

    def _handle(self, handler: PipesMessageHandler, message: Any) -> None:
        if PIPES_PROTOCOL_VERSION_FIELD not in message:
            return
        if message["method"] == "report_custom_message":
            self._on_message(message["params"]["payload"])
        else:
            handler.handle_message(message)

    def no_messages_debug_text(self) -> str:
        return f"Attempted to read messages below {self._store.url}/{self._prefix}."


def bucket_and_key(store_url: str, key: str) -> tuple[str, str]:
    """Return the bucket and the full key of an object in a store on S3."""
    parts = urlsplit(store_url)
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/{key}" if prefix else key
