"""The decoding process: decodes media files into pictures, one after the other.

`decode_pool.DecodePool` runs it as a child process, because decoders crash and hang on damaged
files. It receives requests (a medium) and free slots of the shared arena, and sends `begin`,
`frame`, `end` and `failed`. Pictures go through the arena, messages through a socket.

Pictures are upright, uint8, BGR, [height, width, 3].
"""

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

from odins_ravne_assets.munin.detection.frame_sampling import FrameCounter, SamplingPlan
from odins_ravne_assets.munin.detection.motion_gate import MotionDetector
from odins_ravne_assets.munin.detection.still_decoding import (
    MAX_PIXELS,
    Picture,
    decode_still,
    within_limits,
)
from odins_ravne_assets.munin.media.child_process import (
    MemoryLimit,
    Message,
    ParentConnection,
    exit_with_parent,
    failure_reason,
)
from odins_ravne_assets.munin.media.media_files import Format
from odins_ravne_assets.munin.media.video_file import open_video
from resources.errors import MediaError

SLOT_BYTES = MAX_PIXELS * 3
# Memory that decoding may take: the libraries' own, and for each pixel the buffers of a progressive
# JPEG, or the frames that the threads of a video's decoder hold.
BASE_MEMORY_BYTES = 2**30
STILL_BYTES_PER_PIXEL, VIDEO_BYTES_PER_PIXEL = 12, 64


class DecodedFrame(NamedTuple):
    """A frame on the host."""

    picture: Picture  # upright, uint8 BGR [height, width, 3]
    number: int  # 0-based, in order of presentation
    time_ms: int  # since the first frame
    moved: bool  # has motion, see MotionDetector; always true for a still


def decode_video(
    path: Path, media_format: Format, plan: SamplingPlan, max_pixels: float
) -> Iterator[DecodedFrame]:
    """Yield the sampled frames of a video, with exact times.

    Args:
        media_format: by the file's content, from the media table.
        max_pixels: frames larger than this are refused.

    Raises:
        MediaError: the file is truncated, after its last good frame; or it cannot be decoded.
    """
    motion = MotionDetector(plan.motion_threshold) if plan.motion_gate else None
    try:
        with open_video(path, media_format) as container:
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
                picture = within_limits(_upright(frame))
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


class DecodeProcess:
    """The loop of the child process."""

    def __init__(
        self, parent: ParentConnection, arena: mmap.mmap, memory: MemoryLimit | None
    ) -> None:
        self._parent = parent
        self._arena = arena
        self._memory = memory  # None: no limit
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
        started, self._waited = perf_counter(), 0.0
        if self._memory:
            self._memory.allow(_memory_bytes(request))
        # The exception is gone when this returns, and with it the decoder and its threads.
        frames, problem = self._send_frames(request)
        # Without the seconds in which no slot was free.
        seconds = perf_counter() - started - self._waited
        if frames:
            remark = f"truncated: {problem}" if problem else None
            self._parent.send({"end": medium, "remark": remark, "seconds": seconds})
        else:
            reason = problem or "holds no frame that can be decoded"
            self._parent.send({"failed": medium, "reason": reason, "seconds": seconds})

    def _send_frames(self, request: Message) -> tuple[int, str | None]:
        """Send the frames of a medium; return their number, and why there are no more."""
        frames = 0
        try:
            for message in self._frame_messages(request):
                self._parent.send({"frame": request["medium"], **message})
                frames += 1
        except (EOFError, ConnectionError):
            raise  # of the parent
        except Exception as error:  # noqa: BLE001 (the file fails, whatever a decoder raises)
            return frames, failure_reason(error)
        return frames, None

    def _frame_messages(self, request: Message) -> Iterator[Message]:
        """Yield a message for each frame of the medium, after it was copied to a slot."""
        path, plan = Path(request["path"]), SamplingPlan(**request["plan"])
        if request["kind"] == "image":
            picture = decode_still(
                path,
                request["format"],
                request["width"],
                request["height"],
                request["network_side"],
            )
            yield self._copy_to_slot(DecodedFrame(picture, 0, 0, True))
            return
        if self._device:
            from odins_ravne_assets.munin.detection.gpu_video import NotOnDeviceError

            # Raised before the first frame of a video that the GPU cannot decode.
            with suppress(NotOnDeviceError):
                yield from self._decode_on_device(path, plan, request, *self._device)
                return
        for frame in decode_video(path, request["format"], plan, request["max_pixels"]):
            yield self._copy_to_slot(frame)

    def _decode_on_device(
        self, path: Path, plan: SamplingPlan, request: Message, device: str, buffer: Any
    ) -> Iterator[Message]:
        from gpu_kernels.preprocessing.device_picture import DeviceFrame
        from odins_ravne_assets.munin.detection import gpu_video

        motion = gpu_video.DeviceMotionDetector(plan.motion_threshold) if plan.motion_gate else None
        decoded = gpu_video.decode_on_device(
            path, request["format"], plan, request["max_pixels"], SLOT_BYTES, device
        )
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
            if name != "cpu":
                self._memory = None  # CUDA reserves more than the machine has
            try:
                self._device = (name, open_buffer(name, size, handle, self._arena))
            except NotSharedError as error:
                self._parent.send({"sharing_error": str(error)})
        else:
            self._requests.append(message)


def _memory_bytes(request: Message) -> int:
    """Return the memory that decoding a medium may take, in bytes."""
    per_pixel = STILL_BYTES_PER_PIXEL if request["kind"] == "image" else VIDEO_BYTES_PER_PIXEL
    pixels: int = request["width"] * request["height"]
    return BASE_MEMORY_BYTES + per_pixel * pixels


def main() -> None:
    exit_with_parent()
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the row has the reason
    parent_descriptor, arena_descriptor = map(int, sys.argv[1:])
    with mmap.mmap(arena_descriptor, 0) as arena, suppress(EOFError, ConnectionError):
        DecodeProcess(ParentConnection(parent_descriptor), arena, MemoryLimit()).run()


if __name__ == "__main__":
    main()
