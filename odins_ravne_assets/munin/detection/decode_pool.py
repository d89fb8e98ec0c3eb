"""A pool of decoding processes: takes media, yields frames in parallel to inference.

Each decoding process has a thread here that feeds it, watches it, and restarts it when a file
crashes it. Frames stay in slots of shared memory until they are released, so decoders wait when all
slots are in use.
"""

import mmap
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gpu_kernels.preprocessing.device_picture import DeviceFrame
from odins_ravne_assets.munin.detection.decode_process import SLOT_BYTES
from odins_ravne_assets.munin.detection.frame_sampling import SamplingPlan
from odins_ravne_assets.munin.detection.shared_memory import anonymous_file
from odins_ravne_assets.munin.media.child_process import (
    INVALID_MESSAGE,
    ChildDiedError,
    ChildHungError,
    ChildProcess,
    Message,
    one_line,
)
from odins_ravne_assets.munin.media.media_files import Format
from odins_ravne_assets.munin.media.probe import CHANGED, MAX_INT32, MAX_VIDEO_SECONDS
from odins_ravne_assets.munin.media.source_store import Footage, is_remote, locate
from resources.errors import StoreError
from resources.storage.object_store import modified_ns

# Seconds between checks of a decoder that sends nothing.
POLL_SECONDS = 0.5
# Attempts at a medium: two that it crashes or hangs, and one that an earlier medium spoils.
MAX_STARTS = 3
# Seconds that a new process may take to load its libraries on a busy machine.
START_SECONDS = 60.0
# The numbers of a message with a frame.
MAX_NUMBERS = dict.fromkeys(("slot", "height", "width", "number"), MAX_INT32) | {
    "time_ms": round(MAX_VIDEO_SECONDS * 1000)
}
# The keys by which messages of the child name their medium.
MESSAGES = ("begin", "frame", "end", "failed")


@dataclass(frozen=True)
class Medium:
    """A media file to process."""

    content_hash: str
    path: str  # key in the camera's footage
    kind: str  # image | video
    format: Format
    width: int
    height: int
    bytes: int
    modified_ns: int  # the file's date when its content was hashed, nanoseconds since 1970 UTC
    duration_seconds: float | None = None  # of a video, by its container

    def is_at(self, path: Path, is_copy: bool) -> bool:
        """Return True if the file at `path` has the size and date that Stage 0 read.

        A copy of an object on S3 has a date of its own.
        """
        try:
            stat = path.stat()
        except OSError:
            return False
        same_date = is_copy or modified_ns(stat) == self.modified_ns
        return stat.st_size == self.bytes and same_date


@dataclass(frozen=True)
class MediumStarted:
    """A medium's frames follow. Sent again after a crash of its decoder; discard earlier frames."""

    medium: Medium


@dataclass(frozen=True)
class Frame:
    """One frame to process; `release` it when its picture is no longer needed."""

    medium: Medium
    # Upright BGR [height, width, 3], or its location on the GPU; valid until released.
    picture: npt.NDArray[np.uint8] | DeviceFrame
    number: int  # 0-based, in order of presentation
    time_ms: int  # since the first frame
    moved: bool  # has motion, see MotionDetector; always true for a still
    _slot: int
    _owner: "_DecoderThread"

    def release(self) -> None:
        """Free the slot for another frame."""
        self._owner.release(self._slot)


@dataclass(frozen=True)
class MediumEnded:
    """All frames of a medium were sent; the remark says if it is truncated."""

    medium: Medium
    remark: str | None


@dataclass(frozen=True)
class MediumFailed:
    """No frame of a medium could be used."""

    medium: Medium
    reason: str


@dataclass(frozen=True)
class MediumUnavailable:
    """The medium could not be read, or was replaced since; the next run tries again."""

    medium: Medium
    reason: str


DecodeEvent = MediumStarted | Frame | MediumEnded | MediumFailed | MediumUnavailable
TakeMedium = Callable[[], Medium | MediumFailed | None]


@dataclass(frozen=True)
class DecodeSettings:
    """Settings of decoding."""

    plan: SamplingPlan
    max_pixels: float  # of a picture; larger ones are refused
    network_side: int  # longer side of the detector's input, in pixels
    timeout: float  # seconds without a frame after which the decoder counts as hung
    processes: int
    slots: int  # frames that may wait, per process
    device: str | None = None  # the GPU that decodes videos, as cuda:0; None: the CPU does


