"""TOML of users: whatever it holds, it is read or refused at once, in one line."""

from pathlib import Path

import pytest

from gpu_kernels.models.catalogue.entry import is_entry, load_entry
from gpu_kernels.models.ensemble import load_detector
from gpu_kernels.models.manifest import load_manifest
from gpu_kernels.models.toml_file import TomlError, parse_toml
from resources.errors import ModelError

HOSTILE = {
    "2,000 levels": "a = " + "[" * 2000 + "]" * 2000,
    "2,000 inline tables": "a = " + "{a = " * 2000 + "1" + "}" * 2000,
    "5,000 digits": "a = " + "9" * 5000,
    "2 MB": "a = '" + "x" * 2_000_000 + "'",
    "a zero byte": "a = \0",
    "half a table": "[a",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_text_is_one_line(what: str) -> None:
    with pytest.raises(TomlError) as refused:
        parse_toml(HOSTILE[what])
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_by_every_reader(what: str, tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(HOSTILE[what])
    for read in (load_manifest, load_detector, lambda name: load_entry(Path(name))):
        with pytest.raises(ModelError, match=f"{path}: ") as refused:
            read(str(path))
        assert "\n" not in str(refused.value)
    assert not is_entry(path)


def test_a_file_that_is_no_text_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="cannot be read"):
        load_manifest(str(path))
