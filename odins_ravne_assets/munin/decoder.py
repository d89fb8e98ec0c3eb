"""The decoding process: turns media files into pictures, one after the other.

Run by `decoding.Decoder` as a child, because decoders crash and hang on damaged files. It is told
`open` (a medium) and `slot` (a place in the shared arena that is free), and tells `begin`,
`frame`, `end` and `failed`. Pictures travel through the arena, everything else through the line.

Pictures are upright, uint8, BGR, [height, width, 3].
"""

import math
import mmap
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import numpy.typing as npt

from odins_ravne_assets.munin.isolation import Message, ParentLine, live_and_die_with_parent
from odins_ravne_assets.munin.motion import Motion
from resources.errors import MediaError

Picture = npt.NDArray[np.uint8]

# Largest picture that is kept of a medium, in pixels; larger ones are scaled down to it. Detectors
# look at 0.4 to 1.6 megapixels, and crops of 4 megapixels still show a mouse.
MAX_PIXELS = 4_000_000
SLOT_BYTES = MAX_PIXELS * 3
# How many frames less than its header says a video may hold without being called cut.
FORGIVEN_FRAMES, FORGIVEN_SHARE = 2, 0.1
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
# A still is decoded at a half, a quarter or an eighth of its size when its short side then still
# has this many times the detector's: decoding is faster, and crops keep enough detail.
CROP_RESERVE = 1.5
REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)


class DecodedFrame(NamedTuple):
    picture: Picture
    number: int  # 0-based, in order of presentation
    time_ms: int  # since the first frame
    moved: bool  # something changed since the frame before it; always true for a still


def decode_still(path: Path, width: int, height: int, network_side: int) -> Picture:
    """An image file as an upright BGR picture, at reduced scale where that loses nothing.

    Args:
        width, height: of the upright picture, as its header says.
        network_side: the longer side of the detector's input, in pixels.

    Raises:
        MediaError: it cannot be decoded.
    """
    data = np.frombuffer(_whole(path.read_bytes()), np.uint8)
    flag: int = cv2.IMREAD_COLOR
    for factor, reduced in REDUCED:
        if min(width, height) / factor >= network_side * CROP_RESERVE:
            flag = reduced
            break
    picture = cv2.imdecode(data, flag) if data.size else None
    if picture is None:
        raise MediaError("the image cannot be decoded")
    return _within_limits(np.asarray(picture, np.uint8))


def _whole(data: bytes) -> bytes:
    """OpenCV gives nothing of a JPEG that breaks off, unless its end is marked as one."""
    return data + JPEG_END if data.startswith(JPEG_START) else data


def decode_video(path: Path, plan: "SamplingPlan", max_pixels: float) -> Iterator[DecodedFrame]:
    """The sampled frames of a video, with exact times.

    A file that breaks off gives the frames before the break and then raises MediaError; the
    caller keeps them.

    Args:
        max_pixels: frames larger than this are refused.
    """
    motion = Motion(plan.motion_threshold) if plan.motion_gate else None
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise MediaError("holds no video")
            stream = container.streams.video[0]
            if stream.codec_context.width * stream.codec_context.height > max_pixels:
                raise MediaError("its frames are larger than pipeline.stage0.max_megapixels")
            stream.thread_type = "AUTO"
            if plan.sampling == "keyframes":
                stream.codec_context.skip_frame = "NONKEY"
            rate = float(stream.average_rate or stream.guessed_rate or 0) or 1.0
            seen = _Seen(container.decode(stream))
            for number, time, frame in plan.choose(seen, rate):
                picture = _within_limits(_upright(frame))
                moved = motion.moved(picture) if motion else True
                yield DecodedFrame(picture, number, time, moved)
            if plan.sampling != "keyframes":
                seen.complain_if_short(stream.frames)
    except av.error.FFmpegError as error:
        raise MediaError(f"the video cannot be decoded: {error.strerror}") from None
    except (ValueError, OverflowError) as error:
        raise MediaError(f"the video cannot be decoded: {error}") from None


class _Seen:
    """Passes frames on and counts them."""

    def __init__(self, frames: Iterator[Any]) -> None:
        self._frames = frames
        self._count = 0

    def __iter__(self) -> Iterator[Any]:
        for frame in self._frames:
            self._count += 1
            yield frame

    def complain_if_short(self, promised: int) -> None:
        """Decoders end quietly where a file was cut; many headers promise a frame too many.

        Args:
            promised: frames, by the header; 0 when it does not say.
        """
        if promised - self._count > max(FORGIVEN_FRAMES, FORGIVEN_SHARE * promised):
            raise MediaError(f"it holds {self._count} of the {promised} frames its header promises")


