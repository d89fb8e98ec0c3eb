"""The `munin` command as a whole: its options, its output, and its Dagster runs."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import CompletedCommand, Munin, make_demo_footage, processed, results
from dagster import DagsterRun, DagsterRunStatus, RunsFilter
from in_process import MuninInProcess
from media_files import write_picture
from typer.core import TyperGroup
from typer.testing import CliRunner

from gpu_kernels.models.manifest import load_manifest, shipped_models
from odins_ravne_assets.cli.main import app
from odins_ravne_assets.defs.checks import CHECKS

STAGES = ("footage", "detections", "classifications", "observations", "exports")
MODELS = ("megadetector-lite", "ssd-mobilenet-v2-cam16", "efficientnet-lite3")


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of a command and of all below it."""
    yield words
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from commands(below, (*words, name))


@pytest.mark.parametrize("words", list(commands(typer.main.get_command(app))), ids=" ".join)
def test_help_describes_every_option(words: tuple[str, ...]) -> None:
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    result = CliRunner().invoke(app, [*words, "--help"], env={"TERMINAL_WIDTH": "200"})
    assert result.exit_code == 0
    assert command.help
    for parameter in command.params:
        is_argument = parameter.param_type_name == "argument"
        shown = parameter.metavar if is_argument and parameter.metavar else parameter.opts[0]
        assert shown in result.output
        assert parameter.help and parameter.help.split()[-1] in result.output


@dataclass(frozen=True)
class Cameras:
    """Three cameras that ran in parallel: one with animals, one empty, one with a damaged card."""

    munin: Munin
    root: Path
    ended: CompletedCommand

    @property
    def output(self) -> Path:
        return self.root / "all results"


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Cameras:
    root = tmp_path_factory.mktemp("cameras")
    footage = root / "foot age"
    make_demo_footage(footage / "north")
    write_picture(footage / "east" / "IMG_0001.JPG", (320, 240))
    for name, content in {"IMG_0001.JPG": b"", "IMG_0002.JPG": bytes(9000)}.items():
        (footage / "south").mkdir(exist_ok=True)
        (footage / "south" / name).write_bytes(content)
    parallel = {"MUNIN_PIPELINE__COST_OPTIMIZATION__MAX_PARALLEL_JOBS": "3"}
    process = Munin(root / "munin", environment=parallel)
    options = ("--local-output", root / "copies", "--download-stage3", "--cost-report")
    urls = (footage.as_uri(), (root / "all results").as_uri())
    ended = process("batch", *urls, "--cameras", *options)
    return Cameras(MuninInProcess(root / "munin", environment=parallel), root, ended)


def test_parallel_cameras_have_their_own_output(cameras: Cameras) -> None:
    assert cameras.ended.code == 0
    folders = sorted(path.name for path in cameras.output.iterdir() if path.is_dir())
    assert folders == ["east", "north", "south"]
    assert len(processed(cameras.output / "north")) == 6
    assert processed(cameras.output / "east") == {"IMG_0001.JPG": ("done", None)}


def test_a_camera_with_damaged_media_does_not_affect_the_others(cameras: Cameras) -> None:
    assert processed(cameras.output / "south") == {
        "IMG_0001.JPG": ("failed", "file is empty"),
        "IMG_0002.JPG": (
            "failed",
            "is all zeros, as a failing card writes, not a picture or a video",
        ),
    }
    assert "south: 2 of 2 media could not be used; " in cameras.ended.err
    assert not cameras.ended.errors


def test_the_terminal_shows_the_visits_and_where_the_results_are(cameras: Cameras) -> None:
    assert "3 visits" in cameras.ended.out
    assert "domestic cat" in cameras.ended.out and "person" in cameras.ended.out
    for name in ("east", "north", "south"):
        assert f"results: {cameras.output}/{name}" in cameras.ended.out.splitlines()


