"""What one media file says of itself: kind, size, time, place, camera.

The libraries that read headers crash and hang on crafted files, so `probe_media` is made to run
in a child process: it takes and returns plain data and touches nothing but the file.
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
    return text[:MAX_NAME_LENGTH] if text and text.isprintable() else None


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