class SamplingPlan(NamedTuple):
    """Which frames of a video are looked at; fields as in the profile's `stage1`."""

    sampling: str
    frames_per_second: float
    every_nth_frame: int
    motion_gate: bool
    motion_threshold: float

    def choose(
        self, frames: Iterable[Any], rate: float
    ) -> Iterator[tuple[int, int, Any]]:  # number, milliseconds, frame
        """The first frame and then those that the plan asks for.

        Args:
            rate: average frames per second; numbers key frames, and dates frames without a time.
        """
        start: float | None = None
        next_due = 0.0
        for index, frame in enumerate(frames):
            time = frame.time
            if start is None:
                start = time if time is not None else 0.0
            seconds = max(0.0, time - start) if time is not None else index / rate
            number = round(seconds * rate) if self.sampling == "keyframes" else index
            if self.sampling == "every":
                due = index % self.every_nth_frame == 0
            elif self.sampling == "fps":
                # Half a frame of slack, so that rounding in the times skips no frame.
                due = seconds >= next_due - 0.5 / rate
                if due:
                    step = 1.0 / self.frames_per_second
                    next_due = (math.floor((seconds + 0.5 / rate) / step) + 1) * step
            else:
                due = True
            if due:
                yield number, round(seconds * 1000), frame


def _upright(frame: Any) -> Picture:
    picture = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    quarter_turns = round((getattr(frame, "rotation", 0) or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, quarter_turns)) if quarter_turns else picture


def _within_limits(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    if height * width <= MAX_PIXELS:
        return picture
    scale = math.sqrt(MAX_PIXELS / (height * width))
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


class DecodingProcess:
    """The child's loop."""

    def __init__(self, line: ParentLine, arena: mmap.mmap) -> None:
        self._line = line
        self._arena = arena
        self._free: deque[int] = deque()
        self._orders: deque[Message] = deque()

    def run(self) -> None:
        while True:
            while not self._orders:
                self._hear(self._line.receive())
            self._decode(self._orders.popleft())

    def _decode(self, order: Message) -> None:
        medium = order["medium"]
        self._line.send({"begin": medium})
        frames = 0
        try:
            for frame in self._frames(order):
                self._deliver(medium, frame)
                frames += 1
        except (MediaError, OSError, MemoryError, cv2.error) as error:
            if not frames:
                self._line.send({"failed": medium, "reason": _reason(error)})
                return
            remark = f"breaks off: {_reason(error)}"
            self._line.send({"end": medium, "remark": remark})
            return
        if frames:
            self._line.send({"end": medium, "remark": None})
        else:
            self._line.send({"failed": medium, "reason": "holds no frame that can be decoded"})

    def _frames(self, order: Message) -> Iterator[DecodedFrame]:
        path = Path(order["path"])
        if order["kind"] == "image":
            picture = decode_still(path, order["width"], order["height"], order["network_side"])
            return iter([DecodedFrame(picture, 0, 0, True)])
        return decode_video(path, SamplingPlan(**order["plan"]), order["max_pixels"])

    def _deliver(self, medium: str, frame: DecodedFrame) -> None:
        while not self._free or self._line.waiting():
            self._hear(self._line.receive())
        slot = self._free.popleft()
        height, width = frame.picture.shape[:2]
        start = slot * SLOT_BYTES
        place = np.frombuffer(self._arena, np.uint8, frame.picture.size, start)
        place[:] = frame.picture.reshape(-1)
        self._line.send(
            {
                "frame": medium,
                "slot": slot,
                "height": height,
                "width": width,
                "number": frame.number,
                "time_ms": frame.time_ms,
                "moved": frame.moved,
            }
        )

    def _hear(self, message: Message) -> None:
        if "slot" in message:
            self._free.append(message["slot"])
        else:
            self._orders.append(message)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def main() -> None:
    live_and_die_with_parent()
    cv2.setNumThreads(1)
    av.logging.set_level(av.logging.FATAL)  # what is wrong with a file is told in its row
    line_descriptor, arena_descriptor = map(int, sys.argv[1:])
    with mmap.mmap(arena_descriptor, 0) as arena, suppress(EOFError, ConnectionError):
        DecodingProcess(ParentLine(line_descriptor), arena).run()


if __name__ == "__main__":
    main()
