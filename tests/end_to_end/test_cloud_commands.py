"""`munin` with profile `sandbox`, as somebody new to it types it: in order, and not."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from command_line import CompletedCommand, Munin
from media_files import write_picture

from resources.sandbox.model.config import CREDENTIALS

BUCKET = "s3://ravne-data-123456789012"
OUTPUT = f"{BUCKET}/results/hill"
NOBODY = dict.fromkeys(CREDENTIALS, "") | {"AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True)
class Place:
    """A sandbox that is up, with compute set up, and one camera's footage."""

    munin: Munin
    footage: Path


def where(told: Mapping[str, str]) -> dict[str, str]:
    return {
        "MUNIN_CLOUD__AWS__ENDPOINT_URL": told["endpoint_url"],
        "MUNIN_CLOUD__AWS__CLOCK_URL": told["clock_url"],
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("cloud")
    munin = Munin(folder / "here", "sandbox", CREDENTIALS)
    write_picture(folder / "hill" / "IMG_0001.JPG", (320, 240))
    up = munin("sandbox", "up", "--port", "0", "--scale", "120")
    assert up.code == 0, up.err
    told = json.loads((munin.home / "sandbox.json").read_text())
    try:
        yield Place(replace(munin, environment=CREDENTIALS | where(told)), folder / "hill")
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


def test_a_sandbox_that_is_not_up_is_told_before_anything_is_begun(tmp_path: Path) -> None:
    nowhere = {"endpoint_url": "http://127.0.0.1:9", "clock_url": "http://127.0.0.1:9/clock"}
    munin = Munin(tmp_path, "sandbox", CREDENTIALS | where(nowhere))
    for words in (["cost", "status"], ["batch", tmp_path, OUTPUT], ["status"]):
        ended = munin(*words)
        assert ended.code == 2
        assert ended.errors == [
            "error: the sandbox is not running at http://127.0.0.1:9; start it: munin sandbox up"
        ]


def test_missing_credentials_for_the_sandbox_are_named_with_the_remedy(place: Place) -> None:
    munin = replace(place.munin, environment=place.munin.environment | NOBODY)
    (told,) = munin("cost", "status").errors
    assert "export AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox" in told


def test_a_run_before_the_set_up_says_what_to_set_up(place: Place) -> None:
    folder = place.footage.parent / "early"
    write_picture(folder / "IMG_0001.JPG")
    ended = place.munin("batch", folder, f"{BUCKET}/results/early", "--cost-report")
    assert ended.code == 1
    assert "munin cost setup --job-count N first" in ended.errors[0]
    assert "cost: $0.00; no job ran on AWS" in ended.out, "also when it fails"


def test_the_set_up_has_nothing_to_remark_on_and_a_second_one_nothing_to_do(
    place: Place, setup: CompletedCommand
) -> None:
    assert setup.code == 0 and "image" not in setup.err
    again = place.munin("cost", "setup", "--job-count", "4")
    assert "nothing had to be changed" in again.out


def test_footage_from_here_ends_as_results_on_s3_and_as_a_copy_here(
    place: Place, first: CompletedCommand
) -> None:
    assert first.code == 0, first.err
    assert f"results: {OUTPUT}" in first.out
    assert (place.munin.folder / "copied" / "hill" / "stage3" / "report.json").is_file()


def test_what_the_launch_decides_is_told_while_it_runs(first: CompletedCommand) -> None:
    assert re.search(
        r"^hill: copying the footage to s3://ravne-data-123456789012/footage/hill", first.err, re.M
    )
    assert re.search(r"^hill: submitted ravne-hill-\S+ to spot: .* saves \d+", first.err, re.M)


def test_the_cost_report_is_a_row_for_each_job_with_the_reason_below(first: CompletedCommand) -> None:
    row = re.search(
        r"^hill +1 +spot +\S+ eu-north-1\w +[\d.]+ +done +\$([\d.]+) *$", first.out, re.M
    )
    assert row
    assert re.search(r"^hill +1: +\S+ in eu-north-1\w at \$[\d.]+/h saves", first.out, re.M)
    assert re.search(rf"^processing +\${row[1]}", first.out, re.M)


def test_the_cost_report_has_boot_and_idle_time_the_total_and_the_savings(first: CompletedCommand) -> None:
    for part in ("boot and idle time", "disks", "public addresses", "total"):
        assert re.search(rf"^{part} +\$[\d.]+", first.out, re.M)
    assert re.search(
        r"^\$[\d.]+ for 1 job of 1 camera, [\d.]+ min of processing\.$", first.out, re.M
    )
    assert "Rate savings 66" in first.out and "Effective savings" in first.out


def test_all_costs_can_be_had_as_json_as_a_page_and_as_focus(place: Place, first: CompletedCommand) -> None:
    ended = place.munin("cost", "costs", "--json", "--output", "costs")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told["jobs"]["done"] == 1 and told["computing"]["usd"] > 0
    assert {line["area"] for line in told["storage"]["lines"]} == {"footage", "results"}
    assert [each["part"] for each in told["aws"]][:1] == ["machines"]
    folder = place.munin.folder / "costs"
    assert json.loads((folder / "cost_report.json").read_text()) == told
    assert "<svg" in (folder / "cost_report.html").read_text()
    assert "123456789012" in (folder / "cost_focus.csv").read_text()


def test_costs_of_a_camera_that_is_not_known_are_refused(place: Place, first: CompletedCommand) -> None:
    ended = place.munin("cost", "costs", "--camera", "dale")
    assert (ended.code, len(ended.errors)) == (2, 1)
    assert "--camera dale: no such camera" in ended.errors[0]


def test_watching_costs_ends_when_no_job_is_left(place: Place, first: CompletedCommand) -> None:
    ended = place.munin("cost", "costs", "--watch")
    assert ended.code == 0, ended.err
    assert re.search(r"^total +\$[\d.]+", ended.out, re.M)


def test_status_counts_results_on_s3_with_a_cloud_profile_and_says_so_without(
    place: Place, first: CompletedCommand
) -> None:
    told = place.munin("status").out
    assert re.search(rf"hill +│ SUCCESS \S+ \S+ │ 1 +│ 0 +│ 0 +│ {OUTPUT}", told)
    local = replace(place.munin, profile="local")("status")
    assert local.code == 0 and OUTPUT in local.out
    assert "hill: its results are on S3; name a cloud profile to count them" in local.out


def test_visits_are_made_anew_from_results_on_s3(place: Place, first: CompletedCommand) -> None:
    ended = place.munin("stage3", OUTPUT, "--compression-window", "30")
    assert ended.code == 0, ended.err
    assert f"results: {OUTPUT}" in ended.out


def test_limits_that_are_named_change_the_machines_that_are_set_up(
    place: Place, setup: CompletedCommand
) -> None:
    nothing = place.footage.parent / "nowhere"
    write_picture(nothing / "IMG_0001.JPG")
    ended = place.munin("batch", nothing, "s3://ravne-datum/x", "--max-vcpus", "8",
                        "--spot-bid-percentage", "90")  # fmt: skip
    assert "there is no such bucket" in ended.errors[0]
    assert "environment ravne-spot: changed bidPercentage, maxvCpus" in ended.err
    found = json.loads(place.munin("cost", "status", "--json").out)
    assert {each["max_vcpus"] for each in found["environments"]} == {8}


def test_what_cannot_be_interrupted_is_said_to_be_no_job_on_spot(place: Place) -> None:
    ended = place.munin("sandbox", "interrupt", "hill")
    assert ended.code == 2
    assert ended.errors[0].startswith("error: hill: no running job on spot, and no spot machine")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["teardown"], "No such command 'teardown'"),
        (["batch", "--nonsense"], "No such option: --nonsense"),
        (["batch", ".", OUTPUT, "--priority", "urgent"], "'low', 'normal', 'high'"),
    ],
)
def test_wrong_use_is_told_without_a_traceback(place: Place, words: list[str], told: str) -> None:
    ended = place.munin(*words)
    assert ended.code == 2
    assert told in ended.err


def test_the_command_starts_without_dagster_and_boto3() -> None:
    code = "import sys, odins_ravne_assets.cli; print({'dagster', 'boto3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_second_teardown_finds_nothing_and_a_run_after_it_says_what_to_do(
    place: Place, first: CompletedCommand
) -> None:
    for _ in range(2):
        ended = place.munin("cost", "teardown")
        assert ended.code == 0 and "Compute of ravne is deleted" in ended.out
    assert "create it: munin cost setup" in place.munin("cost", "status").out
