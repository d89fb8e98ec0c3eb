"""The decoding process: decodes media files into pictures, one after the other.

`decode_pool.DecodePool` runs it as a child process, because decoders crash and hang on damaged
files. It receives requests (a medium) and free slots of the shared arena, and sends `begin`,
`frame`, `end` and `failed`. Pictures go through the arena, messages through a socket.

Pictures are upright, uint8, BGR, [height, width, 3].
"""

import math
import mmap
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import numpy.typing as npt

from odins_ravne_assets.munin.detection.frame_sampling import FrameCounter, SamplingPlan
from odins_ravne_assets.munin.detection.motion_gate import MotionDetector
from odins_ravne_assets.munin.media.child_process import (
    Message,
    ParentConnection,
    exit_with_parent,
)
from resources.errors import MediaError

Picture = npt.NDArray[np.uint8]

# Largest decoded picture, in pixels; larger ones are scaled down to it. Detectors take 0.4 to 1.6
# megapixels, and crops of 4 megapixels still show a mouse.
MAX_PIXELS = 4_000_000
SLOT_BYTES = MAX_PIXELS * 3
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
# A still is decoded at a half, a quarter or an eighth of its size if its short side is then still
# this many times the detector's input: decoding is faster, and crops have enough detail.
MIN_SIDE_RATIO = 1.5
REDUCED_SCALES = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)


class DecodedFrame(NamedTuple):
    """A frame on the host."""

    picture: Picture  # upright, uint8 BGR [height, width, 3]
    number: int  # 0-based, in order of presentation
    time_ms: int  # since the first frame
    moved: bool  # has motion, see MotionDetector; always true for a still


def decode_still(path: Path, width: int, height: int, network_side: int) -> Picture:
    """Decode an image file to an upright BGR picture, at reduced scale if it is large enough.

    Args:
        width, height: of the upright picture, by its header.
        network_side: the longer side of the detector's input, in pixels.

    Raises:
        MediaError: it cannot be decoded.
    """
    data = np.frombuffer(_with_end_marker(path.read_bytes()), np.uint8)
    flag: int = cv2.IMREAD_COLOR
    for factor, reduced in REDUCED_SCALES:
        if min(width, height) / factor >= network_side * MIN_SIDE_RATIO:
            flag = reduced
            break
    picture = cv2.imdecode(data, flag) if data.size else None
    if picture is None:
        raise MediaError("the image cannot be decoded")
    return _within_limits(np.asarray(picture, np.uint8))


def _with_end_marker(data: bytes) -> bytes:
    """Append the end marker of a JPEG: without it OpenCV does not decode a truncated one."""
    return data + JPEG_END if data.startswith(JPEG_START) else data


def decode_video(path: Path, plan: SamplingPlan, max_pixels: float) -> Iterator[DecodedFrame]:
    """Yield the sampled frames of a video, with exact times.

    Args:
        max_pixels: frames larger than this are refused.

    Raises:
        MediaError: the file is truncated, after its last good frame; or it cannot be decoded.
    """
    motion = MotionDetector(plan.motion_threshold) if plan.motion_gate else None
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
            frames = FrameCounter(container.decode(stream))
            for number, time, frame in plan.select(frames, rate):
                picture = _within_limits(_upright(frame))
                moved = motion.moved(picture) if motion else True
                yield DecodedFrame(picture, number, time, moved)
            if plan.sampling != "keyframes":
                frames.raise_if_truncated(stream.frames)
    except av.error.FFmpegError as error:
        raise MediaError(f"the video cannot be decoded: {error.strerror}") from None
    except (ValueError, OverflowError) as error:
        raise MediaError(f"the video cannot be decoded: {error}") from None


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


