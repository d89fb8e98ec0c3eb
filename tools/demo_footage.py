"""Generate a camera's footage for the demo: `python tools/demo_footage.py FOLDER`.

From sample pictures of scikit-image (a cat, an astronaut, a lawn): stills with EXIF times in a
camera's folder structure, and a clip of the same pictures. The output is deterministic, so a second
demo has nothing left to process.
"""

import importlib.util
import sys
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Picture = npt.NDArray[np.uint8]

START = datetime(2026, 5, 14, 21, 40, 12)
OFFSET = "+02:00"
SIZE = (1280, 960)  # width, height of the camera's stills
CLIP_SIZE = (640, 480)
CLIP_FPS = 10
EXIF_MAKE, EXIF_MODEL, EXIF_IFD = 0x010F, 0x0110, 0x8769
EXIF_TIME, EXIF_OFFSET = 0x9003, 0x9011

# Minutes after the start, and the sample.
STILLS = [
    (0.0, "chelsea.png"),
    (0.2, "chelsea.png"),
    (31.0, "grass.png"),
    (154.0, "astronaut.png"),
    (480.0, "gravel.png"),
]


def samples_folder() -> Path:
    """Return the folder of scikit-image's pictures, without importing scikit-image."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(
            "error: scikit-image, which ships the sample pictures, is not installed; run "
            "`pip install --no-deps -r requirements-demo.txt`"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def read_sample(name: str, size: tuple[int, int]) -> Picture:
    """Read a sample as a BGR picture that fills the frame."""
    picture = cv2.imread(str(samples_folder() / name), cv2.IMREAD_COLOR)
    if picture is None:
        sys.exit(f"error: {samples_folder() / name}: cannot be read; install scikit-image again")
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
    lawn, cat = read_sample("grass.png", CLIP_SIZE), read_sample("chelsea.png", CLIP_SIZE)
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


def main() -> None:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    folder = Path(sys.argv[1]) / "DCIM" / "100MEDIA"
    folder.mkdir(parents=True, exist_ok=True)
    for number, (minutes, name) in enumerate(STILLS, start=1):
        path = folder / f"IMAG{number:04d}.JPG"
        if not path.exists():
            write_still(path, read_sample(name, SIZE), START + timedelta(minutes=minutes))
    clip = folder / "IMAG0006.MP4"
    if not clip.exists():
        write_clip(clip, START + timedelta(minutes=75))


if __name__ == "__main__":
    main()
