"""Read the header of a video (MP4, MOV, 3GP, AVI, MKV, MPEG, ASF)."""

import math
import struct
from collections.abc import Mapping
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from odins_ravne_assets.munin.media.gps_position import (
    NO_POSITION,
    Position,
    position_from_iso_6709,
)
from odins_ravne_assets.munin.media.media_files import ISO_MEDIA, Format
from odins_ravne_assets.munin.media.probe import (
    MAX_FPS,
    MAX_VIDEO_SECONDS,
    MIN_FPS,
    Probe,
    check_size,
    clean_name,
    join_remarks,
)
from odins_ravne_assets.munin.media.video_file import open_video, read_head
from odins_ravne_assets.munin.media.video_time import VideoMetadata, video_time
from resources.errors import MediaError
from resources.settings.profile import Stage0

_MALFORMED = (av.error.FFmpegError, ArithmeticError, LookupError, OSError, ValueError)
# Packets of a Matroska file that are read to find its end.
MAX_LAST_PACKETS = 5000
# Formats that can store a rotation.
_MAY_BE_ROTATED = {*ISO_MEDIA, "mkv"}


def read_video_header(path: Path, media_format: Format, settings: Stage0) -> Probe:
    """Read size, duration, frame rate and metadata of a video.

    Raises:
        MediaError: the header cannot be read, or there is no video in it.
    """
    try:
        with open_video(path, media_format) as container:
            return _read(container, path, media_format, settings)
    except MemoryError:
        raise MediaError(
            f"damaged {media_format.upper()}: its header needs too much memory"
        ) from None
    except _MALFORMED as error:
        raise MediaError(
            f"damaged {media_format.upper()}: {_reason(error, media_format)}"
        ) from None


def _read(container: InputContainer, path: Path, media_format: Format, settings: Stage0) -> Probe:
    stream = _video_stream(container)
    width, height = stream.codec_context.width, stream.codec_context.height
    check_size(width, height, settings.max_megapixels)
    rotated, undecodable = _is_rotated(container, stream, media_format)
    if rotated:
        width, height = height, width
    metadata = {key.lower(): text for key, text in container.metadata.items()}
    codec = stream.codec_context.name
    known = VideoMetadata(path, media_format, metadata, stream.metadata, codec)
    recorded = video_time(known, settings.container_time)
    position = _read_position(metadata)
    duration, endless = _bounded(_duration(container, stream), MAX_VIDEO_SECONDS, "duration")
    fps, odd_rate = _bounded(_positive(stream.average_rate), MAX_FPS, "frame rate", MIN_FPS)
    truncated = "file is truncated" if media_format == "avi" and _riff_is_truncated(path) else None
    return Probe(
        kind="video",
        format=media_format,
        width=width,
        height=height,
        recorded_at=recorded.at,
        utc_offset_minutes=recorded.utc_offset_minutes,
        time_source="container" if recorded.at else None,
        latitude=position.latitude,
        longitude=position.longitude,
        camera_make=_first(metadata, "com.apple.quicktime.make", "make"),
        camera_model=_first(metadata, "com.apple.quicktime.model", "model"),
        duration_seconds=duration,
        fps=fps,
        remark=join_remarks(
            [truncated, undecodable, endless, odd_rate, *recorded.remarks, position.remark]
        ),
    )


def _video_stream(container: InputContainer) -> VideoStream:
    videos = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not videos:
        raise MediaError("holds no video" + (", only sound" if container.streams.audio else ""))
    # PyAV has no context for an unknown codec, contrary to its types.
    known = [stream for stream in videos if getattr(stream, "codec_context", None)]
    if not known:
        raise MediaError("holds a video with an unknown codec: convert it to H.264")
    return known[0]


def _is_rotated(
    container: InputContainer, stream: VideoStream, media_format: Format
) -> tuple[bool, str | None]:
    """Return True if the picture is rotated by 90°, and a remark.

    PyAV reports the rotation of frames only, so the first one is decoded.
    """
    if media_format not in _MAY_BE_ROTATED:
        return False, None
    try:
        frame = next(container.decode(stream), None)
    except _MALFORMED:
        frame = None
    if frame is None:
        return False, "its first frame cannot be decoded"
    return round(frame.rotation / 90) % 2 == 1, None


def _read_position(metadata: Mapping[str, str]) -> Position:
    text = metadata.get("com.apple.quicktime.location.iso6709") or metadata.get("location")
    return position_from_iso_6709(text) if text else NO_POSITION


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    if container.format.name.startswith("matroska") and _start(container) >= 1:
        return _duration_after_start(container, stream)
    if container.duration:
        return _positive(Fraction(container.duration, av.time_base))
    if stream.duration and stream.time_base:
        return _positive(stream.duration * stream.time_base)
    return None


def _start(container: InputContainer) -> Fraction:
    return Fraction(container.start_time or 0, av.time_base)


def _duration_after_start(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the seconds from the start of a Matroska file to its end.

    Its header states the end for some writers, and the duration for others; so the last packets
    tell, behind the last key frame.
    """
    stated = Fraction(container.duration or 0, av.time_base)
    end = Fraction(0)
    try:
        container.seek(int((_start(container) + stated + 1) * av.time_base))
        for packet in islice(container.demux(stream), MAX_LAST_PACKETS):
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
    except _MALFORMED:
        end = Fraction(0)
    measured = end - _start(container)
    if measured <= 0:
        measured = stated - _start(container) if stated > _start(container) else stated
    return _positive(measured)


def _bounded(
    value: float | None, most: float, name: str, least: float = 0.0
) -> tuple[float | None, str | None]:
    """Return a number of the header; None and a remark if it is beyond its bounds."""
    if value is None or least <= value <= most:
        return value, None
    return None, f"its {name} is not plausible and ignored: {value:.3g}"


def _positive(value: Fraction | None) -> float | None:
    number = float(value) if value else 0.0
    return number if number > 0 and math.isfinite(number) else None


def _first(metadata: Mapping[str, str], *keys: str) -> str | None:
    return next((name for key in keys if (name := clean_name(metadata.get(key)))), None)


def _riff_is_truncated(path: Path) -> bool:
    expected: int = struct.unpack("<I", read_head(path, 8)[4:])[0] + 8
    return path.stat().st_size < expected


def _reason(error: Exception, media_format: Format) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if media_format in ISO_MEDIA and isinstance(error, av.error.InvalidDataError):
        return f"{text}; its index is missing when the camera lost power while recording"
    return str(text)
