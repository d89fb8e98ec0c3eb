"""Decoding of videos on the GPU, where the frames stay; see `decode_process.decode_video`.

The worker has a buffer on the device with as many slots as the arena of shared memory has. The
decoding process opens the same memory (CUDA IPC) and copies frames to slots as NV12: the rows of
luma, then chroma of half the height. Videos that the GPU cannot decode, or whose frames exceed a
slot, are decoded by the CPU.

The device `cpu` stands for a GPU in tests: frames are decoded by the CPU, converted to NV12, and
then treated the same.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_bytes
from typing import Any, NamedTuple

import av
import numpy as np
import warp as wp
from av.codec.hwaccel import HWAccel

from gpu_kernels.device.gpu_preprocessing import downscale_to_grey, motion_energy
from gpu_kernels.device.streams import load_kernels
from gpu_kernels.preprocessing.device_picture import ColourMatrix, DeviceFrame, DevicePicture
from odins_ravne_assets.munin.detection.frame_sampling import FrameCounter, SamplingPlan
from odins_ravne_assets.munin.detection.motion_gate import COMPARED_WIDTH, TILE, TILE_CHANGE
from odins_ravne_assets.munin.media.media_files import Format
from odins_ravne_assets.munin.media.video_file import open_video
from resources.errors import EngineError, MediaError

# FFmpeg's numbers of colour spaces and ranges (AVColorSpace, AVColorRange).
BT709, FULL_RANGE = 1, 2
WEIGHTS = {BT709: (0.2126, 0.0722)}
BT601_WEIGHTS = (0.299, 0.114)
NV12 = "nv12"

# A random token at the end of the buffer identifies it.
TOKEN_BYTES = 16
# FFmpeg uses the current CUDA context, which is Warp's. It refuses the GPU's primary context,
# although that is the same one: Warp created it with other flags than FFmpeg's.
CURRENT_CONTEXT: dict[str, object] = {"primary_ctx": "0", "current_ctx": "1"}


class NotSharedError(Exception):
    """Another process cannot open the worker's buffer."""


class NotOnDeviceError(Exception):
    """The GPU cannot decode this video; decode it on the CPU."""


class DecodedDeviceFrame(NamedTuple):
    """A frame on the GPU."""

    frame: Any  # PyAV's, on the device
    number: int  # 0-based, in order of presentation
    time_ms: int  # since the first frame


def allocate_buffer(device: str, size: int, host: Any) -> tuple[Any, str]:
    """Allocate the worker's buffer.

    Args:
        size: bytes; TOKEN_BYTES more are allocated.
        host: the arena of shared memory, of as many bytes, which the device `cpu` uses.

    Returns:
        The buffer, and the handle by which another process opens it.

    Raises:
        EngineError: the GPU's memory cannot be shared between processes on this machine.
    """
    load_kernels(device)
    if device == "cpu":
        buffer, handle = _of_host(host), b""
    else:
        with wp.ScopedMempool(device, False):  # pooled memory cannot be shared
            buffer = wp.empty(size + TOKEN_BYTES, dtype=wp.uint8, device=device)
        try:
            handle = buffer.ipc_handle()
        except RuntimeError as error:
            raise sharing_error(str(error)) from None
    token = token_bytes(TOKEN_BYTES)
    buffer[size:].assign(np.frombuffer(token, np.uint8))
    wp.synchronize_device(device)
    return buffer, f"{handle.hex()} {token.hex()}"


def open_buffer(device: str, size: int, handle: str, host: Any) -> Any:
    """Open the worker's buffer in the decoding process.

    Raises:
        NotSharedError: it is another buffer. Warp raises no error if it cannot open the
            worker's memory, but allocates memory of this process.
    """
    load_kernels(device)
    ipc_handle, token = map(bytes.fromhex, handle.split(" "))
    if device == "cpu":
        buffer = _of_host(host)
    else:
        shape = (size + TOKEN_BYTES,)
        buffer = wp.from_ipc_handle(ipc_handle, wp.uint8, shape, device=device)
    if buffer[size:].numpy().tobytes() != token:
        raise NotSharedError("CUDA does not open it in another process")
    return buffer


def _of_host(host: Any) -> Any:
    return wp.array(np.frombuffer(host, np.uint8), dtype=wp.uint8, device="cpu", copy=False)


def sharing_error(reason: str) -> EngineError:
    """Return the error for a GPU whose memory cannot be shared."""
    return EngineError(
        f"the GPU's memory cannot be shared with the processes that decode videos: {reason}; set "
        "pipeline.stage1.video_decoder: cpu"
    )


@contextmanager
def _open(path: Path, media_format: Format, device: str) -> Iterator[Any]:
    """Open a container whose frames stay on the device, in Warp's context."""
    try:
        accelerated = (
            None
            if device == "cpu"
            else HWAccel("cuda", allow_software_fallback=False, options=CURRENT_CONTEXT,
                         is_hw_owned=True)
        )  # fmt: skip
        with wp.ScopedDevice(device):
            container = open_video(path, media_format, hwaccel=accelerated)
    except (av.error.FFmpegError, NotImplementedError, RuntimeError, ValueError) as error:
        raise NotOnDeviceError(str(error)) from None
    with container:
        yield container


