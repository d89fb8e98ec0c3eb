"""Generate a camera's footage from the sample pictures of this package.

Stills with EXIF times in a camera's folder structure, and a clip of the same pictures. The output
is deterministic, so a second demo has nothing left to process. NOTICE names the sources of the
pictures.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Picture = npt.NDArray[np.uint8]

SAMPLES = Path(__file__).parent / "pictures"
START = datetime(2026, 5, 14, 21, 40, 12)
OFFSET = "+02:00"
SIZE = (1280, 960)  # width, height of the camera's stills
CLIP_SIZE = (640, 480)
CLIP_FPS = 10
EXIF_MAKE, EXIF_MODEL, EXIF_IFD = 0x010F, 0x0110, 0x8769
EXIF_TIME, EXIF_OFFSET = 0x9003, 0x9011

# Minutes after the start, and the sample.
STILLS = [(0.0, "cat"), (0.2, "cat"), (31.0, "grass"), (154.0, "astronaut"), (480.0, "gravel")]


def read_sample(name: str, size: tuple[int, int]) -> Picture:
    """Read a sample as a BGR picture that fills the frame.

    Args:
        name: of a file in `pictures`, without its suffix.
        size: width and height.
    """
    with Image.open(SAMPLES / f"{name}.jpg") as sample:
        picture = np.asarray(sample.convert("RGB"))[:, :, ::-1]
    height, width = picture.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    scaled = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    top, left = (scaled.shape[0] - size[1]) // 2, (scaled.shape[1] - size[0]) // 2
    return np.ascontiguousarray(scaled[top : top + size[1], left : left + size[0]], np.uint8)


def write_still(path: Path, picture: Picture, taken: datetime) -> None:
    """Write a JPEG with the EXIF of a camera trap."""
    image = Image.fromarray(picture[:, :, ::-1])
    exif = Image.Exif()
    exif[EXIF_MAKE], exif[EXIF_MODEL] = "ODIN", "Ravne demo"
    details = exif.get_ifd(EXIF_IFD)
    details[EXIF_TIME] = taken.strftime("%Y:%m:%d %H:%M:%S")
    details[EXIF_OFFSET] = OFFSET
    image.save(path, quality=88, exif=exif)


def write_clip(path: Path, taken: datetime) -> None:
    """Write a clip of 12 seconds: an empty lawn, the cat for 8 seconds, an empty lawn."""
    lawn, cat = read_sample("grass", CLIP_SIZE), read_sample("cat", CLIP_SIZE)
    with av.open(str(path), "w") as container:
        container.metadata["creation_time"] = taken.isoformat() + ".000000Z"
        stream = container.add_stream("mpeg4", rate=CLIP_FPS, options={"threads": "1"})
        stream.width, stream.height = CLIP_SIZE
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 2_000_000
        for number in range(12 * CLIP_FPS):
            visible = 2 * CLIP_FPS <= number < 10 * CLIP_FPS
            # A slight horizontal motion, for the motion gate.
            picture = np.roll(cat, round(12 * np.sin(number / 6)), axis=1) if visible else lawn
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, CLIP_FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_footage(folder: Path) -> Path:
    """Write five stills and a clip, unless they exist; return the folder."""
    media = folder / "DCIM" / "100MEDIA"
    media.mkdir(parents=True, exist_ok=True)
    for number, (minutes, name) in enumerate(STILLS, start=1):
        with _new_file(media / f"IMAG{number:04d}.JPG") as path:
            if path:
                write_still(path, read_sample(name, SIZE), START + timedelta(minutes=minutes))
    with _new_file(media / "IMAG0006.MP4") as path:
        if path:
            write_clip(path, START + timedelta(minutes=75))
    return folder


@contextmanager
def _new_file(path: Path) -> Iterator[Path | None]:
    """Yield a hidden name, which becomes `path` when the file is complete; None if it exists."""
    if path.exists():
        yield None
        return
    hidden = path.with_name(f".{path.name}")
    yield hidden
    hidden.replace(path)
