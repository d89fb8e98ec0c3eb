"""What has to be there before a job is launched: open queues, and footage that can be read."""

import shlex
from collections.abc import Callable, Sequence

from resources.aws.clients import AwsClients
from resources.aws.errors import translate_aws_errors
from resources.batch.names import SPOT_QUEUES
from resources.errors import UsageError
from resources.settings.profile import Aws

# A queue that takes jobs; states of one that will not; how long another is waited for.
OPEN_STATE = ("ENABLED", "VALID")
DELETED_STATUSES = {"DELETING", "DELETED"}
MAX_OPENING_SECONDS, QUEUE_STATE_POLL_SECONDS = 300.0, 10.0

Say = Callable[[str], None]


def required_queues(aws: Aws) -> tuple[str, ...]:
    """The queues that a profile's launches may use, as `munin cost setup` makes them."""
    compute = aws.compute
    spot = SPOT_QUEUES if compute.spot_instances else ()
    return (*spot, "ondemand") if compute.fallback_to_ondemand or not spot else spot


def wait_for_queues(clients: AwsClients, aws: Aws, remedy: str, say: Say) -> None:
    """Jobs need queues that are set up and open.

    A disabled one is waited for: who wants to take it away sees that it is held, and opens it
    again (`compute/cleanup.py`).

    Args:
        remedy: what to do when the caller has no right to look.

    Raises:
        UsageError: one is not set up, or does not open.
        RavneError: AWS refuses, or cannot be reached.
    """
    names = [f"{aws.name}-{queue}" for queue in required_queues(aws)]
    until = clients.clock.now() + MAX_OPENING_SECONDS
    told = False
    while closed := _closed(clients, names, remedy):
        if clients.clock.now() >= until:
            raise UsageError(
                f"the queues {', '.join(closed)} are disabled or being changed; open them with "
                "munin cost setup --job-count N"
            )
        if not told:
            told = True
            say(f"the queues {', '.join(closed)} are not open; waiting for them")
        clients.clock.sleep(QUEUE_STATE_POLL_SECONDS)


def _closed(clients: AwsClients, names: Sequence[str], remedy: str) -> list[str]:
    with translate_aws_errors("launching on AWS Batch", remedy):
        found = clients.of("batch").describe_job_queues(jobQueues=names)["jobQueues"]
    states = {
        q["jobQueueName"]: (q["state"], q["status"]) for q in found if q["status"] not in DELETED_STATUSES
    }
    if missing := [name for name in names if name not in states]:
        raise UsageError(
            f"the queues {', '.join(missing)} are not set up; run munin cost setup --job-count N "
            "first"
        )
    return [name for name in names if states[name] != OPEN_STATE]


def check_archived(
    clients: AwsClients,
    footage_url: str,
    is_media: Callable[[str], bool],
    looked_at_before: Callable[[], bool],
    say: Say,
) -> None:
    """Say which of the footage cannot be read; no machine is paid for to find that none can.

    Args:
        is_media: whether a key is a medium's.
        looked_at_before: whether an earlier run has read the camera's footage.

    Raises:
        UsageError: all of it is archived, and was never looked at.
        StoreError: S3 refuses, or cannot be reached.
    """
    from resources.retention.archive import list_storage_classes

    found = [each for each in list_storage_classes(clients, footage_url) if is_media(each.key)]
    archived = sum(each.is_archived for each in found)
    if not archived:
        return
    told = f"{footage_url}: {archived} of {len(found)} media are archived and cannot be read now"
    command = f"munin cost restore {shlex.quote(footage_url)}"
    remedy = f"`{command}` tells what having them back costs, and asks for them"
    if archived == len(found) and not looked_at_before():
        raise UsageError(f"{told}; {remedy}")
    say(f"{told}; those that were looked at before are not needed; for others, {remedy}")
