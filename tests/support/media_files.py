"""Write small pictures and videos for tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import ExifTags, Image

VIDEO_CODECS = {
    ".mp4": "libx264",
    ".mov": "libx264",
    ".3gp": "libx264",
    ".mkv": "libx264",
    ".webm": "libvpx",
    ".avi": "mjpeg",
    ".mpg": "mpeg2video",
    ".mts": "mpeg2video",
    ".m2ts": "mpeg2video",
    ".ts": "mpeg2video",
    ".mod": "mpeg2video",
    ".vob": "mpeg2video",
    ".asf": "msmpeg4",
    ".wmv": "wmv2",
}
# Containers whose name differs from the extension.
MUXERS = {
    ".mts": "mpegts",
    ".m2ts": "mpegts",
    ".ts": "mpegts",
    ".mpg": "mpeg",
    ".mod": "mpeg",
    ".vob": "vob",
    ".asf": "asf",
    ".wmv": "asf",
}


def gradient(width: int, height: int, shift: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return an RGB picture in which no two places are alike."""
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
    """Write a picture in the format of its name.

    Args:
        size: width and height in pixels, before the EXIF orientation.
        exif: tags by their names in PIL.ExifTags.Base, as {"DateTimeOriginal": "…"}.
        gps: tags by their names in PIL.ExifTags.GPS.
        shift: changes the content.
    """
    block = Image.Exif()
    for name, value in (exif or {}).items():
        tag = ExifTags.Base[name]
        # Tags of TIFF itself are in IFD0, all others in the Exif IFD.
        in_ifd0 = tag < 0x8000 or tag == ExifTags.Base.CameraSerialNumber
        (block if in_ifd0 else block.get_ifd(ExifTags.IFD.Exif))[tag] = value
    for name, value in (gps or {}).items():
        block.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS[name]] = value
    for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if block.get_ifd(ifd):
            block[ifd] = 0  # a TIFF contains only the IFDs that IFD0 names
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
    """Write a video in the format of its name.

    Args:
        size: width and height in pixels, before the rotation.
        rotation: display rotation in degrees.
        metadata: of the container, by FFmpeg's names.
    """
    extension = path.suffix.lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without this, MP4 holds only metadata with FFmpeg's own names.
    options = {".mp4": {"movflags": "use_metadata_tags"}, ".m2ts": {"mpegts_m2ts_mode": "1"}}.get(
        extension, {}
    )
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
