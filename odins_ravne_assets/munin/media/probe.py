"""What one media file says of itself: kind, size, time, place, camera.

The libraries that read headers crash and hang on crafted files, so `probe_media` is made to run
in a child process: it takes and returns plain data and touches nothing but the file.
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from odins_ravne_assets.munin.media.media_files import (
    EXPECTED_FORMATS,
    HEAD_BYTES,
    Format,
    Kind,
    describe_foreign,
    extension_of,
    kind_of_format,
    sniff,
)
from resources.errors import MediaError
from resources.settings.profile import Stage0

LONGEST_NAME = 64


class Probe(BaseModel):
    """The header of a medium. What it does not say is None."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    format: Format
    width: int  # of the upright picture, in pixels
    height: int
    recorded_at: datetime | None = None  # the wall clock the camera wrote, no zone
    utc_offset_minutes: int | None = None
    time_source: Literal["exif", "container"] | None = None
    latitude: float | None = None  # degrees, north and east positive
    longitude: float | None = None
    camera_make: str | None = None
    camera_model: str | None = None
    camera_serial: str | None = None
    duration_seconds: float | None = None  # of a video, as its container says
    fps: float | None = None
    remark: str | None = None  # what is odd about it, for the owner

    def as_message(self) -> dict[str, Any]:
        """As JSON knows it."""
        return self.model_dump(mode="json")

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Self:
        """The probe that `as_message` came from; ValidationError when it never did."""
        return cls.model_validate(message)


def probe_media(path: Path, settings: Stage0) -> Probe:
    """Read the header of a local media file.

    Its format is told by its content. Only where that says nothing the name decides, and a name
    that says otherwise is a remark.

    Raises:
        MediaError: the file cannot be used, and why.
    """
    # Imported here, so that a process that only wants `Probe` loads no decoder.
    from odins_ravne_assets.munin.media.picture_header import read_picture_header
    from odins_ravne_assets.munin.media.video_header import read_video_header

    head = _head_of(path)
    expected = EXPECTED_FORMATS.get(extension_of(path.name), ())
    found = sniff(head)
    if found is None:
        foreign = describe_foreign(head)
        if foreign or not expected:
            raise MediaError(f"is {foreign or 'of no known format'}, not a picture or a video")
    media_format = found or expected[0]
    if kind_of_format(media_format) == "image":
        probe = read_picture_header(path, media_format, settings.max_megapixels)
    else:
        probe = read_video_header(path, media_format, settings)
    if media_format in expected or not expected:
        return probe
    named = f"named {extension_of(path.name)}, is {media_format.upper()}"
    return probe.model_copy(update={"remark": join_remarks([named, probe.remark])})


def join_remarks(remarks: Iterable[str | None]) -> str | None:
    """Several remarks as one text."""
    return "; ".join(remark for remark in remarks if remark) or None


def clean_name(value: object) -> str | None:
    """A make, model or serial number without the padding that cameras write."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return None
    text = value.partition("\0")[0].strip()
    return text[:LONGEST_NAME] if text and text.isprintable() else None


def check_size(width: int, height: int, max_megapixels: float) -> None:
    """Refuse decompression bombs by what the header says.

    Raises:
        MediaError: the picture is larger than the settings allow, or has no size.
    """
    if width <= 0 or height <= 0:
        raise MediaError(f"its header gives a size of {width}x{height} pixels")
    if width * height > max_megapixels * 1e6:
        raise MediaError(
            f"its header gives {width}x{height} pixels, more than "
            f"pipeline.stage0.max_megapixels ({max_megapixels:g}) allows"
        )


def _head_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise MediaError(f"cannot be opened: {error.strerror or error}") from None
    if not head:
        raise MediaError("file is empty")
    return head
