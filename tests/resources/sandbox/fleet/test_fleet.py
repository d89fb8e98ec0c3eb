"""The sandbox's machines: launch, termination, interruption, bill."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError
from sandbox_rig import (
    CAPACITY_REASON,
    ONCE,
    REGION,
    SLEEP,
    Account,
    account,
    eventually,
    fresh,
)

from resources.sandbox.fleet.bill import Price, charge
from resources.sandbox.fleet.capacity import Capacity
from resources.sandbox.model.prices import ON_DEMAND, SPOT, InstanceLifecycle

__all__ = ["account", "fresh"]  # pytest finds fixtures by their names


class Machine(NamedTuple):
    """See capacity.LimitedMachine."""

    lifecycle: InstanceLifecycle
    kind: str
    zone: str
    vcpus: int


# Machines


def test_machines_are_launched_for_jobs_and_terminated_when_idle(fresh: Account) -> None:
    def desired() -> int:
        environment = fresh.described_environment("ravne-spot")
        return environment["computeResources"]["desiredvCpus"]

    assert desired() == 0
    jobs = [fresh.submit(["sleep", "0.5"], queue="ravne-spot") for _ in range(4)]
    eventually(lambda: desired() == 8)
    assert len(fresh.machines()) == 2, "maxvCpus is 8"
    assert [fresh.wait(job_id)["status"] for job_id in jobs] == ["SUCCEEDED"] * 4
    eventually(lambda: desired() == 0)
    assert not fresh.machines()
    states = {
        instance["State"]["Name"]
        for reservation in fresh.clients.of("ec2").describe_instances()["Reservations"]
        for instance in reservation["Instances"]
    }
    assert states == {"terminated"}


def test_jobs_of_the_queue_with_higher_priority_start_first(fresh: Account) -> None:
    fresh.sandbox.set_capacity("spot", 1)
    first = fresh.submit(SLEEP, queue="ravne-spot")
    fresh.wait(first, "RUNNING")
    low = [fresh.submit(["true"], queue="ravne-spot") for _ in range(2)]
    high = [fresh.submit(["true"], queue="ravne-spot-high") for _ in range(2)]
    fresh.batch.terminate_job(jobId=first, reason="make room")
    started = {job_id: fresh.wait(job_id)["startedAt"] for job_id in low + high}
    assert sorted(started, key=lambda job_id: started[job_id]) == high + low


def test_without_capacity_the_head_of_the_queue_has_a_reason_and_desired_vcpus_stay(
    fresh: Account,
) -> None:
    fresh.sandbox.set_capacity("spot", 0)
    head, behind = (fresh.submit(["true"], queue="ravne-spot") for _ in range(2))
    reason = eventually(lambda: fresh.job(head).get("statusReason"))
    assert reason.startswith(f"{CAPACITY_REASON} - ")
    assert "statusReason" not in fresh.job(behind)
    desired = fresh.described_environment("ravne-spot")["computeResources"]["desiredvCpus"]
    assert desired == 8, "desiredvCpus include those of waiting jobs"
    assert not fresh.machines()
    assert fresh.run(["true"])["status"] == "SUCCEEDED", "on demand there is capacity"
    fresh.sandbox.set_capacity("spot", None)
    assert fresh.wait(behind)["status"] == "SUCCEEDED"


def test_capacity_can_be_limited_in_one_zone_or_of_one_type(fresh: Account) -> None:
    fresh.sandbox.set_capacity("spot", 0, zone="eu-north-1a")
    fresh.wait(fresh.submit(SLEEP, queue="ravne-spot"), "RUNNING")
    [machine] = fresh.machines()
    assert (machine["instance_type"], machine["zone"]) == ("g4dn.xlarge", "eu-north-1c")
    fresh.sandbox.set_capacity("spot", 1, kind="g4dn.xlarge")
    fresh.wait(fresh.submit(SLEEP, queue="ravne-spot"), "RUNNING")
    assert fresh.machines(instance_type="g5.xlarge")
    fresh.sandbox.set_capacity("spot", None, zone="eu-north-1a")
    fresh.sandbox.set_capacity("spot", None, kind="g4dn.xlarge")


def test_spot_and_on_demand_have_separate_quotas() -> None:
    capacity = Capacity({SPOT: 8, ON_DEMAND: 4})
    running = [
        Machine(SPOT, "g4dn.xlarge", "eu-north-1a", 4),
        Machine(ON_DEMAND, "g4dn.xlarge", "eu-north-1a", 4),
    ]
    assert capacity.has_room(SPOT, "g5.xlarge", "eu-north-1b", 4, running)
    assert not capacity.has_room(SPOT, "g5.xlarge", "eu-north-1b", 8, running)
    assert not capacity.has_room(ON_DEMAND, "g5.xlarge", "eu-north-1b", 4, running)


def test_the_second_environment_of_a_queue_takes_jobs_that_the_first_cannot(fresh: Account) -> None:
    fresh.batch.create_job_queue(
        jobQueueName="both",
        priority=1,
        computeEnvironmentOrder=[
            {"order": 1, "computeEnvironment": "ravne-spot"},
            {"order": 2, "computeEnvironment": "ravne-ondemand"},
        ],
    )
    fresh.wait_for_queue("both")
    jobs = [fresh.submit(SLEEP, queue="both") for _ in range(3)]
    for job_id in jobs:
        fresh.wait(job_id, "RUNNING")
    kinds = sorted(machine["lifecycle"] for machine in fresh.machines())
    assert kinds == ["on-demand", "spot", "spot"], "two fill ravne-spot"


def test_an_infrastructure_update_replaces_machines_after_their_jobs(
    fresh: Account,
) -> None:
    def update(**resources: Any) -> None:
        fresh.batch.update_compute_environment(
            computeEnvironment="ravne-ondemand", computeResources=resources
        )
        fresh.stable_environment("ravne-ondemand")

    running = fresh.submit(["sleep", "2"])
    fresh.wait(running, "RUNNING")
    update(instanceTypes=["g5.xlarge"])
    after = fresh.submit(SLEEP)
    fresh.wait(after, "RUNNING")
    [new] = [machine for machine in fresh.machines() if after in machine["jobs"]]
    assert new["instance_type"] == "g5.xlarge"
    assert fresh.wait(running)["status"] == "SUCCEEDED"
    eventually(lambda: len(fresh.machines()) == 1)
    update(instanceTypes=["g4dn.xlarge", "g5.xlarge"])


def test_an_update_without_a_change_keeps_the_machines(fresh: Account) -> None:
    def update(**resources: Any) -> str:
        """Update, and return the id of the one remaining machine."""
        fresh.batch.update_compute_environment(
            computeEnvironment="ravne-ondemand", computeResources=resources
        )
        fresh.stable_environment("ravne-ondemand")
        return eventually(lambda: len(fresh.machines()) == 1 and fresh.machines()[0])["instance_id"]

    both = ["g4dn.xlarge", "g5.xlarge"]
    machine = update(minvCpus=4)
    assert update(instanceTypes=both, minvCpus=4) == machine
    assert update(instanceTypes=["g5.xlarge"]) != machine
    update(instanceTypes=both)
    fresh.batch.update_compute_environment(
        computeEnvironment="ravne-ondemand", computeResources={"minvCpus": 0}
    )
    fresh.stable_environment("ravne-ondemand")


def test_a_time_limit_cancels_a_job_without_capacity(fresh: Account) -> None:
    limit = {
        "reason": CAPACITY_REASON,
        "state": "RUNNABLE",
        "maxTimeSeconds": 600,
        "action": "CANCEL",
    }
    fresh.batch.update_job_queue(jobQueue="ravne-spot", jobStateTimeLimitActions=[limit])
    fresh.wait_for_queue("ravne-spot")
    fresh.sandbox.set_capacity("spot", 0)
    job = fresh.run(SLEEP, queue="ravne-spot")
    assert job["statusReason"] == (
        f"Canceled by JobStateTimeLimit action due to reason: {CAPACITY_REASON}"
    )
    assert job["stoppedAt"] - job["createdAt"] >= 600_000
    assert job["attempts"] == []
    fresh.batch.update_job_queue(jobQueue="ravne-spot", jobStateTimeLimitActions=[])
    fresh.wait_for_queue("ravne-spot")


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ({"type": "GPU", "value": "8"}, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"),
        ({"type": "MEMORY", "value": "16384"}, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"),
    ],
    ids=["more GPUs than a machine has", "all of a machine's memory"],
)
def test_a_job_that_fits_no_machine_stays_runnable_with_a_reason(
    fresh: Account, needs: dict[str, str], reason: str
) -> None:
    job_id = fresh.submit(["true"], overrides={"resourceRequirements": [needs]})
    assert eventually(lambda: fresh.job(job_id).get("statusReason", "")).startswith(reason)
    assert fresh.job(job_id)["status"] == "RUNNABLE"


def test_the_minimum_of_machines_runs_without_jobs(fresh: Account) -> None:
    batch = fresh.batch
    for minimum, machines in ((4, 1), (0, 0)):
        batch.update_compute_environment(
            computeEnvironment="ravne-ondemand", computeResources={"minvCpus": minimum}
        )
        fresh.stable_environment("ravne-ondemand")
        eventually(lambda wanted=machines: len(fresh.machines()) == wanted)


# Interruptions

POLL_FOR_NOTICE = """
import json, os, sys, time, urllib.error, urllib.request
base = os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
def get(path, token):
    headers = {"X-aws-ec2-metadata-token": token}
    request = urllib.request.Request(base + path, headers=headers)
    return urllib.request.urlopen(request).read().decode()
