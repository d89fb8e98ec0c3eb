"""Preconditions of a launch: open job queues, readable footage, footage on S3."""

import shlex
from collections.abc import Callable, Sequence
from threading import Event
from typing import TYPE_CHECKING

import dagster as dg

from resources.aws.batch_states import ResourceState, ResourceStatus
from resources.aws.clients import AwsClients
from resources.aws.errors import translate_aws_errors
from resources.batch.names import SPOT_QUEUES, Names, Queue
from resources.errors import UsageError
from resources.launch.base import StepRequest
from resources.launch.hooks import LaunchHooks, OnLog
from resources.printable import printable
from resources.settings.profile import Aws
from resources.storage.open_store import open_store

if TYPE_CHECKING:
    from resources.storage.transfer.footage_upload import UploadProgress

# The state and status of a queue that accepts jobs; statuses of deleted queues.
OPEN_STATE = (ResourceState.ENABLED, ResourceStatus.VALID)
DELETED_STATUSES = {ResourceStatus.DELETING, ResourceStatus.DELETED}
# Seconds to wait for a queue to open, and between two requests.
MAX_OPENING_SECONDS, QUEUE_STATE_POLL_SECONDS = 300.0, 10.0


def required_queues(aws: Aws) -> tuple[Queue, ...]:
    """Return the queues that a profile's launches may use; `munin cost setup` creates the same."""
    compute = aws.compute
    spot = SPOT_QUEUES if compute.spot_instances else ()
    return (*spot, Queue.ON_DEMAND) if compute.fallback_to_ondemand or not spot else spot


def wait_for_queues(
    clients: AwsClients, aws: Aws, profile_name: str, remedy: str, on_log: OnLog
) -> None:
    """Wait until all queues are open.

    A queue may be disabled for a moment: the cleanup of unused compute disables the queues, finds
    the lease of this run, and opens them again (`compute/cleanup.py`).

    Args:
        profile_name: name or path of the run's profile, for messages.
        remedy: what to do if access is denied.

    Raises:
        UsageError: a queue is not set up, or does not open.
        RavneError: AWS denies access, or does not answer.
    """
    names = [Names(aws.name).queue(queue) for queue in required_queues(aws)]
    setup = f"munin --profile {shlex.quote(profile_name)} cost setup --job-count N"
    until = clients.clock.now() + MAX_OPENING_SECONDS
    logged = False
    while closed := _closed(clients, names, setup, remedy):
        if clients.clock.now() >= until:
            raise UsageError(
                f"the queues {', '.join(closed)} are disabled or being changed; open them with "
                f"{setup}"
            )
        if not logged:
            logged = True
            on_log(f"the queues {', '.join(closed)} are not open; waiting for them")
        clients.clock.sleep(QUEUE_STATE_POLL_SECONDS)


def _closed(clients: AwsClients, names: Sequence[str], setup: str, remedy: str) -> list[str]:
    with translate_aws_errors("launching on AWS Batch", remedy):
        found = clients.of("batch").describe_job_queues(jobQueues=names)["jobQueues"]
    states = {
        queue["jobQueueName"]: (queue["state"], queue["status"])
        for queue in found
        if queue["status"] not in DELETED_STATUSES
    }
    if missing := [name for name in names if name not in states]:
        raise UsageError(f"the queues {', '.join(missing)} are not set up; run {setup} first")
    return [name for name in names if states[name] != OPEN_STATE]


def check_archived(
    clients: AwsClients,
    footage_url: str,
    is_media: Callable[[str], bool],
    was_analysed: Callable[[], bool],
    on_log: OnLog,
) -> None:
    """Log how many media are archived; refuse to launch if none can be read.

    Args:
        is_media: return True if a key is an image or a video.
        was_analysed: return True if an earlier run has read the camera's footage.

    Raises:
        UsageError: all media are archived, and no run has read them.
        StoreError: S3 denies access, or does not answer.
    """
    from resources.retention.archive import list_storage_classes

    found = [each for each in list_storage_classes(clients, footage_url) if is_media(each.key)]
    archived = sum(each.is_archived for each in found)
    if not archived:
        return
    line = f"{footage_url}: {archived} of {len(found)} media are archived and cannot be read now"
    command = f"munin cost restore {shlex.quote(footage_url)}"
    remedy = f"`{command}` shows the cost of restoring them and requests it"
    if archived == len(found) and not was_analysed():
        raise UsageError(f"{line}; {remedy}")
    on_log(f"{line}; media that are already analysed are not needed; for others, {remedy}")


def upload_local_footage(
    context: dg.AssetExecutionContext,
    request: StepRequest,
    url: str,
    clients: AwsClients,
    hooks: LaunchHooks,
    on_log: OnLog,
) -> None:
    """Copy local footage to S3, where jobs can read it. Files that are there already are skipped.

    Args:
        url: of the copy.
    """
    from resources.storage.s3.store import S3Store  # boto3 is needed for the cloud alone
    from resources.storage.transfer.footage_upload import upload_footage

    def report(progress: "UploadProgress") -> None:
        done, total = progress.uploaded + progress.present, progress.total_files
        hooks.on_progress({"stage": "staging", "done": done, "total": total, "unit": "files"})

    on_log(f"copying the footage to {url}; files that are there already are skipped")
    upload = upload_footage(
        open_store(request.footage_url),
        S3Store(url, clients, clock=clients.clock),
        report,
        Event(),  # never set: an interrupt is raised in this thread and ends the copy
        hooks.footage.is_media,
    )
    for failure in upload.failures:
        context.log.warning(f"{printable(failure.key)}: not copied: {failure.reason}")
    context.log.info(
        f"copied {upload.uploaded} files ({upload.uploaded_bytes / 1e6:.1f} MB), "
        f"{upload.present} were there already"
    )
