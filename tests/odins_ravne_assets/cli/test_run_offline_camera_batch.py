"""`run_offline_camera_batch`: the options of `munin batch`, and a profile that fits."""

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from odins_ravne_assets.cli import main, run_offline_camera_batch


def options_of(app: typer.Typer, *words: str) -> dict[str, list[str]]:
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    return {parameter.name: list(parameter.opts) for parameter in command.params}


def test_it_has_the_options_of_munin_batch_and_a_profile() -> None:
    own = options_of(run_offline_camera_batch.app)
    assert own.pop("profile") == ["--profile"]
    assert own == options_of(main.app, "batch")


@pytest.mark.parametrize(
    ("words", "environment", "profile"),
    [
        (["/data/camera1", "/results"], {}, "local"),
        (["/data/camera1", "s3://bucket/camera1_output"], {}, "cloud"),
        (["--input", "s3://bucket/camera1"], {}, "cloud"),
        (["/data/camera1", "s3://bucket/x", "--profile", "sandbox"], {}, "sandbox"),
        (["/data/camera1", "s3://bucket/x"], {"MUNIN_PROFILE": "mine.yaml"}, "mine.yaml"),
    ],
)
def test_the_profile_is_cloud_where_s3_is_named(
    monkeypatch: pytest.MonkeyPatch, words: list[str], environment: dict[str, str], profile: str
) -> None:
    calls = []

    def batch(context: typer.Context, **options: Any) -> None:
        calls.append((context.obj.name, options["max_vcpus"]))

    monkeypatch.setattr(run_offline_camera_batch, "batch", batch)
    arguments = ["--max-vcpus", "8", *words]
    ended = CliRunner().invoke(run_offline_camera_batch.app, arguments, env=environment)
    assert ended.exit_code == 0, ended.output
    assert calls == [(profile, 8)]
