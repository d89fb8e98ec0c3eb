"""`set_models_key`: one line of a profile changes, all others stay."""

import os
import stat
from pathlib import Path

import pytest
import yaml

from odins_ravne_assets.model_library.profile_file import set_models_key
from resources.errors import ProfileError


def changed(tmp_path: Path, before: str, key: str = "detector", value: str = "new") -> str:
    path = tmp_path / "mine.yaml"
    path.write_bytes(before.encode())
    set_models_key(path, key, value)
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("models:\n  detector: old\n", "models:\n  detector: new\n"),
        ("models:\n  detector: old  # why\n", "models:\n  detector: new  # why\n"),
        ('models:\n  detector: "old"   # why\n', "models:\n  detector: new   # why\n"),
        ("models:\n  detector:\n", "models:\n  detector: new\n"),
        ("models:\n    detector: old\n", "models:\n    detector: new\n"),
        ("models:\n  classifier: a\n", "models:\n  classifier: a\n  detector: new\n"),
        ("models:\n", "models:\n  detector: new\n"),
        ("models:  # mine\n  # none\n", "models:  # mine\n  # none\n  detector: new\n"),
        ("", "models:\n  detector: new\n"),
        ("# mine", "# mine\nmodels:\n  detector: new\n"),
        ("output:\n  root: x", "output:\n  root: x\nmodels:\n  detector: new\n"),
        (
            "models:\n  classifier: a\n\n# the rest\noutput:\n  root: x\n",
            "models:\n  classifier: a\n  detector: new\n\n# the rest\noutput:\n  root: x\n",
        ),
        (
            "output:\n  root: detector\nmodels:\n  detector: old\nproject:\n  title: models\n",
            "output:\n  root: detector\nmodels:\n  detector: new\nproject:\n  title: models\n",
        ),
        ("models:\r\n  detector: old\r\n", "models:\r\n  detector: new\r\n"),
        ('models:\n  detector: "x # y"  # c\n', "models:\n  detector: new  # c\n"),
        ("models:\n  detector: 'it''s # y'\n", "models:\n  detector: new\n"),
        ('models:\n  detector: "a\\" # b" # c\n', "models:\n  detector: new # c\n"),
        ("models:\n  detector:  # none\n", "models:\n  detector: new  # none\n"),
        ("models:\n  detector : old\n", "models:\n  detector : new\n"),
        ("models : \n  detector: old\n", "models : \n  detector: new\n"),
        ("models:\n  detector: a\n  detector: b\n", "models:\n  detector: a\n  detector: new\n"),
        ("models: null\na: 1\n", "models:\n  detector: new\na: 1\n"),
        ("models: ~  # mine\n", "models:  # mine\n  detector: new\n"),
        ("models: null", "models:\n  detector: new\n"),
        ("---\na: 1\n...\n", "---\na: 1\nmodels:\n  detector: new\n...\n"),
        ("a: 1\n... # end", "a: 1\nmodels:\n  detector: new\n... # end"),
        ("---\n...\n", "---\nmodels:\n  detector: new\n...\n"),
        ("\ufeffmodels:\n  detector: old\n", "\ufeffmodels:\n  detector: new\n"),
        (
            'a: "x\u2028\\\n  y"\nmodels:\n  classifier: z\n',
            'a: "x\u2028\\\n  y"\nmodels:\n  classifier: z\n  detector: new\n',
        ),
        (
            'a: "\nmodels:\n  detector: x\n"\n',
            'a: "\nmodels:\n  detector: x\n"\nmodels:\n  detector: new\n',
        ),
        (
            "x: &d {detector: y}\nmodels:\n  <<: *d\n",
            "x: &d {detector: y}\nmodels:\n  <<: *d\n  detector: new\n",
        ),
        (
            "models:\n  # detector: x\n  detector: y\n",
            "models:\n  # detector: x\n  detector: new\n",
        ),
    ],
)
def test_the_line_is_set_and_nothing_else_changes(tmp_path: Path, before: str, after: str) -> None:
    assert changed(tmp_path, before) == after


def test_a_profile_that_does_not_exist_is_created(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    assert set_models_key(path, "classifier", "iran") is None
    assert yaml.safe_load(path.read_text()) == {"models": {"classifier": "iran"}}
    assert set_models_key(path, "classifier", "iran") == "iran"


def test_a_value_that_yaml_would_read_otherwise_is_quoted(tmp_path: Path) -> None:
    text = changed(tmp_path, "", value="/data/a #1: x.toml")
    assert yaml.safe_load(text) == {"models": {"detector": "/data/a #1: x.toml"}}
    assert yaml.safe_load(changed(tmp_path, "", value="no")) == {"models": {"detector": "no"}}


@pytest.mark.parametrize(
    "before",
    [
        "models: {detector: old}\n",
        "models:\n  detector: |\n    old\n",
        "models: [a]\n",
        "- a\n",
        "models:\n  detector: &x old\n  classifier: *x\n",
        "models: &m\n  detector: old\nother: *m\n",
        "base: &b\n  detector: old\nmodels: *b\n",
        "# c\nmodels: {}\n...\n",
        "models:\n  detector: >-\n    a\n    b\n",
        'models:\n  "detector": old\n',
    ],
)
def test_a_file_in_another_style_is_left_alone(tmp_path: Path, before: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(before)
    with pytest.raises(ProfileError, match="write these lines yourself"):
        set_models_key(path, "detector", "new")
    assert path.read_text() == before


def test_invalid_yaml_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("models: [")
    with pytest.raises(ProfileError, match="cannot be read"):
        set_models_key(path, "detector", "new")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "mine.yaml"
    real.write_text("models:\n  detector: old\n")
    link.symlink_to(real)
    set_models_key(link, "detector", "new")
    assert link.is_symlink()
    assert "new" in real.read_text()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_permissions_stay(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("models:\n  detector: old\n")
    path.chmod(mode)
    set_models_key(path, "detector", "new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o400, 0o444])
def test_a_read_only_profile_is_refused_from_root_too(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("models:\n  detector: old\n")
    path.chmod(mode)
    with pytest.raises(ProfileError, match="is read-only"):
        set_models_key(path, "detector", "new")
    assert path.read_text() == "models:\n  detector: old\n"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("text", ["a: " + "[" * 3000 + "]" * 3000, "- " * 3000 + "a"])
def test_a_profile_that_is_nested_too_deep_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match="nested deeper"):
        set_models_key(path, "detector", "new")


def test_what_is_not_a_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name, kind in (("pipe.yaml", "is a named pipe"), ("folder.yaml", "is a folder")):
        with pytest.raises(ProfileError, match=kind):
            set_models_key(tmp_path / name, "detector", "new")
