"""The worker's side of decoding: media go in, frames come out, while inference goes on.

Each decoding process has a thread here that feeds it, watches it, and replaces it when a file
kills it. Frames wait in shared memory until they are released, which is what keeps the decoder
from running ahead without bound.
"""

import mmap
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from gpu_kernels.preprocessing.device_picture import DeviceFrame
from odins_ravne_assets.munin.detection.decode_process import SLOT_BYTES
from odins_ravne_assets.munin.detection.frame_sampling import SamplingPlan
from odins_ravne_assets.munin.media.child_process import (
    ChildProcess,
    ChildDiedError,
    ChildHungError,
    Message,
)
from resources.errors import StoreError
from resources.storage.object_store import ObjectStore

# How often a silent decoder is looked after, in seconds.
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Medium:
    """A media file to look at."""

    content_hash: str
    path: str  # key in the camera's footage
    kind: str  # image | video
    width: int
    height: int
    duration_seconds: float | None = None  # of a video, as its container says


@dataclass(frozen=True)
class MediumStarted:
    """A medium's frames follow. Said again when its decoder died: what came before is void."""

    medium: Medium


@dataclass(frozen=True)
class Frame:
    """One frame to look at; `release` it when nothing needs its picture any more."""

    medium: Medium
    # Upright BGR [height, width, 3], or where it lies on the GPU; valid until released.
    picture: npt.NDArray[np.uint8] | DeviceFrame
    number: int  # 0-based, in order of presentation
    time_ms: int  # since the first frame
    moved: bool  # something changed since the frame before it; always true for a still
    _slot: int
    _owner: "_Lane"

    def release(self) -> None:
        """Let another frame have its place."""
        self._owner.release(self._slot)


@dataclass(frozen=True)
class MediumEnded:
    """A medium was decoded, perhaps not to its end."""

    medium: Medium
    remark: str | None


@dataclass(frozen=True)
class MediumFailed:
    """Nothing of a medium could be used."""

    medium: Medium
    reason: str


@dataclass(frozen=True)
class MediumUnavailable:
    """The store would not give the medium now; another run may be luckier."""

    medium: Medium
    reason: str


DecodeEvent = MediumStarted | Frame | MediumEnded | MediumFailed | MediumUnavailable
TakeMedium = Callable[[], Medium | MediumFailed | None]


@dataclass(frozen=True)
class DecodeSettings:
    """What is decoded, and how."""

    plan: SamplingPlan
    max_pixels: float  # of a picture; larger ones are refused
    network_side: int  # longer side of the detector's input, in pixels
    timeout: float  # seconds without a frame after which a medium counts as hung
    processes: int
    slots: int  # frames that may wait, per process
    device: str | None = None  # GPU that decodes videos, as cuda:0; None: the CPU does


class DecodePool:
    """Decodes media in child processes and hands out the frames.

    Args:
        footage: the store that the media's paths are keys of.
        media: what to decode; drawn from lazily, by several threads in turn. A medium that is not
            to be tried comes as Failed, and is handed on.
    """

    def __init__(
        self, footage: ObjectStore, media: Iterator[Medium | MediumFailed], settings: DecodeSettings
    ) -> None:
        self._media = media
        self._taking = threading.Lock()
        self._stop = threading.Event()
        # Bounded by the lanes' slots, so it needs no bound of its own.
        self._events: SimpleQueue[DecodeEvent | BaseException | None] = SimpleQueue()
        self._lanes = [
            _Lane(self._take, footage, settings, self._events) for _ in range(settings.processes)
        ]

    def events(self) -> Iterator[DecodeEvent]:
        """Frames, ends and failures: per medium in order, media of several processes mixed."""
        for lane in self._lanes:
            lane.start()
        running = len(self._lanes)
        while running:
            event = self._events.get()
            if isinstance(event, BaseException):
                raise event
            if event is None:
                running -= 1
            else:
                yield event

    def nothing_waiting(self) -> bool:
        """Whether `events` would have to wait for a decoder now."""
        return self._events.empty()

    @property
    def room(self) -> int:
        """Frames that may wait; decoders stop when so many do."""
        return sum(lane.room for lane in self._lanes)

    @property
    def seconds(self) -> float:
        """In which the processes decoded, all of them together."""
        return sum(lane.seconds for lane in self._lanes)

    def frames_in_hand(self) -> int:
        """Frames that were decoded and are not released yet."""
        return sum(lane.in_hand() for lane in self._lanes)

    def stop(self) -> None:
        """Begin no further medium; those in hand are finished."""
        self._stop.set()

    def close(self) -> None:
        """End all decoding at once."""
        self._stop.set()
        for lane in self._lanes:
            lane.close()

    def _take(self) -> Medium | MediumFailed | None:
        with self._taking:
            taken = None if self._stop.is_set() else next(self._media, None)
        # It may have been long in coming.
        return None if self._stop.is_set() else taken


