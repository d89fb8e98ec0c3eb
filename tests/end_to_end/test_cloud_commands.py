"""`munin` with profile `sandbox`: the commands of a new user, in order and out of order."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from command_line import CompletedCommand, Munin
from in_process import MuninInProcess
from media_files import write_picture

from resources.sandbox.model.config import CREDENTIALS

BUCKET = "s3://ravne-data-123456789012"
OUTPUT = f"{BUCKET}/results/hill"
NO_CREDENTIALS = dict.fromkeys(CREDENTIALS, "") | {"AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True)
class Place:
    """A running sandbox and one camera's footage."""

    munin: Munin
    footage: Path


def address(state: Mapping[str, str]) -> dict[str, str]:
    return {
        "MUNIN_CLOUD__AWS__ENDPOINT_URL": state["endpoint_url"],
        "MUNIN_CLOUD__AWS__CLOCK_URL": state["clock_url"],
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("cloud")
    munin = MuninInProcess(folder / "here", "sandbox", CREDENTIALS)
    write_picture(folder / "hill" / "IMG_0001.JPG", (320, 240))
    up = munin("sandbox", "up", "--port", "0", "--scale", "120")
    assert up.code == 0, up.err
    state = json.loads((munin.home / "sandbox.json").read_text())
    try:
        yield Place(replace(munin, environment=CREDENTIALS | address(state)), folder / "hill")
    finally:
        munin("sandbox", "down")


@pytest.fixture(scope="module")
def setup(place: Place) -> CompletedCommand:
    return place.munin("cost", "setup", "--job-count", "4")


@pytest.fixture(scope="module")
def first(place: Place, setup: CompletedCommand) -> CompletedCommand:
    """The camera's first run."""
    assert setup.code == 0, setup.err
    words = ["--cost-report", "--local-output", "copied"]
    return place.munin("batch", place.footage, OUTPUT, *words)


def test_a_sandbox_that_is_not_running_is_an_error_before_any_work(tmp_path: Path) -> None:
    nowhere = {"endpoint_url": "http://127.0.0.1:9", "clock_url": "http://127.0.0.1:9/clock"}
    munin = MuninInProcess(tmp_path, "sandbox", CREDENTIALS | address(nowhere))
    for words in (["cost", "status"], ["batch", tmp_path, OUTPUT], ["status"]):
        ended = munin(*words)
        assert ended.code == 2
        assert ended.errors == [
            "error: the sandbox is not running at http://127.0.0.1:9; start it: munin sandbox up"
        ]


def test_missing_credentials_for_the_sandbox_are_an_error_with_the_remedy(place: Place) -> None:
    munin = replace(place.munin, environment=place.munin.environment | NO_CREDENTIALS)
    (error,) = munin("cost", "status").errors
    assert "export AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox" in error


def test_a_run_before_setup_is_an_error_with_the_command_to_run(place: Place) -> None:
    folder = place.footage.parent / "early"
    write_picture(folder / "IMG_0001.JPG")
    ended = place.munin("batch", folder, f"{BUCKET}/results/early", "--cost-report")
    assert ended.code == 1
    assert "run munin --profile sandbox cost setup --job-count N first" in ended.errors[0]
    assert "cost: $0.00; no job ran on AWS" in ended.out, "also when it fails"


def test_setup_has_no_remarks_and_a_second_one_changes_nothing(
    place: Place, setup: CompletedCommand
) -> None:
    assert setup.code == 0 and "image" not in setup.err
    again = place.munin("cost", "setup", "--job-count", "4")
    assert "nothing had to be changed" in again.out


def test_local_footage_becomes_results_on_s3_and_a_local_copy(
    place: Place, first: CompletedCommand
) -> None:
    assert first.code == 0, first.err
    assert f"results: {OUTPUT}" in first.out
    assert (place.munin.folder / "copied" / "hill" / "stage3" / "report.json").is_file()


def test_decisions_of_the_launch_are_printed_while_it_runs(first: CompletedCommand) -> None:
    assert re.search(
        r"^hill: copying the footage to s3://ravne-data-123456789012/footage/hill", first.err, re.M
    )
    assert re.search(r"^hill: submitted ravne-hill-\S+ to spot: .* saves \d+", first.err, re.M)


def test_the_cost_report_is_a_row_for_each_job_with_the_reason_below(
    first: CompletedCommand,
) -> None:
    row = re.search(
        r"^hill +1 +spot +\S+ eu-north-1\w +[\d.]+ +done +\$([\d.]+) *$", first.out, re.M
    )
    assert row
    assert re.search(r"^hill +1: +\S+ in eu-north-1\w at \$[\d.]+/h saves", first.out, re.M)
    assert re.search(rf"^processing +\${row[1]}", first.out, re.M)


def test_the_cost_report_has_boot_and_idle_time_the_total_and_the_savings(
    first: CompletedCommand,
) -> None:
    for part in ("boot and idle time", "disks", "public addresses", "total"):
        assert re.search(rf"^{part} +\$[\d.]+", first.out, re.M)
    assert re.search(
        r"^\$[\d.]+ for 1 job of 1 camera \(success rate 100\.0%\), [\d.]+ min of processing\.$",
        first.out,
        re.M,
    )
    assert "Rate savings 66" in first.out and "Effective savings" in first.out


def test_costs_are_available_as_json_as_html_and_as_focus(
    place: Place, first: CompletedCommand
) -> None:
    ended = place.munin("cost", "costs", "--json", "--output", "costs")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["jobs"]["done"] == 1 and report["computing"]["usd"] > 0
    assert {line["area"] for line in report["storage"]["lines"]} == {"footage", "results"}
    assert [each["part"] for each in report["aws"]][:1] == ["machines"]
    folder = place.munin.folder / "costs"
    assert json.loads((folder / "cost_report.json").read_text()) == report
    assert "<svg" in (folder / "cost_report.html").read_text()
    assert "123456789012" in (folder / "cost_focus.csv").read_text()


def test_costs_of_an_unknown_camera_are_refused(place: Place, first: CompletedCommand) -> None:
    ended = place.munin("cost", "costs", "--camera", "dale")
    assert (ended.code, len(ended.errors)) == (2, 1)
    assert "--camera dale: no such camera" in ended.errors[0]


def test_watching_costs_ends_when_no_job_is_left(place: Place, first: CompletedCommand) -> None:
    ended = place.munin("cost", "costs", "--watch")
    assert ended.code == 0, ended.err
    assert re.search(r"^total +\$[\d.]+", ended.out, re.M)


def test_status_counts_results_on_s3_also_without_a_cloud_profile(
    place: Place, first: CompletedCommand
) -> None:
    output = place.munin("status").out
    assert re.search(rf"hill +│ SUCCESS \S+ \S+ │ 1 +│ 0 +│ 0 +│ +│ {OUTPUT}", output)
    local = replace(place.munin, profile="local")("status")
    assert local.code == 0
    assert re.search(rf"hill +│ SUCCESS \S+ \S+ │ 1 +│ 0 +│ 0 +│ +│ {OUTPUT}", local.out)


def test_visits_are_recomputed_from_results_on_s3(place: Place, first: CompletedCommand) -> None:
    ended = place.munin("stage3", OUTPUT, "--compression-window", "30")
    assert ended.code == 0, ended.err
    assert f"results: {OUTPUT}" in ended.out


def test_limits_in_options_change_the_compute_environments(
    place: Place, first: CompletedCommand
) -> None:
    ended = place.munin("batch", place.footage, OUTPUT, "--max-vcpus", "8",
                        "--spot-bid-percentage", "90")  # fmt: skip
    assert ended.code == 0, ended.err
    assert "environment ravne-spot: changed bidPercentage, maxvCpus" in ended.err
    found = json.loads(place.munin("cost", "status", "--json").out)
    assert {each["max_vcpus"] for each in found["environments"]} == {8}


def test_only_running_jobs_on_spot_can_be_interrupted(place: Place) -> None:
    ended = place.munin("sandbox", "interrupt", "hill")
    assert ended.code == 2
    assert ended.errors[0].startswith("error: hill: no running job on spot, and no spot machine")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["teardown"], "No such command 'teardown'"),
        (["batch", "--nonsense"], "No such option: --nonsense"),
        (["batch", ".", OUTPUT, "--priority", "urgent"], "'low', 'normal', 'high'"),
    ],
)
def test_wrong_use_is_an_error_without_a_traceback(
    place: Place, words: list[str], message: str
) -> None:
    ended = place.munin(*words)
    assert ended.code == 2
    assert message in ended.err


def test_the_command_starts_without_dagster_boto3_and_polars() -> None:
    slow = "{'dagster', 'boto3', 'polars', 'numpy'}"
    code = f"import sys, odins_ravne_assets.cli.main; print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_second_teardown_changes_nothing_and_status_names_the_command_to_run(
    place: Place, first: CompletedCommand
) -> None:
    for _ in range(2):
        ended = place.munin("cost", "teardown")
        assert ended.code == 0 and "Compute of ravne is deleted" in ended.out
    assert "create it: munin --profile sandbox cost setup" in place.munin("cost", "status").out
