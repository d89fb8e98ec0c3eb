"""The record of the models and settings that results are made with."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from odins_ravne_assets.munin.classification.journal_key import stage2_dependencies
from odins_ravne_assets.munin.detection.journal_key import stage1_key
from odins_ravne_assets.munin.workload.recorded_settings import STAGE1, STAGE2
from resources.errors import StoreError
from resources.settings.profile import Profile
from resources.storage.local_store import LocalStore

PROFILE = Profile.model_validate({"models": {"detector": "megadetector-lite"}})


@pytest.fixture
def output(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_there_is_none_before_the_first_result(output: LocalStore) -> None:
    assert STAGE1.read(output) is None
    assert STAGE2.read(output) is None


def test_a_record_has_names_hashes_thresholds_and_sampling(output: LocalStore) -> None:
    STAGE1.save(output, STAGE1.of_profile(PROFILE))
    STAGE2.save(output, STAGE2.of_profile(PROFILE))
    boxes = json.loads((output.root / "journal/settings/stage1.json").read_text())
    assert boxes["models"]["detector"] == "megadetector-lite"
    assert boxes["names"] == ["megadetector-lite", "ssd-mobilenet-v2-cam16"]
    models = boxes["depends_on"].pop("models")
    assert [each[:12] for each in models] == ["73e4b7791b06", "f8a8afcd70d7"]
    assert boxes["depends_on"] == {
        "version": 1,
        "engine": "onnxruntime",
        "conf_threshold": None,
        "sampling": "fps",
        "frames_per_second": 1.0,
        "motion_gate": True,
        "motion_threshold": 0.002,
    }
    labels = json.loads((output.root / "journal/settings/stage2.json").read_text())
    assert labels["models"] == {"classifier": "efficientnet-lite3"}
    assert labels["depends_on"] == stage2_dependencies(PROFILE)


def test_the_record_gives_the_key_of_the_journal(output: LocalStore) -> None:
    STAGE1.save(output, STAGE1.of_profile(PROFILE))
    read = STAGE1.read(output)
    assert read == STAGE1.of_profile(PROFILE)
    assert read is not None
    # Of version 0.1.0: journals of that version stay valid.
    assert read.key == stage1_key(PROFILE) == "b32188f1d56dbd8d"


def test_workers_that_write_it_at_the_same_time_write_the_same_bytes(output: LocalStore) -> None:
    settings = STAGE1.of_profile(PROFILE)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: STAGE1.save(output, settings), range(64)))
    assert STAGE1.read(output) == settings
    assert [path.name for path in (output.root / "journal/settings").iterdir()] == ["stage1.json"]


def test_a_record_that_is_the_same_is_not_written_again(output: LocalStore) -> None:
    settings = STAGE1.of_profile(PROFILE)
    STAGE1.save(output, settings)
    before = (output.root / "journal/settings/stage1.json").stat()
    STAGE1.save(output, settings)
    assert (output.root / "journal/settings/stage1.json").stat().st_ino == before.st_ino


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"models": 1}', b"\xff"])
def test_a_damaged_record_is_an_error_that_names_it(output: LocalStore, text: bytes) -> None:
    output.write_bytes("journal/settings/stage1.json", text)
    with pytest.raises(StoreError, match=r"journal/settings/stage1\.json: is damaged; delete it"):
        STAGE1.read(output)


@pytest.mark.parametrize(
    "change",
    [
        {"models": {"detector": None, "category_detector": None}},
        {"models": {"detector": "a"}},
        {"models": {"detector": "a\0b.toml", "category_detector": None}},
        {"models": {"detector": "a" * 5000, "category_detector": None}},
        {"names": []},
        {"names": [str(number) for number in range(5000)]},
        {"depends_on": {"models": ["a"] * 5000}},
        {"depends_on": {"conf_threshold": {"more": 1}}},
        {"depends_on": {"sampling": "two\nlines"}},
    ],
)
def test_so_is_a_record_that_no_version_writes(
    output: LocalStore, change: dict[str, object]
) -> None:
    record = STAGE1.of_profile(PROFILE).model_dump(mode="json") | change
    output.write_bytes("journal/settings/stage1.json", json.dumps(record).encode())
    with pytest.raises(StoreError, match=r"journal/settings/stage1\.json: is damaged; delete it"):
        STAGE1.read(output)


def test_a_role_of_a_later_version_is_an_error_that_names_it(output: LocalStore) -> None:
    record = STAGE1.of_profile(PROFILE).model_dump(mode="json")
    record["models"]["embedder"] = "some-model"
    output.write_bytes("journal/settings/stage1.json", json.dumps(record).encode())
    with pytest.raises(StoreError, match=r"does not know \(embedder\); use the version that wrote"):
        STAGE1.read(output)


def test_keys_of_later_versions_are_ignored(output: LocalStore) -> None:
    STAGE1.save(output, STAGE1.of_profile(PROFILE))
    path = output.root / "journal/settings/stage1.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "later": 1}))
    assert STAGE1.read(output) == STAGE1.of_profile(PROFILE)
