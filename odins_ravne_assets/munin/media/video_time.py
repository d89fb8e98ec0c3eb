"""The recording time of a video, from the metadata of its container and of its stream.

A local time beside a time that may be UTC gives a remark if the two are hours apart.
"""

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import av

from odins_ravne_assets.munin.media.capture_time import (
    NO_TIME,
    SET_UTC,
    RecordedTime,
    first_time,
    local_time_remark,
    time_from_container,
    time_from_exif,
)
from odins_ravne_assets.munin.media.media_files import ISO_MEDIA, Format
from odins_ravne_assets.munin.media.tags.avchd import avchd_time
from odins_ravne_assets.munin.media.tags.iso_boxes import iso_box_times
from odins_ravne_assets.munin.media.tags.riff import read_riff_dates
from odins_ravne_assets.munin.media.video_file import open_video, read_head

# The File Properties Object of an ASF header and, behind its identity, size, and the file's
# identity and size, the creation date: 100 ns since 1601 UTC (ASF specification, 3.2).
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATE_AT = 48
_ASF_EPOCH = datetime(1601, 1, 1)
_ASF_HEADER_BYTES = 2**16

_APPLE_DATE = "com.apple.quicktime.creationdate"
# Local times, by FFmpeg's names of the tags of Matroska and QuickTime.
_LOCAL_TAGS = ("date_recorded", "date_digitized", "date")

Zone = Literal["camera", "utc"]


class VideoMetadata(NamedTuple):
    """What is known of a video.

    Attributes:
        path, media_format: the file.
        tags: of the container, keys in lower case.
        stream_tags: of the video stream.
        codec: of the video stream, by FFmpeg's name: "h264".
    """

    path: Path
    media_format: Format
    tags: Mapping[str, str]
    stream_tags: Mapping[str, str]
    codec: str


def video_time(video: VideoMetadata, zone: Zone) -> RecordedTime:
    """Return the first usable time, with remarks on those before it and on a local one beside it.

    Args:
        zone: the meaning of a time that the container marks as UTC, or that has no zone.
    """
    apple = _stated(video.tags.get(_APPLE_DATE))
    container = first_time(_container_times(video, zone))
    if apple.at:
        beside = local_time_remark(container, apple, "metadata", ", which is used")
        return _with_remarks(apple, container.remarks if container.at is None else (), beside)
    local = [(source, _stated(text)) for source, text in _local_texts(video)]
    if container.at is None:
        return first_time([apple, container, *(time for _, time in local)])
    advice = "" if zone == "utc" else SET_UTC
    beside = next(
        (
            remark
            for source, time in local
            if (remark := local_time_remark(container, time, source, advice))
        ),
        None,
    )
    return _with_remarks(container, apple.remarks, beside)


def _with_remarks(time: RecordedTime, before: tuple[str, ...], beside: str | None) -> RecordedTime:
    remarks = dict.fromkeys((*before, *time.remarks, *((beside,) if beside else ())))
    return time._replace(remarks=tuple(remarks))


def _stated(text: str | None) -> RecordedTime:
    return time_from_container(text, "stated") if text else NO_TIME


def _container_times(video: VideoMetadata, zone: Zone) -> Iterator[RecordedTime]:
    """Yield the times of the recording, the best first."""
    if video.media_format == "avi":
        yield from _avi_times(video.path)
    if video.codec == "h264" and video.media_format == "mpeg":
        yield _avchd_time(video)
    for tags in (video.tags, video.stream_tags):
        if text := tags.get("creation_time"):
            # QuickTime and Matroska mark every time as UTC, whatever the camera wrote.
            yield time_from_container(text, zone if text.endswith("Z") else "camera")
    if video.media_format == "asf" and (text := _asf_creation_time(video.path)):
        yield time_from_container(text, zone)


def _local_texts(video: VideoMetadata) -> Iterator[tuple[str, str]]:
    """Yield the sources and texts of times by the camera's wall clock."""
    if video.media_format in ISO_MEDIA:
        yield from iso_box_times(video.path)
    for name in _LOCAL_TAGS:
        text = video.tags.get(name, "")
        if ":" in text:  # a date alone is not a capture time
            yield f"tag {name}", text


def _avi_times(path: Path) -> Iterator[RecordedTime]:
    dates = read_riff_dates(path)
    yield from map(_stated, dates.digitised)
    if dates.exif:
        yield time_from_exif(dates.exif.tags)
    yield from (_stated(text) for text in dates.created if ":" in text)


def _avchd_time(video: VideoMetadata) -> RecordedTime:
    found = None
    with (
        suppress(av.error.FFmpegError, ValueError),
        open_video(video.path, video.media_format) as container,
    ):
        found = avchd_time(bytes(packet) for packet in container.demux(video=0))
    return RecordedTime(found.at, found.utc_offset_minutes) if found else NO_TIME


def _asf_creation_time(path: Path) -> str | None:
    header = read_head(path, _ASF_HEADER_BYTES)
    at = header.find(_ASF_PROPERTIES)
    date = header[at + _ASF_DATE_AT : at + _ASF_DATE_AT + 8]
    if at < 0 or len(date) < 8 or not any(date):
        return None
    microseconds = struct.unpack("<Q", date)[0] // 10
    return (_ASF_EPOCH + timedelta(microseconds=microseconds)).isoformat(" ", "milliseconds")