def test_a_report_of_all_cameras_is_next_to_their_results(cameras: Cameras) -> None:
    page = cameras.output / "report.html"
    assert f"report of 3 cameras: {page}" in cameras.ended.out.splitlines()
    text = page.read_text(encoding="utf-8")
    assert all(name in text for name in ("east", "north", "south", "domestic cat"))


def test_local_output_gets_a_copy_of_each_camera_s_results(cameras: Cameras) -> None:
    for name in ("east", "north", "south"):
        copy, made = cameras.root / "copies" / name, cameras.output / name
        copied = {path.name: path.read_bytes() for path in (copy / "stage3").iterdir()}
        assert copied == {path.name: path.read_bytes() for path in (made / "stage3").iterdir()}
        assert f"Stage 3 of {name}: {copy}/stage3" in cameras.ended.out.splitlines()


def test_the_cost_report_of_a_local_run_is_zero(cameras: Cameras) -> None:
    assert cameras.ended.out.endswith(
        "cost: $0.00 for 3 cameras; everything ran on this machine, nothing was rented or "
        "transferred\n"
    )


def runs_of(munin: Munin, camera: str) -> list[DagsterRun]:
    """The runs of a camera in the instance, the latest first."""
    with munin.instance() as instance:
        return list(instance.get_runs(RunsFilter(tags={"dagster/partition": camera})))


@pytest.mark.parametrize("camera", ["east", "north", "south"])
def test_a_run_is_an_ordinary_dagster_run_with_the_camera_as_its_partition(
    cameras: Cameras, camera: str
) -> None:
    (run,) = runs_of(cameras.munin, camera)
    assert (run.job_name, run.status) == ("camera", DagsterRunStatus.SUCCESS)
    with cameras.munin.instance() as instance:
        assert camera in instance.get_dynamic_partitions("camera")
        logs = instance.all_logs(run.run_id)
    made = [log.asset_materialization for log in logs if log.asset_materialization]
    assert [each.asset_key.to_user_string() for each in made] == list(STAGES)
    assert {each.partition for each in made} == {camera}


def test_materializations_have_the_results_as_metadata(cameras: Cameras) -> None:
    (run,) = runs_of(cameras.munin, "north")
    with cameras.munin.instance() as instance:
        facts = {
            name: entry.value
            for log in instance.all_logs(run.run_id)
            if log.asset_materialization
            for name, entry in log.asset_materialization.metadata.items()
        }
    assert facts["media/files"] == 6
    assert facts["media/newly_looked_at"] == 6
    assert facts["boxes/animal"] > 0 and facts["boxes/person"] > 0
    assert facts["visits/total"] == 3
    assert facts["compute/seconds"] > 0
    assert facts["best crops"].startswith("![the best crops](data:image/jpeg;base64,")
    assert "domestic cat" in facts["species"]


def test_every_check_was_evaluated_and_passed(cameras: Cameras) -> None:
    (run,) = runs_of(cameras.munin, "north")
    with cameras.munin.instance() as instance:
        logs = instance.all_logs(run.run_id)
    evaluations = [log.asset_check_evaluation for log in logs if log.asset_check_evaluation]
    assert all(each.passed for each in evaluations)
    assert {(each.asset_key.to_user_string(), each.check_name) for each in evaluations} == {
        (asset, check) for asset, checks in CHECKS.items() for check in checks
    }


def test_status_lists_the_cameras_with_their_last_run(cameras: Cameras) -> None:
    ended = cameras.munin("status")
    assert ended.code == 0
    rows = [line.split() for line in ended.out.splitlines() if "SUCCESS" in line]
    # Between them: when that was, and the lines of the table.
    assert [(row[1], row[3], *row[7:12:2]) for row in rows] == [
        ("east", "SUCCESS", "1", "0", "0"),
        ("north", "SUCCESS", "6", "0", "3"),
        ("south", "SUCCESS", "2", "2", "0"),
    ]