class DecodePool:
    """Decodes media in child processes and yields the frames.

    Args:
        footage: the store with the media, by path.
        media: the media to decode, an iterator that several threads advance in turn. A
            `MediumFailed` is passed on as an event.
    """

    def __init__(
        self, footage: Footage, media: Iterator[Medium | MediumFailed], settings: DecodeSettings
    ) -> None:
        self._media = media
        self._media_lock = threading.Lock()
        self._stop = threading.Event()
        # Bounded by the slots of the threads.
        self._events: SimpleQueue[DecodeEvent | BaseException | None] = SimpleQueue()
        self._threads = [
            _DecoderThread(self._take, footage, settings, self._events)
            for _ in range(settings.processes)
        ]

    def events(self) -> Iterator[DecodeEvent]:
        """Yield events, in order per medium; events of several processes are mixed."""
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        while running:
            event = self._events.get()
            if isinstance(event, BaseException):
                raise event
            if event is None:
                running -= 1
            else:
                yield event

    def no_event_ready(self) -> bool:
        """Return True if `events` would have to wait for a decoder now."""
        return self._events.empty()

    @property
    def capacity(self) -> int:
        """Decoded frames that may be in use; decoders wait beyond it."""
        return sum(thread.capacity for thread in self._threads)

    @property
    def seconds(self) -> float:
        """The decoding time of all processes together."""
        return sum(thread.seconds for thread in self._threads)

    def frames_in_use(self) -> int:
        """Return the number of decoded frames that are not released."""
        return sum(thread.frames_in_use() for thread in self._threads)

    def stop(self) -> None:
        """Start no further medium; finish those in progress."""
        self._stop.set()

    def close(self) -> None:
        """Terminate all decoding processes at once."""
        self._stop.set()
        for thread in self._threads:
            thread.close()

    def _take(self) -> Medium | MediumFailed | None:
        with self._media_lock:
            medium = None if self._stop.is_set() else next(self._media, None)
        # The iterator may have blocked for long.
        return None if self._stop.is_set() else medium


