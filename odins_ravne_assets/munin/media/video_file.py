"""Open videos with FFmpeg, for the probe and for the decoders.

FFmpeg opens the named file and nothing else: the demuxer is the one of the format that the content
has, never guessed, and `file` is the only protocol. A playlist or a list of files is refused.

Nobody sets a log level of PyAV: its log callback takes Python's global lock in FFmpeg's own
threads, and freeing a decoder waits for these threads while it holds that lock.
"""

from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

from odins_ravne_assets.munin.media.media_files import (
    HEAD_BYTES,
    MPEG_SEQUENCE,
    Format,
    is_transport_stream,
)

DEMUXERS: dict[Format, str] = {
    "mp4": "mov",
    "mov": "mov",
    "3gp": "mov",
    "avi": "avi",
    "mkv": "matroska",
    "mpeg": "mpeg",
    "asf": "asf",
}
PROTOCOLS = {"protocol_whitelist": "file"}


def open_video(path: Path, media_format: Format, **options: Any) -> InputContainer:
    """Open a video. The caller closes the container, and drops its streams and frames.

    Args:
        media_format: by the file's content, as the probe recognises it.
        options: further arguments of `av.open`.

    Raises:
        av.error.FFmpegError: the file is damaged or of another format.
    """
    container: InputContainer = av.open(
        f"file:{path.absolute()}",
        format=_demuxer(path, media_format),
        options=PROTOCOLS,
        metadata_errors="replace",
        **options,
    )
    return container


def read_head(path: Path, size: int) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(size)


def _demuxer(path: Path, media_format: Format) -> str:
    if media_format == "mpeg":
        head = read_head(path, HEAD_BYTES)
        if is_transport_stream(head):
            return "mpegts"
        if head.startswith(MPEG_SEQUENCE):
            return "mpegvideo"
    return DEMUXERS[media_format]
