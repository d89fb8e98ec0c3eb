"""Footage for all tests: the labelled set where it is at hand, and small real files made here."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from media_files import write_picture, write_video
from paths import FOOTAGE, ROOT

MakePicture = Callable[..., Path]
MakeVideo = Callable[..., Path]


def pytest_configure() -> None:
    """A shell starts what runs in its background with SIGINT ignored; Dagster then ignores SIGTERM
    too, and no process that a test starts could be ended."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def footage() -> Path:
    """The folder of labelled footage. Tests that use it are marked `footage`."""
    if not FOOTAGE.is_dir():
        pytest.skip("the labelled footage is not at ../shared/footage")
    return FOOTAGE


@pytest.fixture(scope="session")
def make_picture() -> MakePicture:
    """`write_picture`, for tests that make their own."""
    return write_picture


@pytest.fixture(scope="session")
def make_video() -> MakeVideo:
    """`write_video`, for tests that make their own."""
    return write_video


@pytest.fixture
def sample_picture(tmp_path: Path) -> Path:
    """A JPEG of 64x48 pixels, taken on 28 May 2021 at 09:30:11 by an ACME X1."""
    taken = {"DateTimeOriginal": "2021:05:28 09:30:11", "Make": "ACME", "Model": "X1"}
    return write_picture(tmp_path / "sample" / "IMG_0001.JPG", exif=taken)


@pytest.fixture
def sample_video(tmp_path: Path) -> Path:
    """An MP4 of 64x48 pixels, 10 frames, 25 per second."""
    return write_video(tmp_path / "sample" / "IMG_0002.MP4")


# Files that take longest: begun first, so that no process is left alone with one in the end.
LONGEST = (
    "resources/launch/test_batch_launcher.py",
    "end_to_end/test_resilience.py",
    "end_to_end/test_update_on_batch.py",
    "end_to_end/test_ui.py",
    "end_to_end/test_real_footage.py",
    "end_to_end/test_bad_input.py",
    "end_to_end/test_cloud_commands.py",
    "docs/test_commands.py",
    "benchmarks/test_interruption_drill.py",
    "tools/test_sandbox_demo.py",
    "resources/compute/test_cleanup.py",
    "benchmarks/test_ledger_accuracy.py",
    "odins_ravne_assets/cli/test_main.py",
    "resources/compute/test_environment.py",
    "end_to_end/test_incremental.py",
    "odins_ravne_assets/results/test_download.py",
    "resources/sandbox/fleet/test_fleet.py",
    "gpu_kernels/engines/test_tensorrt_build.py",
    "gpu_kernels/engines/test_fp16.py",
    "resources/sandbox/api/test_batch_api.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; within a file, the order stays."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(
        key=lambda item: places.get(item.path.relative_to(ROOT / "tests").as_posix(), len(LONGEST))
    )