class _DecoderThread:
    """The thread of one decoding process."""

    def __init__(
        self,
        take: TakeMedium,
        footage: Footage,
        settings: DecodeSettings,
        events: "SimpleQueue[DecodeEvent | BaseException | None]",
    ) -> None:
        self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)
        self._take = take
        self._footage = footage
        self._settings = settings
        self._events = events
        self.seconds = 0.0  # of decoding, by all its child processes
        self._arena_file = anonymous_file(self._arena_bytes())
        self._arena = mmap.mmap(self._arena_file, 0)
        self._buffer, self._handle = self._device_buffer()
        self._lock = threading.Lock()  # guards the three below
        self._free = set(range(settings.slots))
        self._child: ChildProcess | None = None
        self._closed = False
        self._begun = False  # the child has begun with the current medium
        self._is_new = False  # the child has not answered yet

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _arena_bytes(self) -> int:
        if self._settings.device is None:
            return self._bytes
        from odins_ravne_assets.munin.detection.gpu_video import TOKEN_BYTES

        return self._bytes + TOKEN_BYTES

    def _device_buffer(self) -> tuple[Any, str]:
        """Return a buffer with as many slots on the device, and the handle for the child."""
        if self._settings.device is None:
            return None, ""
        from odins_ravne_assets.munin.detection.gpu_video import allocate_buffer

        return allocate_buffer(self._settings.device, self._bytes, self._arena)

    @property
    def _bytes(self) -> int:
        return SLOT_BYTES * self._settings.slots

    def _run(self) -> None:
        try:
            while medium := self._take():
                if isinstance(medium, MediumFailed):
                    self._events.put(medium)
                else:
                    self._events.put(self._decode(medium))
        except BaseException as error:  # noqa: BLE001 (raised in the thread that reads events)
            self._events.put(error)
        else:
            self._events.put(None)
        finally:
            self.close()

    def close(self) -> None:
        """Terminate the child. Frames in use stay readable."""
        with self._lock:
            self._closed = True
            if self._child:
                self._child.stop()
                self._child = None

    @property
    def capacity(self) -> int:
        return self._settings.slots

    def frames_in_use(self) -> int:
        with self._lock:
            return self.capacity - len(self._free)

    def release(self, slot: int) -> None:
        with self._lock:
            self._free.add(slot)
            if self._child:
                # This thread notices a crash itself, and sends all free slots to the next child.
                with suppress(ChildDiedError):
                    self._child.send({"slot": slot})

    def _decode(self, medium: Medium) -> MediumEnded | MediumFailed | MediumUnavailable:
        """Decode a medium; once more in a new process if it crashes or hangs the decoder.

        What happens before the decoder begins with the medium is the fault of an earlier one, or of
        the machine: after MAX_STARTS the medium is left to the next run.
        """
        failures: list[str] = []
        for _ in range(MAX_STARTS):
            self._begun = False
            try:
                store, key = locate(self._footage, medium.path)
                with store.reading(key) as path:
                    return self._try_unchanged(medium, path, is_remote(store))
            except (ChildDiedError, ChildHungError) as error:
                self._discard_child()
                failure = str(error)
                failures += [failure] * self._begun
            except StoreError as error:
                return MediumUnavailable(medium, str(error))
            if self._closed:
                break
            if len(failures) > 1:
                same = len(set(failures)) == 1
                end = f"{failure} twice" if same else f"{failures[0]}, then {failures[1]}"
                return MediumFailed(medium, f"the decoder {end} in this file")
        return MediumUnavailable(medium, f"the decoder {failure}")

    def _try_unchanged(
        self, medium: Medium, path: Path, is_copy: bool
    ) -> MediumEnded | MediumFailed | MediumUnavailable:
        """Decode a medium if its file is what Stage 0 read, before and after."""
        if medium.is_at(path, is_copy):
            outcome = self._try(medium, self._request(medium, str(path)))
            if medium.is_at(path, is_copy):
                return outcome
        return MediumUnavailable(medium, CHANGED)

    def _try(self, medium: Medium, request: Message) -> MediumEnded | MediumFailed:
        child = self._ready_child()
        started = monotonic()
        child.send(request)
        while True:
            message = self._next_message(child)
            if "sharing_error" in message:
                from odins_ravne_assets.munin.detection.gpu_video import sharing_error

                raise sharing_error(str(message["sharing_error"]))
            if medium.content_hash not in {message.get(kind) for kind in MESSAGES}:
                raise ChildDiedError(INVALID_MESSAGE)
            if "begin" in message:
                self._begun = True
                self._events.put(MediumStarted(medium))
            elif "frame" in message:
                self._events.put(self._frame(medium, message))
            else:
                self._add_seconds(message, monotonic() - started)
                if "end" in message:
                    remark = message.get("remark")
                    return MediumEnded(medium, one_line(str(remark)) if remark else None)
                return MediumFailed(medium, one_line(str(message.get("reason"))))

    def _add_seconds(self, message: Message, elapsed: float) -> None:
        """Add the decoding time that the child reports; untrusted, so at most the elapsed time."""
        seconds = message.get("seconds", 0.0)
        if isinstance(seconds, float) and 0.0 <= seconds <= elapsed:
            self.seconds += seconds

    def _next_message(self, child: ChildProcess) -> Message:
        """Return the child's next message; the timeout counts only time with a free slot."""
        idle, poll = 0.0, min(POLL_SECONDS, self._settings.timeout)
        while True:
            try:
                message = child.receive(poll)
                self._is_new = False
                return message
            except ChildHungError:
                with self._lock:
                    idle = idle + poll if self._free else 0.0
                timeout = self._settings.timeout
                if idle >= (max(timeout, START_SECONDS) if self._is_new else timeout):
                    raise ChildHungError(f"hung (no frame for {timeout:g} s)") from None

    def _frame(self, medium: Medium, message: Message) -> Frame:
        # The child is not trusted.
        numbers = [message.get(name) for name in MAX_NUMBERS]
        if not all(
            type(number) is int and 0 <= number <= most
            for number, most in zip(numbers, MAX_NUMBERS.values(), strict=True)
        ):
            raise ChildDiedError(INVALID_MESSAGE)
        slot, height, width, number, time_ms = cast(list[int], numbers)
        with self._lock:
            # A slot that is not free may hold a frame in use.
            if slot not in self._free or not 0 < height * width * 3 <= SLOT_BYTES:
                raise ChildDiedError(INVALID_MESSAGE)
            self._free.remove(slot)
        picture = self._picture(message, height, width, slot * SLOT_BYTES)
        moved = bool(message.get("moved", True))
        return Frame(medium, picture, number, time_ms, moved, slot, self)

    def _picture(
        self, message: Message, height: int, width: int, start: int
    ) -> npt.NDArray[np.uint8] | DeviceFrame:
        if "nv12" not in message:
            pixels = np.frombuffer(self._arena, np.uint8, height * width * 3, start)
            return pixels.reshape(height, width, 3)
        from odins_ravne_assets.munin.detection.gpu_video import parse_picture

        try:
            return DeviceFrame(self._buffer, parse_picture(message["nv12"], height, width, start))
        except (KeyError, TypeError, ValueError):
            raise ChildDiedError(INVALID_MESSAGE) from None

    def _ready_child(self) -> ChildProcess:
        with self._lock:
            if self._closed:
                raise ChildDiedError("was stopped")
            if self._child is None:
                self._is_new = True
                self._child = ChildProcess(
                    "odins_ravne_assets.munin.detection.decode_process", [self._arena_file]
                )
                if device := self._settings.device:
                    opening = {"device": device, "bytes": self._bytes, "handle": self._handle}
                    self._child.send(opening)
                for slot in sorted(self._free):
                    self._child.send({"slot": slot})
            return self._child

    def _discard_child(self) -> None:
        with self._lock:
            if self._child:
                self._child.stop()
                self._child = None

    def _request(self, medium: Medium, path: str) -> Message:
        return {
            "medium": medium.content_hash,
            "path": path,
            "kind": medium.kind,
            "format": medium.format,
            "width": medium.width,
            "height": medium.height,
            "network_side": self._settings.network_side,
            "plan": self._settings.plan._asdict(),
            "max_pixels": self._settings.max_pixels,
        }
