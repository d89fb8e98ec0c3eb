"""How the sandbox behaves. All durations are seconds of the account's own, scaled time."""

from dataclasses import dataclass

# What moto takes for the account of every access key that it does not know.
ACCOUNT = "123456789012"
# Any key works until policies are enforced; then these stand for an administrator.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}


def data_bucket(name: str) -> str:
    """The bucket of a foundation, named as its CloudFormation template names it."""
    return f"{name}-data-{ACCOUNT}"


@dataclass(frozen=True)
class SandboxConfig:
    """Where the sandbox listens, how fast its time goes and how long its machines take.

    Args:
        scale: seconds of the account that pass in one real second; 0: time stands still, but
            for who sleeps on the sandbox's clock (`stepped_clock.py`).
        seed: of the interruptions that come by rate.
        port: where it listens on 127.0.0.1; 0 takes a free one.
        name: begins the names of what `prepare_foundation` makes; see
            `resources.settings.profile.Aws`.
        boot_seconds: from the launch of a machine until it takes jobs.
        pull_seconds: STARTING: pulling the image and starting the container.
        idle_seconds: how long a machine without jobs is kept.
        notice_seconds: from the notice of an interruption until the machine is gone.
        stop_latency_seconds: until a request to cancel or terminate is acted on.
        stop_grace_seconds: from SIGTERM to SIGKILL.
        blocked_seconds: until Batch says why the head of a queue does not start.
        change_seconds: CREATING and UPDATING of environments and queues.
        delete_seconds: DELETING of environments and queues.
        describe_lag_seconds: how long a submitted job stays unknown to DescribeJobs and ListJobs.
        interruption_rate: interruptions of a spot machine per hour.
        spot_quota: vCPUs of GPU machines that the account may run on spot.
        ondemand_quota: the same on demand.
        remembered_seconds: how long EC2 tells of a machine that has ended.
        billing_lag_seconds: how late Cost Explorer knows of costs.
        tick_seconds: real seconds between two looks of the scheduler.
    """

    scale: float = 60.0
    seed: int = 0
    port: int = 0
    region: str = "eu-north-1"
    name: str = "ravne"
    boot_seconds: float = 150.0
    pull_seconds: float = 45.0
    idle_seconds: float = 120.0
    notice_seconds: float = 120.0
    stop_latency_seconds: float = 3.0
    stop_grace_seconds: float = 30.0
    blocked_seconds: float = 60.0
    change_seconds: float = 5.0
    delete_seconds: float = 20.0
    describe_lag_seconds: float = 0.0
    interruption_rate: float = 0.0
    spot_quota: int = 256
    ondemand_quota: int = 256
    remembered_seconds: float = 3600.0
    billing_lag_seconds: float = 86400.0
    tick_seconds: float = 0.02
