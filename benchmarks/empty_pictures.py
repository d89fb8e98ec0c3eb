"""Pictures without an animal, made from labelled footage, which has few.

- medians of clips: what moves is gone, which was checked by eye for the developers' set. In the
  median of its one burst of stills the heron, which stands still, remains: bursts are not used;
- the parts of stills beside, above and below all of their animals.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from odins_ravne_assets.munin.detection.still_decoding import decode_still

Picture = NDArray[np.uint8]
Corners = tuple[float, float, float, float]  # x0, y0, x1, y1 as fractions of the picture

# Of a clip: fewer show the animal at one place in half of them.
MIN_FRAMES = 6
MAX_FRAMES = 60
FULL_SIZE = 10**6  # of a network for which stills are not decoded at reduced scale
# Between the animals and an empty part, and the least sides and area of a part; of the picture.
MARGIN = 0.03
MIN_SIDE, MIN_AREA = 0.3, 0.3


def write_empty_pictures(
    footage: Path,
    boxes: Mapping[str, Sequence[Corners]],
    empty_stills: Sequence[str],
    clips: Sequence[str],
    to: Path,
) -> int:
    """Write empty pictures as PNG files, and return their number.

    Args:
        boxes: the animals of stills, by path.
        empty_stills: paths of stills that are empty.
        clips: paths of clips in which no animal stays at its place.
    """
    to.mkdir()
    count = 0
    for name, picture in _pictures(footage, boxes, empty_stills, clips):
        file = to / f"{count:03d} {name.replace('/', ' ')}.png"
        encoded, data = cv2.imencode(".png", picture)
        assert encoded
        file.write_bytes(data.tobytes())
        count += 1
    return count


def _pictures(
    footage: Path,
    boxes: Mapping[str, Sequence[Corners]],
    empty_stills: Sequence[str],
    clips: Sequence[str],
) -> Iterator[tuple[str, Picture]]:
    for path in empty_stills:
        yield path, _read(footage / path)
    for path in clips:
        frames = _frames_of(footage / path)
        if len(frames) >= MIN_FRAMES:
            yield f"median of {path}", _median(frames)
    scenes: set[tuple[str, str]] = set()
    for path, animals in boxes.items():
        scene = str(Path(path).parent), repr(animals)
        if scene not in scenes:  # another one of the same place would count it twice
            scenes.add(scene)
            yield from _empty_parts(path, _read(footage / path), animals)


def _read(path: Path) -> Picture:
    return decode_still(path, "jpeg", 1, 1, FULL_SIZE)


def _frames_of(path: Path) -> list[Picture]:
    """Return up to MAX_FRAMES frames of a clip, evenly spaced."""
    with av.open(str(path), metadata_errors="replace") as container:
        try:
            frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
        except av.FFmpegError:
            return []  # a damaged clip
    step = max(1, len(frames) // MAX_FRAMES)
    return [np.asarray(frame, np.uint8) for frame in frames[::step]]


def _median(pictures: Sequence[Picture]) -> Picture:
    return np.asarray(np.median(np.stack(pictures), axis=0), np.uint8)


def _empty_parts(
    path: str, picture: Picture, animals: Sequence[Corners]
) -> Iterator[tuple[str, Picture]]:
    height, width = picture.shape[:2]
    corners = np.array(animals)
    left, top = corners[:, :2].min(axis=0) - MARGIN
    right, bottom = corners[:, 2:].max(axis=0) + MARGIN
    parts = {
        "left": (0.0, 0.0, left, 1.0),
        "right": (right, 0.0, 1.0, 1.0),
        "top": (0.0, 0.0, 1.0, top),
        "bottom": (0.0, bottom, 1.0, 1.0),
    }
    for name, (x0, y0, x1, y1) in parts.items():
        if min(x1 - x0, y1 - y0) >= MIN_SIDE and (x1 - x0) * (y1 - y0) >= MIN_AREA:
            rows = slice(int(y0 * height), int(y1 * height))
            yield f"{name} of {path}", picture[rows, int(x0 * width) : int(x1 * width)]
