"""Footage for all tests: the labelled set where it is at hand, and small real files made here."""

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import ExifTags, Image

FOOTAGE = Path(__file__).parent.parent.parent / "shared" / "footage"

MakePicture = Callable[..., Path]
MakeVideo = Callable[..., Path]

VIDEO_CODECS = {
    ".mp4": "libx264",
    ".mov": "libx264",
    ".3gp": "libx264",
    ".mkv": "libx264",
    ".webm": "libvpx",
    ".avi": "mjpeg",
    ".mpg": "mpeg2video",
    ".mts": "mpeg2video",
    ".asf": "msmpeg4",
    ".wmv": "wmv2",
}
# Where the name of a container is not what the extension says.
MUXERS = {".mts": "mpegts", ".mpg": "mpeg", ".asf": "asf", ".wmv": "asf"}


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


def gradient(width: int, height: int, shift: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An RGB picture in which no two places look alike."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x * 3 + shift, y * 5, x + y], axis=-1).astype(np.uint8)


def write_picture(
    path: Path,
    size: tuple[int, int] = (64, 48),
    mode: str = "RGB",
    exif: Mapping[str, Any] | None = None,
    gps: Mapping[str, Any] | None = None,
    shift: int = 0,
) -> Path:
    """A picture in the format of its name.

    Args:
        size: width and height in pixels, before EXIF turns it.
        exif: tags by their names in PIL.ExifTags.Base, as {"DateTimeOriginal": "…"}.
        gps: tags by their names in PIL.ExifTags.GPS.
        shift: makes the content of one picture differ from that of another.
    """
    block = Image.Exif()
    for name, value in (exif or {}).items():
        tag = ExifTags.Base[name]
        # The tags of IFD0 are those of TIFF itself; all others live in the Exif IFD.
        in_ifd0 = tag < 0x8000 or tag == ExifTags.Base.CameraSerialNumber
        (block if in_ifd0 else block.get_ifd(ExifTags.IFD.Exif))[tag] = value
    for name, value in (gps or {}).items():
        block.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS[name]] = value
    for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if block.get_ifd(ifd):
            block[ifd] = 0  # a TIFF is only given the IFDs that are named in IFD0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(gradient(*size, shift)).convert(mode).save(path, exif=block)
    return path


def write_video(
    path: Path,
    size: tuple[int, int] = (64, 48),
    frames: int = 10,
    fps: int = 25,
    rotation: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A video in the format of its name.

    Args:
        size: width and height in pixels, before it is turned.
        rotation: degrees that it is to be shown turned by.
        metadata: of the container, by FFmpeg's names.
    """
    extension = path.suffix.lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without this, MP4 holds only the metadata that FFmpeg has names of its own for.
    options = {"movflags": "use_metadata_tags"} if extension == ".mp4" else {}
    with av.open(str(path), "w", format=MUXERS.get(extension), options=options) as container:
        stream = container.add_stream(VIDEO_CODECS[extension], rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if extension == ".avi" else "yuv420p"
        if rotation is not None:
            stream.set_display_rotation(rotation)
        container.metadata.update(metadata or {})
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(gradient(*size, 7 * number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


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
    "test_batch_launch.py",
    "test_resilience.py",
    "test_bad_input.py",
    "test_ui.py",
    "test_cloud_cli.py",
    "test_drill.py",
    "test_sandbox_demo.py",
    "test_unused_compute.py",
    "test_ledger_truth.py",
    "test_cli.py",
    "test_compute_environment.py",
    "test_incremental.py",
    "test_taking_home.py",
    "test_sandbox_machines.py",
    "test_tensorrt.py",
    "test_half.py",
    "test_real_footage.py",
    "test_sandbox_batch.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; within a file, the order stays."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))