try:
    get("/latest/meta-data/instance-id", "guessed")
except urllib.error.HTTPError as refused:
    print(refused.code)
ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
put = urllib.request.Request(base + "/latest/api/token", method="PUT", headers=ttl)
token = urllib.request.urlopen(put).read().decode()
for item in ("instance-life-cycle", "instance-type", "placement/availability-zone"):
    print(get("/latest/meta-data/" + item, token))
print("polling", flush=True)
while True:
    try:
        print(get("/latest/meta-data/spot/instance-action", token), flush=True)
        sys.exit(143)
    except urllib.error.HTTPError as not_yet:
        assert not_yet.code == 404
    time.sleep(0.02)
"""


def test_a_machine_gets_its_notice_two_minutes_before_the_interruption(fresh: Account) -> None:
    job_id = fresh.submit(["python", "-c", POLL_FOR_NOTICE], queue="ravne-spot", retryStrategy=ONCE)
    fresh.wait(job_id, "RUNNING")
    time.sleep(0.5)
    before = fresh.sandbox.clock.now()
    instance_id = fresh.sandbox.interrupt(job_id=job_id)
    after = fresh.sandbox.clock.now()
    job = fresh.wait(job_id)
    lines = fresh.lines(job)
    assert lines[:5] == ["401", "spot", "g4dn.xlarge", "eu-north-1a", "polling"]
    notice = json.loads(lines[5])
    assert notice["action"] == "terminate"
    noticed = datetime.fromisoformat(notice["time"]).timestamp()
    assert before + 119 <= noticed <= after + 120, "two minutes, in whole seconds"
    [attempt] = job["attempts"]
    assert attempt["container"]["exitCode"] == 143, "the job ended before the machine"
    assert attempt["statusReason"] == "Essential container in task exited"
    [machine] = fresh.machines()
    assert machine["instance_id"] == instance_id
    eventually(lambda: not fresh.machines())


def test_a_job_that_ignores_the_notice_is_lost_with_its_machine_and_retried(
    fresh: Account,
) -> None:
    job_id = fresh.submit(
        ["sh", "-c", "test $AWS_BATCH_JOB_ATTEMPT = 2 || sleep 60"], queue="ravne-spot"
    )
    fresh.wait(job_id, "RUNNING")
    instance_id = fresh.sandbox.interrupt(job_id=job_id)
    job = fresh.wait(job_id)
    assert job["status"] == "SUCCEEDED"
    lost, done = job["attempts"]
    assert lost["statusReason"] == f"Host EC2 (instance {instance_id}) terminated."
    assert "exitCode" not in lost["container"]
    assert lost["stoppedAt"] - lost["startedAt"] >= 100_000, "it ran until the end of the notice"
    assert done["container"]["exitCode"] == 0
    found = fresh.clients.of("ec2").describe_instances(InstanceIds=[instance_id])
    [machine] = found["Reservations"][0]["Instances"]
    assert machine["InstanceLifecycle"] == "spot"
    assert machine["StateReason"]["Code"] == "Server.SpotInstanceTermination"


def test_a_machine_can_be_interrupted_without_notice(fresh: Account) -> None:
    job_id = fresh.submit(SLEEP, queue="ravne-spot", retryStrategy=ONCE)
    fresh.wait(job_id, "RUNNING")
    requested_at = fresh.sandbox.clock.now()
    fresh.sandbox.interrupt(job_id=job_id, notice=False)
    job = fresh.wait(job_id)
    assert job["statusReason"].startswith("Host EC2 (instance ")
    assert job["stoppedAt"] / 1000 - requested_at < 60


def test_a_job_stays_runnable_if_its_machine_is_interrupted_during_the_boot(fresh: Account) -> None:
    job_id = fresh.submit(["true"], queue="ravne-spot")
    [booting] = eventually(lambda: fresh.machines(state="booting"))
    fresh.sandbox.interrupt(instance_id=booting["instance_id"], notice=False)
    job = fresh.wait(job_id)
    assert job["status"] == "SUCCEEDED"
    assert len(job["attempts"]) == 1, "no attempt had begun on the first machine"


def test_an_attempt_that_is_lost_while_it_starts_has_no_start_time(fresh: Account) -> None:
    job_id = fresh.submit(SLEEP, queue="ravne-spot", retryStrategy=ONCE)
    fresh.wait(job_id, "STARTING")
    fresh.sandbox.interrupt(job_id=job_id, notice=False)
    [attempt] = fresh.wait(job_id)["attempts"]
    assert attempt["statusReason"].startswith("Host EC2")
    assert "startedAt" not in attempt


def test_on_demand_machines_are_not_interrupted(fresh: Account) -> None:
    job_id = fresh.submit(SLEEP)
    fresh.wait(job_id, "RUNNING")
    with pytest.raises(LookupError):
        fresh.sandbox.interrupt(job_id=job_id)


def test_a_price_above_the_bid_interrupts_machines_and_prevents_launches(fresh: Account) -> None:
    job_id = fresh.submit(SLEEP, queue="ravne-spot", retryStrategy=ONCE)
    fresh.wait(job_id, "RUNNING")
    fresh.sandbox.surge("g4dn.xlarge", 2.5)  # 0.1881 becomes 0.47, 84 % of 0.558
    assert fresh.wait(job_id)["statusReason"].startswith("Host EC2")
    again = fresh.submit(SLEEP, queue="ravne-spot")
    fresh.wait(again, "RUNNING")
    [machine] = [m for m in fresh.machines() if again in m["jobs"]]
    assert machine["instance_type"] == "g5.xlarge", "the bid allows only these"


def test_machines_are_interrupted_by_rate(fresh: Account) -> None:
    fresh.sandbox.set_interruption_rate(60)
    job = fresh.run(SLEEP, queue="ravne-spot", retryStrategy=ONCE)
    assert job["statusReason"].startswith("Host EC2")
    causes = [e["cause"] for e in fresh.sandbox.events() if e["type"] == "interruption"]
    assert causes[-1] == "rate"


# Bill


@pytest.mark.parametrize(
    ("prices", "seconds", "interrupted", "hours"),
    [
        ([Price(0, 1)], 1800, False, 0.5),
        ([Price(0, 1)], 7, False, 60 / 3600),
        ([Price(0, 1)], 3599, True, 0.0),
        ([Price(0, 1)], 3600, True, 1.0),
        ([Price(0, 1), Price(900, 3)], 1800, False, 0.25 + 0.75),
        ([Price(0, 1), Price(1700, 3), Price(1700, 2)], 1800, False, (1700 + 200) / 3600),
    ],
    ids=[
        "per second",
        "with a minimum of a minute",
        "free if interrupted in the first hour",
        "charged if interrupted later",
        "at the price in force",
        "at the last of two prices of the same moment",
    ],
)
def test_a_machine_is_charged(
    prices: list[Price], seconds: float, interrupted: bool, hours: float
) -> None:
    assert charge(prices, 0, seconds, interrupted) == pytest.approx(hours)


def test_boot_and_idle_time_are_charged_and_an_early_interruption_is_free(fresh: Account) -> None:
    before = len(fresh.sandbox.bill())
    lost = fresh.submit(SLEEP, queue="ravne-spot", retryStrategy=ONCE)
    fresh.wait(lost, "RUNNING")
    fresh.sandbox.interrupt(job_id=lost, notice=False)
    fresh.wait(lost)
    fresh.run(["sleep", "0.3"], queue="ravne-spot")
    eventually(lambda: not fresh.machines())
    interrupted, idle = fresh.sandbox.bill()[before:]
    assert (interrupted.interrupted, interrupted.cost) == (True, 0.0)
    assert interrupted.on_demand_cost > 0
    assert not idle.interrupted
    assert idle.cost == pytest.approx(idle.seconds / 3600 * 0.1881)
    assert idle.on_demand_cost == pytest.approx(idle.seconds / 3600 * 0.558)
    assert idle.seconds - idle.busy_seconds >= 40 + 40, "boot and idle"
    assert idle.busy_seconds >= 60
    assert idle.usage_type == "EUN1-SpotUsage:g4dn.xlarge"


def test_spot_prices_have_a_history(fresh: Account) -> None:
    ec2, clock = fresh.clients.of("ec2"), fresh.sandbox.clock

    def prices(zone: str, **span: Any) -> list[float]:
        answer = ec2.describe_spot_price_history(
            InstanceTypes=["g4dn.xlarge"],
            ProductDescriptions=["Linux/UNIX"],
            AvailabilityZone=zone,
            **span,
        )
        return [float(point["SpotPrice"]) for point in answer["SpotPriceHistory"]]

    def now() -> datetime:
        return datetime.fromtimestamp(clock.now(), UTC)

    assert prices("eu-north-1a", StartTime=now()) == [0.1881]
    fresh.sandbox.surge("g4dn.xlarge", 2, zone="eu-north-1a")
    clock.sleep(5)
    assert prices("eu-north-1a", StartTime=now()) == [0.3762]
    assert prices("eu-north-1a")[:2] == [0.3762, 0.1881]
    assert prices("eu-north-1b", StartTime=now()) == [0.1959]


def test_on_demand_prices_are_in_the_price_list(account: Account) -> None:
    wanted = {
        "instanceType": "g4dn.xlarge",
        "regionCode": REGION,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    filters = [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in wanted.items()]
    [product] = account.clients.of("pricing").get_products(
        ServiceCode="AmazonEC2", Filters=filters
    )["PriceList"]
    [term] = json.loads(product)["terms"]["OnDemand"].values()
    [dimension] = term["priceDimensions"].values()
    assert float(dimension["pricePerUnit"]["USD"]) == 0.558


def test_quotas_can_be_queried(account: Account) -> None:
    quotas = account.clients.of("service-quotas")
    for code in ("L-3819A6DF", "L-DB2E81BA"):
        quota = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
        assert quota["Value"] == 256
    with pytest.raises(ClientError, match="NoSuchResource"):
        quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-00000000")


def test_cost_explorer_returns_the_bill_by_tag_and_usage_type_after_a_delay(fresh: Account) -> None:
    fresh.run(["true"], queue="ravne-spot")
    fresh.run(["true"])
    eventually(lambda: not fresh.machines())
    fresh.sandbox.clock.sleep(30)
    now = datetime.fromtimestamp(fresh.sandbox.clock.now(), UTC)
    days = [(now + timedelta(days=days)).strftime("%Y-%m-%d") for days in (-1, 1)]

    def query(**more: Any) -> list[dict[str, Any]]:
        answer = fresh.clients.of("ce").get_cost_and_usage(
            TimePeriod={"Start": days[0], "End": days[1]},
            Granularity="DAILY",
            Metrics=["UnblendedCost", "UsageQuantity"],
            **more,
        )
        return answer["ResultsByTime"]

    def total(results: list[dict[str, Any]]) -> float:
        return sum(float(result["Total"]["UnblendedCost"]["Amount"]) for result in results)

    ravne, other = ({"Tags": {"Key": "Project", "Values": [name]}} for name in ("ravne", "x"))
    bill = fresh.sandbox.bill()
    assert len(query()) == 2
    assert total(query(Filter=ravne)) == pytest.approx(sum(line.cost for line in bill))
    assert total(query(Filter=other)) == 0
    by_type = [{"Type": "DIMENSION", "Key": "USAGE_TYPE"}, {"Type": "TAG", "Key": "Project"}]
    keys = {tuple(group["Keys"]) for result in query(GroupBy=by_type) for group in result["Groups"]}
    assert ("EUN1-BoxUsage:g4dn.xlarge", "Project$ravne") in keys
    assert ("EUN1-SpotUsage:g4dn.xlarge", "Project$ravne") in keys
    with pytest.raises(ClientError, match="at most 2 groups"):
        query(GroupBy=by_type + by_type)