def test_stages_that_run_one_by_one_have_the_same_results(cameras: Cameras) -> None:
    footage, output = cameras.root / "foot age" / "north", cameras.root / "by stages"
    for words in (("stage1", footage, output), ("stage2", output), ("stage3", output)):
        munin = dataclasses.replace(cameras.munin, folder=cameras.root / "munin by stages")
        assert munin(*words).code == 0
    assert results(output) == results(cameras.output / "north")
    assert [run.job_name for run in runs_of(munin, "north")] == ["stage3", "stage2", "stage1"]
    again = Munin(munin.folder, environment={"PYTHONIOENCODING": "ascii"})
    ended = again("stage3", output, "--compression-window", "0.1", "--min-duration", "1")
    report = json.loads((output / "stage3" / "report.json").read_text())
    assert ended.code == 0
    assert report["settings"]["compression_window"] == 0.1
    assert report["settings"]["min_duration"] == 1.0
    assert report["totals"]["observations"] > 3


@pytest.mark.parametrize(
    "option",
    [
        ("--priority", "high"),
        ("--spot-bid-percentage", "90"),
        ("--max-vcpus", "500"),
        ("--region", "eu-west-1"),
    ],
    ids=lambda option: option[0],
)
def test_a_cloud_option_is_refused_with_a_local_profile(
    cameras: Cameras, option: tuple[str, str]
) -> None:
    ended = cameras.munin("batch", cameras.root / "foot age" / "east", *option)
    assert ended.code == 2
    assert ended.errors == [
        f"error: {option[0]} needs a cloud profile, and profile local runs locally; leave it out, "
        "or name a cloud profile"
    ]


@pytest.mark.parametrize(
    "words", ["", "bogus", "batch --bogus", "batch in out --conf-threshold high", "stage2"]
)
def test_unknown_commands_and_options_are_wrong_use(cameras: Cameras, words: str) -> None:
    ended = cameras.munin(*words.split())
    assert ended.code == 2
    assert "Usage: munin" in ended.out + ended.err


def test_settings_lists_every_key_with_its_meaning(cameras: Cameras) -> None:
    ended = cameras.munin("settings")
    assert ended.code == 0
    assert "    max_parallel_jobs: 3  # Cameras and work units that run in parallel." in ended.out
    for line in ended.out.splitlines():
        assert ":" in line and "  # " in line


def test_models_list_has_every_shipped_model(cameras: Cameras) -> None:
    ended = cameras.munin("models", "list")
    assert ended.code == 0
    for name in shipped_models():
        assert name in ended.out and load_manifest(name).licence in ended.out


def test_models_verify_checks_the_models_of_the_profile(cameras: Cameras) -> None:
    ended = cameras.munin("models", "verify")
    assert ended.code == 0
    found = {
        "megadetector-lite": "1 box from 0.25 in the sample picture: animal 0.48",
        "ssd-mobilenet-v2-cam16": "1 box from 0.3 in the sample picture: cat 0.90",
        "efficientnet-lite3": "Egyptian cat 0.84, of 1000 labels, for the sample picture",
    }
    assert ended.out == "".join(f"{name}: OK, {found[name]}\n" for name in MODELS)


def test_models_verify_fails_for_a_missing_model(cameras: Cameras) -> None:
    ended = cameras.munin("models", "verify", "megadetector-lite", "none.toml")
    assert ended.code == 1
    assert ended.out == ""
    assert ended.errors == [
        "error: model manifest none.toml: no such file; check the path in the profile"
    ]


def test_without_an_output_results_are_below_the_profile_s_root(
    cameras: Cameras, tmp_path: Path
) -> None:
    munin = Munin(tmp_path / "munin")
    ended = munin("batch", "--input", cameras.root / "foot age" / "east", "--camera", "e-1")
    assert ended.code == 0
    assert processed(munin.folder / "results" / "e-1") == {"IMG_0001.JPG": ("done", None)}