class _Lane(threading.Thread):
    """One decoding process and the thread that looks after it."""

    def __init__(
        self,
        take: TakeMedium,
        footage: ObjectStore,
        settings: DecodeSettings,
        events: "SimpleQueue[DecodeEvent | BaseException | None]",
    ) -> None:
        super().__init__(name="decoding", daemon=True)
        self._take = take
        self._footage = footage
        self._settings = settings
        self._events = events
        self.seconds = 0.0  # in which its children decoded
        self._arena_file = _anonymous_file(self._bytes_of_arena())
        self._arena = mmap.mmap(self._arena_file, 0)
        self._buffer, self._handle = self._on_device()
        self._slots = threading.Lock()  # guards the three below
        self._free = set(range(settings.slots))
        self._child: ChildProcess | None = None
        self._closed = False

    def _bytes_of_arena(self) -> int:
        if self._settings.device is None:
            return self._bytes
        from odins_ravne_assets.munin.detection.gpu_video import TOKEN_BYTES

        return self._bytes + TOKEN_BYTES

    def _on_device(self) -> tuple[Any, str]:
        """A buffer with as many slots on the device, and what the child opens it by."""
        if self._settings.device is None:
            return None, ""
        from odins_ravne_assets.munin.detection.gpu_video import allocate_buffer

        return allocate_buffer(self._settings.device, self._bytes, self._arena)

    @property
    def _bytes(self) -> int:
        return SLOT_BYTES * self._settings.slots

    def run(self) -> None:
        try:
            while taken := self._take():
                self._events.put(taken if isinstance(taken, MediumFailed) else self._decode(taken))
        except BaseException as error:  # noqa: BLE001 (handed to the thread that waits for events)
            self._events.put(error)
        else:
            self._events.put(None)
        finally:
            self.close()

    def close(self) -> None:
        """End the child. Waiting frames stay readable."""
        with self._slots:
            self._closed = True
            if self._child:
                self._child.stop()
                self._child = None

    @property
    def room(self) -> int:
        return self._settings.slots

    def in_hand(self) -> int:
        with self._slots:
            return self.room - len(self._free)

    def release(self, slot: int) -> None:
        with self._slots:
            self._free.add(slot)
            if self._child:
                with suppress(
                    ChildDiedError
                ):  # the lane's thread notices, and tells the next child
                    self._child.send({"slot": slot})

    def _decode(self, medium: Medium) -> MediumEnded | MediumFailed | MediumUnavailable:
        """See the medium through, with a second try for a decoder that died of it."""
        for last_try in (False, True):
            try:
                with self._footage.reading(medium.path) as path:
                    return self._try(medium, self._order(medium, str(path)))
            except ChildHungError as error:
                self._discard_child()
                return MediumFailed(medium, f"the decoder hung: {error}")
            except ChildDiedError as error:
                self._discard_child()
                if last_try or self._closed:
                    return MediumFailed(medium, f"the decoder {error} twice in this file")
            except StoreError as error:
                return MediumUnavailable(medium, str(error))
        raise AssertionError("unreachable")

    def _try(self, medium: Medium, order: Message) -> MediumEnded | MediumFailed:
        child = self._ready_child()
        self._events.put(MediumStarted(medium))
        begun = monotonic()
        child.send(order)
        while True:
            message = self._next_message(child)
            if "frame" in message:
                self._events.put(self._frame(medium, message))
                continue
            if "sharing_error" in message:
                from odins_ravne_assets.munin.detection.gpu_video import sharing_error

                raise sharing_error(str(message["sharing_error"]))
            self._count(message, monotonic() - begun)
            if "end" in message:
                return MediumEnded(medium, message["remark"])
            if "failed" in message:
                return MediumFailed(medium, message["reason"])

    def _count(self, message: Message, passed: float) -> None:
        """Add what the child says it worked. It is not trusted: no more than has passed."""
        worked = message.get("seconds", 0.0)
        if isinstance(worked, float) and 0.0 <= worked <= passed:
            self.seconds += worked

    def _next_message(self, child: ChildProcess) -> Message:
        """What the child says next; only time in which it could have worked counts as hanging."""
        idle, poll = 0.0, min(POLL_SECONDS, self._settings.timeout)
        while True:
            try:
                return child.receive(poll)
            except ChildHungError:
                with self._slots:
                    idle = idle + poll if self._free else 0.0
                if idle >= self._settings.timeout:
                    raise ChildHungError(f"no frame for {self._settings.timeout:g} s") from None

    def _frame(self, medium: Medium, message: Message) -> Frame:
        slot, height, width = message["slot"], message["height"], message["width"]
        with self._slots:
            # The child is not trusted: a slot that it was not given could be one in use.
            if slot not in self._free or not 0 < height * width * 3 <= SLOT_BYTES:
                raise ChildDiedError("spoke nonsense")
            self._free.remove(slot)
        picture = self._picture(message, height, width, slot * SLOT_BYTES)
        return Frame(
            medium, picture, message["number"], message["time_ms"], message["moved"], slot, self
        )

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
            raise ChildDiedError("spoke nonsense") from None

    def _ready_child(self) -> ChildProcess:
        with self._slots:
            if self._closed:
                raise ChildDiedError("was stopped")
            if self._child is None:
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
        with self._slots:
            if self._child:
                self._child.stop()
                self._child = None

    def _order(self, medium: Medium, path: str) -> Message:
        return {
            "medium": medium.content_hash,
            "path": path,
            "kind": medium.kind,
            "width": medium.width,
            "height": medium.height,
            "network_side": self._settings.network_side,
            "plan": self._settings.plan._asdict(),
            "max_pixels": self._settings.max_pixels,
        }


def _anonymous_file(size: int) -> int:
    """A descriptor of memory without a name: a killed worker leaves nothing behind."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("frames")
    else:
        handle, name = tempfile.mkstemp()
        os.unlink(name)  # noqa: PTH108
        descriptor = handle
    os.ftruncate(descriptor, size)
    return descriptor
