"""The configuration of the sandbox. All durations are seconds of the account's scaled time."""

from dataclasses import dataclass

# The account that moto assumes for an access key that it does not know.
ACCOUNT = "123456789012"
# Any key works until policies are enforced; from then on, these are an administrator's.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}


def data_bucket(name: str) -> str:
    """Return the name of a foundation's bucket, as in its CloudFormation template."""
    return f"{name}-data-{ACCOUNT}"


@dataclass(frozen=True)
class SandboxConfig:
    """Port, speed of time, durations and limits of a sandbox.

    Args:
        scale: seconds of the account per real second. With 0, time advances only while a thread
            sleeps on the sandbox's clock (`stepped_clock.py`).
        seed: of the interruptions by rate.
        port: port on 127.0.0.1; 0 takes a free one.
        name: prefix of the names that `prepare_foundation` creates; see
            `resources.settings.profile.Aws`.
        boot_seconds: from the launch of a machine until it accepts jobs.
        pull_seconds: duration of STARTING: the pull of the image and the start of the container.
        idle_seconds: from a machine's last job until its termination.
        notice_seconds: from an interruption notice until the termination.
        stop_latency_seconds: from a request to cancel or terminate a job until SIGTERM.
        stop_grace_seconds: from SIGTERM to SIGKILL.
        blocked_seconds: until Batch reports why the head of a queue does not start.
        change_seconds: duration of CREATING and UPDATING of environments and queues.
        delete_seconds: duration of DELETING of environments and queues.
        describe_lag_seconds: time in which DescribeJobs and ListJobs omit a new job.
        interruption_rate: interruptions of a spot machine per hour.
        spot_quota: the account's quota of spot vCPUs of GPU machines.
        ondemand_quota: its quota of on-demand vCPUs of GPU machines.
        terminated_retention_seconds: time in which EC2 describes a terminated machine.
        billing_lag_seconds: delay of costs in Cost Explorer.
        tick_seconds: real seconds between two ticks of the scheduler.
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
    terminated_retention_seconds: float = 3600.0
    billing_lag_seconds: float = 86400.0
    tick_seconds: float = 0.02
