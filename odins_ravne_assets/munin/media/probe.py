"""The header of a media file: kind, size, time, position, camera.

`probe_process` reads it in a child process, because the libraries for it crash and hang on crafted
files. This module imports no decoder.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from odins_ravne_assets.munin.media.media_files import (
    Format,
    Kind,
)
from odins_ravne_assets.munin.media.tags.maker_notes import (
    MAX_SEQUENCE,
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    MoonPhase,
    Trigger,
)
from resources.errors import MediaError

MAX_NAME_LENGTH = 64
CHANGED = "changed while it was read: run again after copying has finished"
# Bounds of what headers state. Beyond them a value is damaged or malicious; no camera writes it.
MAX_VIDEO_SECONDS = 31 * 86_400.0  # also of the time between a video's first frame and another
MAX_INT32 = 2**31 - 1
MIN_FPS = 1 / MAX_VIDEO_SECONDS
MAX_FPS = 100_000.0  # some containers give their clock's rate, 90 kHz, as the frame rate
# A picture's file may have this many bytes for each pixel, and others for appended data: a second
# picture, a clip, maker notes.
MAX_BYTES_PER_PIXEL, MAX_EXTRA_BYTES = 8, 64 * 2**20


class Probe(BaseModel):
    """The header of a medium; missing values are None.

    The bounds hold for every row of the tables: an answer beyond them is not a header.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Kind
    format: Format
    width: int = Field(gt=0, le=MAX_INT32)  # of the upright picture, in pixels
    height: int = Field(gt=0, le=MAX_INT32)
    recorded_at: datetime | None = None  # the camera's wall clock, no zone
    utc_offset_minutes: int | None = Field(None, ge=-1440, le=1440)
    time_source: Literal["exif", "xmp", "container"] | None = None
    latitude: float | None = Field(None, ge=-90, le=90)  # degrees, north and east positive
    longitude: float | None = Field(None, ge=-180, le=180)
    camera_make: str | None = Field(None, max_length=MAX_NAME_LENGTH)
    camera_model: str | None = Field(None, max_length=MAX_NAME_LENGTH)
    camera_serial: str | None = Field(None, max_length=MAX_NAME_LENGTH)
    # Of a video, by its container.
    duration_seconds: float | None = Field(None, gt=0, le=MAX_VIDEO_SECONDS)
    fps: float | None = Field(None, gt=0, le=MAX_FPS)
    # Of the camera's notes: the picture's number in its burst, from 1, and their number.
    sequence_number: int | None = Field(None, ge=1, le=MAX_SEQUENCE)
    sequence_length: int | None = Field(None, ge=1, le=MAX_SEQUENCE)
    trigger: Trigger | None = None
    temperature: int | None = Field(None, ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)  # °C
    moon_phase: MoonPhase | None = None
    remark: str | None = None  # anything unusual, for the user

    def as_message(self) -> dict[str, Any]:
        """Return the header as JSON types."""
        return self.model_dump(mode="json")

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Self:
        """Return the header of a message of `as_message`; ValidationError if it is not one."""
        return cls.model_validate(message)


def join_remarks(remarks: Iterable[str | None]) -> str | None:
    """Join remarks to one text; None if there are none."""
    return "; ".join(remark for remark in remarks if remark) or None


def clean_name(value: object) -> str | None:
    """Return a make, model or serial number without padding; None if it is not text."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return None
    text = value.partition("\0")[0].strip()
    return text[:MAX_NAME_LENGTH] if text and text.isprintable() else None


def check_size(width: int, height: int, max_megapixels: float) -> None:
    """Refuse decompression bombs by the size in the header.

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


def check_file_size(size: int, pixels: float) -> None:
    """Refuse a picture's file that is far larger than its pixels need: it is read as a whole.

    Args:
        size: of the file, in bytes.

    Raises:
        MediaError: it is too large.
    """
    if size > MAX_EXTRA_BYTES + MAX_BYTES_PER_PIXEL * pixels:
        raise MediaError(
            f"its file has {size / 1e6:,.0f} MB, too many for {pixels / 1e6:.3g} megapixels"
        )
