"""docs/troubleshooting.md: its commands, settings and links exist."""

import re

import botocore.session
import pytest
from botocore import xform_name
from paths import ROOT
from typer.main import get_command

from odins_ravne_assets.cli.main import app
from resources.settings.profile import Profile

PAGE = ROOT / "docs" / "troubleshooting.md"
TEXT = PAGE.read_text("utf-8")
AWS_COMMANDS = sorted(set(re.findall(r"^(?:.*\| )?aws ([a-z0-9-]+) ([a-z0-9-]+)(.*)$", TEXT, re.M)))
# Commands of the AWS command line that are not operations of an API.
NOT_IN_THE_API = {("logs", "tail"), ("ecr", "get-login-password")}
SERVICE = {"s3api": "s3"}


@pytest.mark.parametrize(("service", "operation", "rest"), AWS_COMMANDS)
def test_aws_commands_exist(service: str, operation: str, rest: str) -> None:
    if (service, operation) in NOT_IN_THE_API:
        return
    model = botocore.session.get_session().get_service_model(SERVICE.get(service, service))
    known = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in known
    shape = model.operation_model(known[operation]).input_shape
    members = {xform_name(name, "-") for name in shape.members} if shape else set()
    options = set(re.findall(r"--([a-z-]+)", rest.partition("|")[0])) - {"region"}
    assert options <= members


def test_munin_commands_exist() -> None:
    root = get_command(app)
    commands = re.findall(r"munin --profile cloud ([a-z]+)(?: ([a-z]+))?((?: --[a-z-]+)*)", TEXT)
    assert commands
    for group, name, options in commands:
        command = root.commands[group]  # type: ignore[attr-defined]
        command = command.commands[name] if hasattr(command, "commands") else command
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(options.split()) <= known


def test_settings_exist() -> None:
    named = re.findall(r"`((?:cloud|pipeline|storage)(?:\.[a-z_]+)+)", TEXT)
    known = " ".join(key for key in _keys(Profile(cloud={}).model_dump()))  # type: ignore[arg-type]
    assert len(named) > 5
    assert [key for key in named if f"{key} " not in f"{known} "] == []


def _keys(tree: dict[str, object], above: str = "") -> list[str]:
    keys = []
    for name, value in tree.items():
        keys.append(above + name)
        if isinstance(value, dict):
            keys += _keys(value, f"{above}{name}.")
    return keys


def test_linked_headings_exist() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", TEXT, re.M)
    }
    links = set(re.findall(r"\]\(#([a-z0-9-]+)\)", TEXT))
    assert len(links) > 5 and links <= headings
    for target in re.findall(r"\]\(([a-z_]+\.md)\)", TEXT):
        assert (PAGE.parent / target).is_file()
