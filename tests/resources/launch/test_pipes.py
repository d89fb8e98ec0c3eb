"""Pipes over a store: a session resumes, and no message is lost."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.errors import StoreError
from resources.launch.pipes import StoreContextInjector, StoreMessageReader
from resources.storage.local_store import LocalStore


class Writer:
    """Writes chunks as `PipesS3MessageWriter` does."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._chunks = 0

    def write(self, *messages: tuple[str, Any]) -> None:
        self._chunks += 1
        lines = [
            json.dumps({"__dagster_pipes_version": "0.1", "method": method, "params": params})
            for method, params in messages
        ]
        self._store.write_bytes(f"job/{self._chunks}.json", "\n".join(lines).encode())

    def progress(self, done: int) -> None:
        self.write(("report_custom_message", {"payload": {"done": done}}))

    def materialize(self) -> None:
        params = {"asset_key": "footage", "metadata": {}, "data_version": None}
        self.write(("report_asset_materialization", params))


class UnreliableStore(LocalStore):
    """A store that fails the first read of each object."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._read: set[str] = set()

    def read_bytes(self, key: str) -> bytes:
        if key not in self._read:
            self._read.add(key)
            raise StoreError(f"{key}: SlowDown")
        return super().read_bytes(key)


Session = tuple[dg.PipesSession, StoreMessageReader, list[int]]


def in_asset(body: Callable[[dg.AssetExecutionContext], None]) -> None:
    """Run a function with the context of an asset, which a session needs."""

    @dg.asset
    def footage(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        body(context)
        return dg.MaterializeResult()

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([footage], instance=instance).success


@contextmanager
def session(context: dg.AssetExecutionContext, store: LocalStore) -> Iterator[Session]:
    """Open a session of the job; the last value is the progress that was read."""
    progress: list[int] = []

    def on_message(payload: Mapping[str, Any]) -> None:
        progress.append(payload["done"])

    reader = StoreMessageReader(store, "job", on_message)
    injector = StoreContextInjector(store, "job/context.json")
    with dg.open_pipes_session(context, injector, reader, {"camera_id": "cam"}) as opened:
        yield opened, reader, progress


def test_custom_messages_are_read_at_each_poll_in_order(tmp_path: Path) -> None:
    def poll(context: dg.AssetExecutionContext) -> None:
        writer = Writer(LocalStore(tmp_path))
        with session(context, LocalStore(tmp_path)) as (_, reader, progress):
            reader.read_new()
            assert progress == []
            writer.progress(1)
            writer.progress(2)
            reader.read_new()
            assert progress == [1, 2]
            writer.progress(3)
        assert progress == [1, 2, 3]

    in_asset(poll)


def test_a_later_session_reads_all_messages_again(tmp_path: Path) -> None:
    def resume(context: dg.AssetExecutionContext) -> None:
        writer = Writer(LocalStore(tmp_path))
        with session(context, LocalStore(tmp_path)):
            for done in range(100):
                writer.progress(done)
            writer.materialize()
        with session(context, LocalStore(tmp_path)) as (opened, _, progress):
            pass
        assert progress == list(range(100))
        assert len(opened.get_results(implicit_materializations=False)) == 1

    in_asset(resume)


def test_no_message_is_lost_if_the_store_fails(tmp_path: Path) -> None:
    def retry(context: dg.AssetExecutionContext) -> None:
        writer = Writer(LocalStore(tmp_path))
        with session(context, UnreliableStore(tmp_path)) as (_, reader, progress):
            writer.progress(1)
            with pytest.raises(StoreError):
                reader.read_new()
            reader.read_new()
        assert progress == [1]

    in_asset(retry)


def test_an_error_in_a_chunk_loses_and_repeats_no_message(tmp_path: Path) -> None:
    def fail_in_a_chunk(context: dg.AssetExecutionContext) -> None:
        handled: list[int] = []
        failures = iter(["once"])

        def on_message(payload: Mapping[str, Any]) -> None:
            if payload["done"] == 2 and next(failures, None):
                raise StoreError("no database")
            handled.append(payload["done"])

        store = LocalStore(tmp_path)
        messages = [("report_custom_message", {"payload": {"done": done}}) for done in (1, 2, 3)]
        reader = StoreMessageReader(store, "job", on_message)
        injector = StoreContextInjector(store, "job/context.json")
        with dg.open_pipes_session(context, injector, reader):
            Writer(store).write(*messages)
            with pytest.raises(StoreError):
                reader.read_new()
            reader.read_new()
            assert handled == [1, 2, 3]

    in_asset(fail_in_a_chunk)


def test_a_session_whose_messages_are_read_needs_no_store_for_its_end(tmp_path: Path) -> None:
    def end(context: dg.AssetExecutionContext) -> None:
        writer = Writer(LocalStore(tmp_path))
        with session(context, UnreliableStore(tmp_path)) as (_, reader, progress):
            reader.stop()
            writer.progress(1)
        assert progress == []

    in_asset(end)


def test_the_context_remains_for_a_retried_job(tmp_path: Path) -> None:
    def open_and_close(context: dg.AssetExecutionContext) -> None:
        with session(context, LocalStore(tmp_path)):
            pass

    in_asset(open_and_close)
    tree = json.loads((tmp_path / "job" / "context.json").read_text())
    assert tree["extras"] == {"camera_id": "cam"}
