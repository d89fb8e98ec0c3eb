"""The header of a media file: kind, size, time, position, camera.

`probe_process` reads it in a child process, because the libraries for it crash and hang on crafted
files. This module imports no decoder.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from odins_ravne_assets.munin.media.media_files import (
    Format,
    Kind,
)
from resources.errors import MediaError

MAX_NAME_LENGTH = 64


class Probe(BaseModel):
    """The header of a medium; missing values are None."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    format: Format
    width: int  # of the upright picture, in pixels
    height: int
    recorded_at: datetime | None = None  # the camera's wall clock, no zone
    utc_offset_minutes: int | None = None
    time_source: Literal["exif", "container"] | None = None
    latitude: float | None = None  # degrees, north and east positive
    longitude: float | None = None
    camera_make: str | None = None
    camera_model: str | None = None
    camera_serial: str | None = None
    duration_seconds: float | None = None  # of a video, by its container
    fps: float | None = None
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