def decode_on_device(
    path: Path,
    media_format: Format,
    plan: SamplingPlan,
    max_pixels: float,
    slot_bytes: int,
    device: str,
) -> Iterator[DecodedDeviceFrame]:
    """Yield the sampled frames of a video.

    Raises:
        NotOnDeviceError: the CPU must decode it; raised before the first frame.
        MediaError: it is truncated, or its frames are refused.
    """
    started = False
    try:
        with _open(path, media_format, device) as container:
            if not container.streams.video:
                raise NotOnDeviceError("no video")
            stream = container.streams.video[0]
            width, height = stream.codec_context.width, stream.codec_context.height
            if width * height > max_pixels or width * height * 3 // 2 > slot_bytes:
                raise NotOnDeviceError("too large for a slot")
            if width % 2 or height % 2:
                raise NotOnDeviceError("odd sizes have no NV12")
            if plan.sampling == "keyframes":
                stream.codec_context.skip_frame = "NONKEY"
            rate = float(stream.average_rate or stream.guessed_rate or 0) or 1.0
            frames = FrameCounter(container.decode(stream))
            for number, time_ms, frame in plan.select(frames, rate):
                yield DecodedDeviceFrame(_as_nv12(frame, device), number, time_ms)
                started = True
            if plan.sampling != "keyframes":
                frames.raise_if_truncated(stream.frames)
    except (av.error.FFmpegError, NotImplementedError, ValueError, OverflowError) as error:
        if not started:
            raise NotOnDeviceError(str(error)) from None
        raise MediaError(f"the video cannot be decoded: {error}") from None


def _as_nv12(frame: Any, device: str) -> Any:
    if device == "cpu":
        return frame.reformat(format=NV12)
    if frame.sw_format is None or frame.sw_format.name != NV12:  # ten bits, or four chroma
        raise NotImplementedError(f"frames of {frame.sw_format}")
    return frame


def copy_to_slot(buffer: Any, start: int, frame: Any) -> DevicePicture:
    """Copy a frame to the slot at offset `start`, and wait for the copy."""
    height, width = frame.height, frame.width
    # Without a stream, because PyAV refuses one: FFmpeg writes frames on CUDA's default stream, and
    # Warp's streams wait for that one.
    luma, chroma = (wp.from_dlpack(plane.__dlpack__()) for plane in frame.planes[:2])
    middle, end = start + height * width, start + height * width * 3 // 2
    wp.copy(buffer[start:middle].reshape((height, width)), luma)
    wp.copy(buffer[middle:end].reshape((height // 2, width // 2, 2)), chroma)
    wp.synchronize_device(buffer.device)
    turns = round((frame.rotation or 0) / 90) % 4
    upright = (width, height) if turns % 2 else (height, width)
    weights = WEIGHTS.get(frame.colorspace, BT601_WEIGHTS)
    colour = ColourMatrix.from_weights(*weights, full_range=frame.color_range == FULL_RANGE)
    return DevicePicture(*upright, start, width, turns, middle, width, colour)


def picture_message(picture: DevicePicture) -> dict[str, Any]:
    """Return a picture as a message, without the offset of its slot, which the worker knows."""
    colour = [getattr(picture.colour, name) for name in ColourMatrix.__dataclass_fields__]
    return {"turns": picture.turns, "colour": colour}


def parse_picture(message: dict[str, Any], height: int, width: int, start: int) -> DevicePicture:
    """Return the picture of a message, within its slot: the sender is not trusted.

    Raises:
        ValueError: the message is invalid.
    """
    turns, colour = int(message["turns"]), [float(each) for each in message["colour"]]
    if turns not in range(4) or height < 1 or width < 1:
        raise ValueError("invalid picture")
    if len(colour) != len(ColourMatrix.__dataclass_fields__) or not all(map(math.isfinite, colour)):
        raise ValueError("invalid colours")
    stored = height if turns % 2 else width
    chroma = start + height * width
    return DevicePicture(height, width, start, stored, turns, chroma, stored, ColourMatrix(*colour))


class DeviceMotionDetector:
    """`motion_gate.MotionDetector` on the device."""

    def __init__(self, threshold: float) -> None:
        """Args:
        threshold: share of changed tiles, 0 to 1, above which a picture has motion.
        """
        self._threshold = threshold
        self._reference: Any = None

    def moved(self, frame: DeviceFrame) -> bool:
        """Return True if this picture has motion; the first one has."""
        height, width, _ = frame.shape
        small = max(TILE, round(COMPARED_WIDTH * height / width))
        grey = downscale_to_grey(frame.buffer, frame.picture, small, COMPARED_WIDTH)
        if self._reference is None or self._reference.shape != grey.shape:
            self._reference = grey
            return True
        tiles = max(1, small // TILE), max(1, COMPARED_WIDTH // TILE)
        energy = motion_energy(grey, self._reference, *tiles)
        moved = bool((energy > TILE_CHANGE).mean() > self._threshold)
        if moved:
            self._reference = grey
        return moved
