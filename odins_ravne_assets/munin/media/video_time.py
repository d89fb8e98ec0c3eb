"""The recording time of a video, from the metadata of its container and its stream.

A camera's local time beside the container's time, which may be UTC, gives a remark when the two are
hours apart.
"""

import struct
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import av
from av.container import InputContainer

from odins_ravne_assets.munin.media.capture_time import (
    NO_TIME,
    RecordedTime,
    first_time,
    local_time_remark,
    time_from_container,
    time_from_exif,
)
from odins_ravne_assets.munin.media.media_files import ISO_MEDIA, Format
from odins_ravne_assets.munin.media.tags.avchd import MAX_PACKETS, avchd_time
from odins_ravne_assets.munin.media.tags.iso_boxes import iso_box_times
from odins_ravne_assets.munin.media.tags.riff import read_riff_dates
from odins_ravne_assets.munin.media.video_file import open_video, read_head

# The File Properties Object of an ASF header and, behind its identity, size, and the file's
# identity and size, the creation date: 100 ns since 1601 UTC (ASF specification, 3.2).
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATE_AT = 48
_ASF_EPOCH = datetime(1601, 1, 1)
_ASF_HEADER_BYTES = 2**16

# Local times, by FFmpeg's names of the tags of QuickTime, Matroska and RIFF.
_LOCAL_TAGS = {
    "date_recorded": "tag DATE_RECORDED",
    "date_digitized": "tag DATE_DIGITIZED",
    "date": "date tag",
}
_APPLE_DATE = "com.apple.quicktime.creationdate"
_UTC_IS_USED = "; if the container's time is UTC, set pipeline.stage0.container_time: utc"
_LOCAL_IS_USED = ", which is used"

Zone = Literal["camera", "utc"]


class VideoMetadata(NamedTuple):
    """What FFmpeg and the file itself say of a video.

    Attributes:
        path, media_format: the file.
        tags: of the container, keys in lower case.
        stream_tags: of the video stream.
        codec: of the video stream: "h264".
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
    local = [(source, _stated(text)) for source, text in _local_texts(video)]
    if apple.at:
        remark = local_time_remark(container, apple, "metadata", _LOCAL_IS_USED)
        return apple._replace(remarks=_joined(apple.remarks, container.remarks, remark))
    remarks = _joined(apple.remarks, container.remarks)
    if container.at is None:
        found = first_time(time for _, time in local)
        return found._replace(remarks=_joined(remarks, found.remarks))
    if video.media_format in _FORMATS_IN_UTC:
        advice = "" if zone == "utc" else _UTC_IS_USED
        said = (local_time_remark(container, time, source, advice) for source, time in local)
        remarks = _joined(remarks, next((remark for remark in said if remark), None))
    return container._replace(remarks=remarks)
