"""What the cache remembers about an engine: its check, and why it could not be built."""

from pathlib import Path

import pytest

from gpu_kernels.engines import engine_record
from gpu_kernels.engines.engine_cache import EngineCache
from gpu_kernels.engines.engine_record import CheckOutcome, EngineRecord
from gpu_kernels.engines.tensorrt_build import BatchSizes, EngineBuildError, EngineKey
from resources.storage.local_store import LocalStore

KEY = EngineKey("a" * 64, "half 1", "tensorrt 11.4.0.106", "sm_75", BatchSizes())


def record(folder: Path, arch: str = "sm_75", key: EngineKey = KEY) -> EngineRecord:
    return EngineRecord(EngineCache([LocalStore(folder)], pytest.fail), key, arch)


def test_a_check_is_known_to_the_next_machine_with_such_a_gpu(tmp_path: Path) -> None:
    outcome = CheckOutcome("basis", True, "12 results compared")
    record(tmp_path).save_check(outcome)
    assert record(tmp_path).check("basis") == outcome
    assert record(tmp_path, arch="sm_86").check("basis") is None


@pytest.mark.parametrize(
    "other",
    [
        KEY._replace(tensorrt="tensorrt 11.5.0.1"),
        KEY._replace(tensorrt="tensorrt-rtx 1.7.1.116"),
        KEY._replace(model="b" * 64),
        KEY._replace(batches=BatchSizes(1, 4, 32)),
    ],
)
def test_another_engine_has_its_own_record(tmp_path: Path, other: EngineKey) -> None:
    record(tmp_path).save_check(CheckOutcome("basis", True, ""))
    record(tmp_path).save_refusal(EngineBuildError("an unsupported operator"), 60)
    assert record(tmp_path, key=other).check("basis") is None
    record(tmp_path, key=other).raise_refusal()


def test_a_check_on_another_basis_is_repeated(tmp_path: Path) -> None:
    record(tmp_path).save_check(CheckOutcome("old threshold", True, ""))
    assert record(tmp_path).check("new threshold") is None


def test_a_failed_build_is_not_repeated_until_its_file_is_deleted(tmp_path: Path) -> None:
    record(tmp_path).save_refusal(EngineBuildError("model fox: an unsupported operator"), 60)
    with pytest.raises(EngineBuildError, match=r"unsupported operator \(tried before; ") as caught:
        record(tmp_path).raise_refusal()
    (stored,) = tmp_path.iterdir()
    assert f"delete {LocalStore(tmp_path).url}/{stored.name} to try again" in str(caught.value)
    stored.unlink()
    record(tmp_path).raise_refusal()


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [
        ("the build failed: Out of Memory on the device", 60),
        ("it finds no GPU, or no driver for it", 60),
        ("its input has a fixed batch", 0.5),  # costs nothing to repeat
    ],
)
def test_a_build_that_may_succeed_later_is_tried_again(
    tmp_path: Path, reason: str, seconds: float
) -> None:
    record(tmp_path).save_refusal(EngineBuildError(reason), seconds)
    record(tmp_path).raise_refusal()
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_failed_with_an_older_version_of_this_code_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path).save_refusal(EngineBuildError("an unsupported operator"), 60)
    monkeypatch.setattr(engine_record, "REFUSAL_VERSION", 99)
    record(tmp_path).raise_refusal()
