"""A Dagster Pipes client for AWS Batch, in the manner of dagster-aws's clients for other services.

Context goes to the job and messages come back through S3, under a prefix of the caller's choice,
so that a later process can take up a job that is still running. No threads: whoever waits for the
job reads its messages.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dagster as dg
from dagster import PipesExecutionResult, PipesMessageHandler
from dagster_pipes import PIPES_PROTOCOL_VERSION_FIELD, PipesContextData, PipesParams

from resources.batch.jobs import TERMINAL_STATES, Job, job_console_url, describe_jobs, submit_parameters
from resources.clock import Clock, system_clock
from resources.errors import LaunchError
from resources.storage.object_store import ObjectStore

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

OnMessage = Callable[[Mapping[str, Any]], None]


@contextmanager
def without_message_warnings(log: logging.Logger) -> Iterator[None]:
    """Close sessions here whose jobs' ends are known, as of one that never began.

    Dagster warns, in several lines, of each session that hears nothing or no end.
    """

    def keep(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("[pipes] did not receive")

    log.addFilter(keep)
    try:
        yield
    finally:
        log.removeFilter(keep)


class StoreContextInjector(dg.PipesContextInjector):
    """Writes the context under a key of a store on S3, for `PipesS3ContextLoader` to read."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key

    @contextmanager
    def inject_context(self, context: PipesContextData) -> Iterator[PipesParams]:
        """See PipesContextInjector. Left in place: a retried job reads it again."""
        self._store.write_bytes(self._key, json.dumps(context).encode())
        bucket, key = bucket_and_key(self._store.url, self._key)
        yield {"bucket": bucket, "key": key}

    def no_messages_debug_text(self) -> str:
        return f"Attempted to inject context through {self._store.url}/{self._key}."


class StoreMessageReader(dg.PipesMessageReader):
    """Reads the numbered chunks that `PipesS3MessageWriter` writes, whenever it is asked to.

    Args:
        on_message: gets the payloads of custom messages as they are read, instead of Dagster,
            which keeps them to the session's end.
    """

    def __init__(self, store: ObjectStore, prefix: str, on_message: OnMessage) -> None:
        self._store = store
        self._prefix = prefix
        self._on_message = on_message
        self._next = 1
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

    def read_new(self) -> None:
        """Handle what the job has written since the last call."""
        while self._store.exists(key := f"{self._prefix}/{self._next}.json"):
            self._next += 1
            for line in self._store.read_bytes(key).splitlines():
                self._handle(json.loads(line))

    def _handle(self, message: Any) -> None:
        if self._handler is None or PIPES_PROTOCOL_VERSION_FIELD not in message:
            return
        if message["method"] == "report_custom_message":
            self._on_message(message["params"]["payload"])
        else:
            self._handler.handle_message(message)

    def no_messages_debug_text(self) -> str:
        return f"Attempted to read messages below {self._store.url}/{self._prefix}."


def bucket_and_key(store_url: str, key: str) -> tuple[str, str]:
    """Bucket and whole key of an object in a store on S3."""
    parts = urlsplit(store_url)
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/{key}" if prefix else key


class PipesBatchClient:
    """Runs one job of AWS Batch with the Pipes protocol and waits for its end.

    The worker uses `PipesS3ContextLoader` and `PipesS3MessageWriter`.

    Args:
        batch: boto3's client of Batch.
        store: on S3; context and messages lie below `pipes/JOB NAME/` in it.
        poll: seconds between two looks at the job.
        forward_termination: terminate the job when the Dagster process is interrupted.

    Example:
        >>> client = PipesBatchClient(boto3.client("batch"), open_store("s3://bucket/pipes"))
        >>> results = client.run(
        ...     context=context,
        ...     submit_job_params={"jobName": "a", "jobQueue": "spot", "jobDefinition": "worker"},
        ... )
    """

    def __init__(
        self,
        batch: "BatchClient",
        store: ObjectStore,
        *,
        clock: Clock | None = None,
        poll: float = 15.0,
        forward_termination: bool = True,
    ) -> None:
        self._batch = batch
        self._store = store
        self._clock = clock or system_clock()
        self._poll = poll
        self._forward_termination = forward_termination

    def run(
        self,
        *,
        context: dg.AssetExecutionContext,
        submit_job_params: Mapping[str, Any],
        extras: Mapping[str, Any] | None = None,
    ) -> Sequence[PipesExecutionResult]:
        """Submit the job, wait for its end and give what it reported.

        Args:
            submit_job_params: parameters of boto3's `submit_job`.
            extras: for the worker.

        Raises:
            LaunchError: the job failed; the text has Batch's reason.
        """
        name = submit_job_params["jobName"]
        reader = StoreMessageReader(self._store, f"pipes/{name}", lambda message: None)
        injector = StoreContextInjector(self._store, f"pipes/{name}/context.json")
        with dg.open_pipes_session(context, injector, reader, dict(extras or {})) as session:
            params = submit_parameters(
                submit_job_params,
                session.get_bootstrap_env_vars(),
                session.default_remote_invocation_info,
            )
            job_id = self._batch.submit_job(**params)["jobId"]
            context.log.info(f"Batch job {name} submitted: {job_id}")
            job = self._wait(job_id, reader)
        if job["status"] == "FAILED":
            raise LaunchError(f"Batch job {name} ({job_id}) failed: {job.get('statusReason')}")
        region = self._batch.meta.region_name
        link = {"batch/job": dg.MetadataValue.url(job_console_url(region, job_id))}
        return session.get_results(implicit_materializations=False, metadata=link)

    def _wait(self, job_id: str, reader: StoreMessageReader) -> Job:
        try:
            while True:
                job = describe_jobs(self._batch, [job_id]).get(job_id)
                reader.read_new()
                if job and job["status"] in TERMINAL_STATES:
                    return job
                self._clock.sleep(self._poll)
        except BaseException:
            if self._forward_termination:
                self._batch.terminate_job(jobId=job_id, reason="the Dagster run was interrupted")
            raise