class DecodeProcess:
    """The loop of the child process."""

    def __init__(self, parent: ParentConnection, arena: mmap.mmap) -> None:
        self._parent = parent
        self._arena = arena
        self._device: tuple[str, Any] | None = None  # its name, and the worker's buffer on it
        self._free: deque[int] = deque()
        self._waited = 0.0  # seconds without a free slot, in this medium
        self._requests: deque[Message] = deque()

    def run(self) -> None:
        while True:
            while not self._requests:
                self._handle(self._parent.receive())
            self._decode(self._requests.popleft())

    def _decode(self, request: Message) -> None:
        medium = request["medium"]
        self._parent.send({"begin": medium})
        frames, started, self._waited = 0, perf_counter(), 0.0

        def decoding_seconds() -> float:
            """Return the seconds without those in which no slot was free."""
            return perf_counter() - started - self._waited

        try:
            for message in self._frame_messages(request):
                self._parent.send({"frame": medium, **message})
                frames += 1
        except (MediaError, OSError, MemoryError, cv2.error) as error:
            if not frames:
                failed = {"failed": medium, "reason": _reason(error)}
                self._parent.send({**failed, "seconds": decoding_seconds()})
                return
            remark = f"truncated: {_reason(error)}"
            self._parent.send({"end": medium, "remark": remark, "seconds": decoding_seconds()})
            return
        if frames:
            self._parent.send({"end": medium, "remark": None, "seconds": decoding_seconds()})
        else:
            failed = {"failed": medium, "reason": "holds no frame that can be decoded"}
            self._parent.send({**failed, "seconds": decoding_seconds()})

    def _frame_messages(self, request: Message) -> Iterator[Message]:
        """Yield a message for each frame of the medium, after it was copied to a slot."""
        path, plan = Path(request["path"]), SamplingPlan(**request["plan"])
        if request["kind"] == "image":
            picture = decode_still(
                path, request["width"], request["height"], request["network_side"]
            )
            yield self._copy_to_slot(DecodedFrame(picture, 0, 0, True))
            return
        if self._device:
            from odins_ravne_assets.munin.detection.gpu_video import NotOnDeviceError

            # Raised before the first frame of a video that the GPU cannot decode.
            with suppress(NotOnDeviceError):
                yield from self._decode_on_device(path, plan, request["max_pixels"], *self._device)
                return
        for frame in decode_video(path, plan, request["max_pixels"]):
            yield self._copy_to_slot(frame)

    def _decode_on_device(
        self, path: Path, plan: SamplingPlan, max_pixels: float, device: str, buffer: Any
    ) -> Iterator[Message]:
        from gpu_kernels.preprocessing.device_picture import DeviceFrame
        from odins_ravne_assets.munin.detection import gpu_video

        motion = gpu_video.DeviceMotionDetector(plan.motion_threshold) if plan.motion_gate else None
        decoded = gpu_video.decode_on_device(path, plan, max_pixels, SLOT_BYTES, device)
        for frame, number, time_ms in decoded:
            slot = self._free_slot()
            picture = gpu_video.copy_to_slot(buffer, slot * SLOT_BYTES, frame)
            moved = motion.moved(DeviceFrame(buffer, picture)) if motion else True
            yield {
                "slot": slot,
                "height": picture.height,
                "width": picture.width,
                "number": number,
                "time_ms": time_ms,
                "moved": moved,
                "nv12": gpu_video.picture_message(picture),
            }

    def _copy_to_slot(self, frame: DecodedFrame) -> Message:
        slot = self._free_slot()
        height, width = frame.picture.shape[:2]
        start = slot * SLOT_BYTES
        place = np.frombuffer(self._arena, np.uint8, frame.picture.size, start)
        place[:] = frame.picture.reshape(-1)
        return {
            "slot": slot,
            "height": height,
            "width": width,
            "number": frame.number,
            "time_ms": frame.time_ms,
            "moved": frame.moved,
        }

    def _free_slot(self) -> int:
        started = perf_counter()
        while not self._free or self._parent.has_message():
            self._handle(self._parent.receive())
        self._waited += perf_counter() - started
        return self._free.popleft()

    def _handle(self, message: Message) -> None:
        if "slot" in message:
            self._free.append(message["slot"])
        elif "device" in message:
            from odins_ravne_assets.munin.detection.gpu_video import NotSharedError, open_buffer

            name, size, handle = message["device"], message["bytes"], message["handle"]
            try:
                self._device = (name, open_buffer(name, size, handle, self._arena))
            except NotSharedError as error:
                self._parent.send({"sharing_error": str(error)})
        else:
            self._requests.append(message)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "needs more memory than is available"
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def main() -> None:
    exit_with_parent()
    cv2.setNumThreads(1)
    av.logging.set_level(av.logging.FATAL)  # errors are recorded in the file's row
    parent_descriptor, arena_descriptor = map(int, sys.argv[1:])
    with mmap.mmap(arena_descriptor, 0) as arena, suppress(EOFError, ConnectionError):
        DecodeProcess(ParentConnection(parent_descriptor), arena).run()


if __name__ == "__main__":
    main()
