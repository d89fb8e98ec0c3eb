"""Decoding: sampled frames, their times, and the cost of a bad file."""

import os
import struct
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from random import Random
from types import SimpleNamespace

import av
import cv2
import numpy as np
import psutil
import pytest
from media_files import gradient

from odins_ravne_assets.munin.detection.decode_pool import (
    DecodeEvent,
    DecodePool,
    DecodeSettings,
    Frame,
    Medium,
    MediumEnded,
    MediumFailed,
    MediumStarted,
    MediumUnavailable,
)
from odins_ravne_assets.munin.detection.decode_process import decode_video
from odins_ravne_assets.munin.detection.frame_sampling import SamplingPlan
from odins_ravne_assets.munin.detection.motion_gate import MotionDetector, MotionGate
from odins_ravne_assets.munin.detection.still_decoding import MAX_PIXELS, decode_still
from odins_ravne_assets.munin.media.media_files import EXPECTED_FORMATS, kind_of_format
from resources.errors import MediaError
from resources.storage.local_store import LocalStore

ROOT = Path(__file__).parents[4]
needs_memory_limit = pytest.mark.skipif(
    sys.platform != "linux", reason="Linux alone limits the memory of a process"
)
EVERYTHING = SamplingPlan("every", 1.0, 1, False, 0.002)


def write_clip(
    path: Path, levels: list[int], fps: int = 10, size: tuple[int, int] = (64, 48)
) -> None:
    """A clip of plain grey frames; key frames every 5."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps, options={"g": "5"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number, level in enumerate(levels):
            picture = np.full((size[1], size[0], 3), level, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_still(path: Path, level: int = 128, size: tuple[int, int] = (64, 48)) -> None:
    assert cv2.imwrite(str(path), np.full((size[1], size[0], 3), level, np.uint8))


def settings(timeout: float = 30.0, processes: int = 1, slots: int = 4) -> DecodeSettings:
    return DecodeSettings(EVERYTHING, 2e8, 640, timeout, processes, slots)


def medium(path: Path) -> Medium:
    """The medium of a file, with its name as its content hash; of one that is gone, too."""
    media_format = EXPECTED_FORMATS[path.suffix][0]
    stat = path.stat() if path.exists() else None
    size, modified = (stat.st_size, stat.st_mtime_ns) if stat else (0, 0)
    kind = kind_of_format(media_format)
    return Medium(path.name, path.name, kind, media_format, 64, 48, size, modified)


def media_of(folder: Path, *names: str) -> Iterator[Medium]:
    return (medium(folder / name) for name in names)


def events_by_medium(decoder: DecodePool) -> dict[str, list[DecodeEvent]]:
    found = defaultdict(list)
    for event in decoder.events():
        found[event.medium.path].append(event)
        if isinstance(event, Frame):
            event.release()
    return found


def numbers(path: Path, plan: SamplingPlan) -> list[tuple[int, int]]:
    return [(frame.number, frame.time_ms) for frame in decode_video(path, "mp4", plan, 1e9)]


def test_sampling_by_frames_per_second_takes_the_first_frame_of_each_period(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [100] * 35)
    plan = EVERYTHING._replace(sampling="fps", frames_per_second=1.0)
    assert numbers(tmp_path / "clip.mp4", plan) == [(0, 0), (10, 1000), (20, 2000), (30, 3000)]
    plan = plan._replace(frames_per_second=2.5)
    assert numbers(tmp_path / "clip.mp4", plan)[:4] == [(0, 0), (4, 400), (8, 800), (12, 1200)]


def test_a_sampling_rate_above_the_frame_rate_takes_all_frames(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [100] * 7)
    plan = EVERYTHING._replace(sampling="fps", frames_per_second=1000.0)
    assert len(numbers(tmp_path / "clip.mp4", plan)) == 7


def test_every_nth_frame_and_keyframes(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [100] * 12)
    plan = EVERYTHING._replace(every_nth_frame=5)
    assert numbers(tmp_path / "clip.mp4", plan) == [(0, 0), (5, 500), (10, 1000)]
    plan = EVERYTHING._replace(sampling="keyframes")
    assert numbers(tmp_path / "clip.mp4", plan) == [(0, 0), (5, 500), (10, 1000)]


def test_a_large_still_is_decoded_at_reduced_scale_but_not_below_the_networks(
    tmp_path: Path,
) -> None:
    write_still(tmp_path / "large.jpg", size=(4000, 3000))
    height, width = decode_still(tmp_path / "large.jpg", "jpeg", 4000, 3000, 640).shape[:2]
    assert (height, width) == (1500, 2000)
    assert decode_still(tmp_path / "large.jpg", "jpeg", 4000, 3000, 1280).shape[0] > 1280
    write_still(tmp_path / "small.jpg", size=(800, 600))
    assert decode_still(tmp_path / "small.jpg", "jpeg", 800, 600, 640).shape[:2] == (600, 800)


def test_no_picture_is_larger_than_the_arena_allows(tmp_path: Path) -> None:
    write_still(tmp_path / "wide.jpg", size=(6000, 900))
    picture = decode_still(tmp_path / "wide.jpg", "jpeg", 6000, 900, 640)
    assert picture.shape[0] * picture.shape[1] <= MAX_PIXELS


def test_a_truncated_jpeg_is_decoded_as_far_as_it_goes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "whole.jpg"), noise)
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    picture = decode_still(tmp_path / "cut.jpg", "jpeg", 640, 480, 640)
    assert picture.shape == (480, 640, 3)
    assert np.ptp(picture[:100]) > 100 > np.ptp(picture[-50:])


def test_a_truncated_video_gives_the_frames_before_its_end(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.avi", [100] * 50, size=(320, 240))
    data = (tmp_path / "clip.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) * 6 // 10])
    decoder = DecodePool(LocalStore(tmp_path), media_of(tmp_path, "cut.avi"), settings())
    found = events_by_medium(decoder)["cut.avi"]
    assert sum(isinstance(event, Frame) for event in found) >= 20
    assert isinstance(found[-1], MediumEnded)


def test_frames_are_in_order_and_media_of_all_processes_arrive(tmp_path: Path) -> None:
    names = [f"clip{n}.mp4" for n in range(6)] + [f"still{n}.jpg" for n in range(6)]
    for name in names:
        if name.endswith(".mp4"):
            write_clip(tmp_path / name, list(range(50, 70)))
        else:
            write_still(tmp_path / name)
    decoder = DecodePool(LocalStore(tmp_path), media_of(tmp_path, *names), settings(processes=2))
    found = events_by_medium(decoder)
    assert sorted(found) == sorted(names)
    for name, events in found.items():
        frames = [event for event in events if isinstance(event, Frame)]
        assert [frame.number for frame in frames] == list(range(20 if "clip" in name else 1))
        assert isinstance(events[0], MediumStarted) and isinstance(events[-1], MediumEnded)


def test_the_decoder_stops_when_all_slots_are_in_use(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", list(range(100, 140)))
    decoder = DecodePool(LocalStore(tmp_path), media_of(tmp_path, "clip.mp4"), settings(slots=3))
    stream = decoder.events()
    first = [event for _, event in zip(range(4), stream, strict=False)]
    held = [event for event in first if isinstance(event, Frame)]
    assert [round(float(frame.picture.mean()), -1) for frame in held] == [100, 100, 100]
    time.sleep(0.3)
    assert decoder.no_event_ready()
    held[0].release()
    following = next(stream)
    assert isinstance(following, Frame) and following.number == 3
    assert held[1].picture.mean() == pytest.approx(101, abs=3)  # not overwritten
    decoder.close()


def hang(path: Path) -> None:
    """Make a file that hangs its reader: a pipe without a writer."""
    os.mkfifo(path)


def test_a_file_that_hangs_the_decoder_costs_that_file_alone(tmp_path: Path) -> None:
    write_still(tmp_path / "a.jpg")
    hang(tmp_path / "b.jpg")
    write_still(tmp_path / "c.jpg")
    media = media_of(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    found = events_by_medium(
        DecodePool(LocalStoreOfAnything(tmp_path), media, settings(timeout=1.0))
    )
    failure = found["b.jpg"][-1]
    assert isinstance(failure, MediumFailed)
    assert failure.reason == "the decoder hung (no frame for 1 s) twice in this file"
    assert isinstance(found["a.jpg"][-1], MediumEnded) and isinstance(
        found["c.jpg"][-1], MediumEnded
    )


class LocalStoreOfAnything(LocalStore):
    """A store that opens pipes too, which stand for files that hang a decoder."""

    def reading(self, key: str) -> "ReadingAnything":  # type: ignore[override]
        return ReadingAnything(self.root / key)


class ReadingAnything:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        pass


def is_decoder(process: psutil.Process) -> bool:
    try:
        return "odins_ravne_assets.munin.detection.decode_process" in process.cmdline()
    except psutil.Error:  # it has just exited
        return False


def decoders_of_this_process() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if is_decoder(child)]


def test_a_file_that_kills_the_decoder_twice_costs_that_file_alone(tmp_path: Path) -> None:
    hang(tmp_path / "a.jpg")
    write_still(tmp_path / "b.jpg")
    media = media_of(tmp_path, "a.jpg", "b.jpg")
    found = defaultdict(list)
    for event in DecodePool(LocalStoreOfAnything(tmp_path), media, settings()).events():
        found[event.medium.path].append(event)
        if isinstance(event, MediumStarted) and event.medium.path == "a.jpg":
            for child in decoders_of_this_process():
                child.kill()
        if isinstance(event, Frame):
            event.release()
    failure = found["a.jpg"][-1]
    assert isinstance(failure, MediumFailed)
    assert failure.reason == "the decoder was killed by SIGKILL twice in this file"
    assert sum(isinstance(event, MediumStarted) for event in found["a.jpg"]) == 2
    assert isinstance(found["b.jpg"][-1], MediumEnded)


def test_no_medium_is_blamed_for_a_decoder_that_hangs_before_it(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        write_still(tmp_path / name)

    def media() -> Iterator[Medium]:
        yield medium(tmp_path / "a.jpg")
        for child in decoders_of_this_process():
            child.suspend()
        yield medium(tmp_path / "b.jpg")

    found = events_by_medium(DecodePool(LocalStore(tmp_path), media(), settings(timeout=1.0)))
    assert [type(event) for event in found["b.jpg"]] == [MediumStarted, Frame, MediumEnded]


def test_a_machine_that_starts_no_decoder_leaves_the_media_to_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_still(tmp_path / "a.jpg")
    monkeypatch.setattr("sys.executable", "/bin/false")
    decoder = DecodePool(LocalStore(tmp_path), media_of(tmp_path, "a.jpg"), settings())
    (event,) = events_by_medium(decoder)["a.jpg"]
    assert isinstance(event, MediumUnavailable)
    assert event.reason == "the decoder exited with code 1"


def write_damaged_clip(path: Path, seed: int) -> None:
    """Write an H.264 clip with 40 flipped bits, about whose slices FFmpeg reports many errors."""
    with av.open(str(path), "w") as container:
        options = {"g": "30", "preset": "ultrafast", "crf": "20"}
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 106, 80, "yuv420p"
        for number in range(150):
            frame = av.VideoFrame.from_ndarray(gradient(106, 80, number * 2), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data, random = bytearray(path.read_bytes()), Random(seed)
    start, end = data.index(b"mdat") + 600, data.index(b"moov") - 4
    for _ in range(40):
        data[random.randrange(start, end)] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def test_a_damaged_clip_costs_no_other_medium(tmp_path: Path) -> None:
    """FFmpeg's threads still report errors of such a clip while its decoder is freed."""
    names = []
    for number in range(8):
        names += [f"{number}a.mp4", f"{number}b.jpg"]
        write_damaged_clip(tmp_path / names[-2], seed=number)
        write_still(tmp_path / names[-1])
    media = media_of(tmp_path, *names)
    found = events_by_medium(DecodePool(LocalStore(tmp_path), media, settings(timeout=10.0)))
    assert all(isinstance(found[name][-1], MediumEnded) for name in names)
    assert {found[name][-1].remark for name in names[1::2]} == {None}


def test_the_threads_of_a_video_are_gone_when_it_ends(tmp_path: Path) -> None:
    write_damaged_clip(tmp_path / "a.mp4", seed=2)
    write_clip(tmp_path / "b.mp4", [100] * 20)
    write_still(tmp_path / "c.jpg")
    threads = []

    def media() -> Iterator[Medium]:
        """Each is taken when the one before has ended."""
        for each in media_of(tmp_path, "c.jpg", "a.mp4", "b.mp4", "c.jpg"):
            threads.extend(child.num_threads() for child in decoders_of_this_process())
            yield each

    events_by_medium(DecodePool(LocalStore(tmp_path), media(), settings(slots=200)))
    assert threads == [threads[0]] * 3


def test_a_replaced_file_is_left_to_the_next_run(tmp_path: Path) -> None:
    write_still(tmp_path / "before.jpg")
    write_clip(tmp_path / "during.mp4", list(range(100, 120)))
    media = list(media_of(tmp_path, "before.jpg", "during.mp4"))
    write_still(tmp_path / "before.jpg", level=5)
    os.utime(tmp_path / "before.jpg", ns=(1, 1))
    found = defaultdict(list)
    for event in DecodePool(LocalStore(tmp_path), iter(media), settings(slots=100)).events():
        found[event.medium.path].append(event)
        if isinstance(event, MediumStarted):
            os.utime(tmp_path / event.medium.path, ns=(1, 1))
    for events in found.values():
        assert isinstance(events[-1], MediumUnavailable)
        assert events[-1].reason.startswith("changed while it was read")
    assert not any(isinstance(event, Frame) for event in found["before.jpg"])


def test_a_playlist_named_as_a_video_opens_no_other_file(tmp_path: Path) -> None:
    write_clip(tmp_path / "secret.mp4", [100] * 3)
    playlists = {
        "hls.mp4": "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "concat.avi": "ffconcat version 1.0\nfile secret.mp4\n",
    }
    for name, text in playlists.items():
        (tmp_path / name).write_text(text)
    found = events_by_medium(
        DecodePool(LocalStore(tmp_path), media_of(tmp_path, *playlists), settings())
    )
    assert all(isinstance(events[-1], MediumFailed) for events in found.values())


@needs_memory_limit
def test_a_file_that_needs_too_much_memory_fails_alone(tmp_path: Path) -> None:
    """A picture whose header states another size than the media table."""
    write_still(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", 28_000, 28_000) + data[24:29]
    checksum = struct.pack(">I", zlib.crc32(header))
    (tmp_path / "a.png").write_bytes(data[:12] + header + checksum + data[33:])
    write_still(tmp_path / "b.jpg")
    media = media_of(tmp_path, "a.png", "b.jpg")
    found = events_by_medium(DecodePool(LocalStore(tmp_path), media, settings()))
    failure = found["a.png"][-1]
    assert isinstance(failure, MediumFailed)
    assert failure.reason == "needs more memory than is allowed"
    assert isinstance(found["b.jpg"][-1], MediumEnded)


def test_a_frame_years_after_the_first_ends_the_video() -> None:
    frames = [SimpleNamespace(time=time) for time in (5.0, 6.0, 2.8e11)]
    plan = EVERYTHING._replace(sampling="fps")
    selected = plan.select(frames, 1.0)
    assert [next(selected)[:2], next(selected)[:2]] == [(0, 0), (1, 1000)]
    with pytest.raises(MediaError, match=r"frame 3 is dated 2\.8e\+11 s after"):
        next(selected)


def test_a_frame_weeks_after_the_first_is_used(tmp_path: Path) -> None:
    """Its milliseconds exceed 32 bits."""
    write_clip(tmp_path / "a.avi", [100] * 3)
    data = bytearray((tmp_path / "a.avi").read_bytes())
    struct.pack_into("<II", data, data.index(b"strh") + 28, 2_600_000, 1)
    (tmp_path / "a.avi").write_bytes(data)
    decoder = DecodePool(LocalStore(tmp_path), media_of(tmp_path, "a.avi"), settings())
    found = events_by_medium(decoder)["a.avi"]
    assert [event.time_ms for event in found if isinstance(event, Frame)] == [0, 2_600_000_000]
    assert isinstance(found[-1], MediumEnded)
    assert found[-1].remark == "truncated: frame 3 is dated 5.2e+06 s after the first"


def test_a_frame_number_beyond_the_tables_ends_the_video() -> None:
    frames = [SimpleNamespace(time=0.0), SimpleNamespace(time=1e6)]
    selected = EVERYTHING._replace(sampling="keyframes").select(frames, 90_000.0)
    next(selected)
    with pytest.raises(MediaError, match="its frame rate is not plausible"):
        next(selected)


def test_nobody_sets_a_log_level_of_pyav() -> None:
    """Its callback runs Python in FFmpeg's threads; see munin/media/video_file.py."""
    packages = (ROOT / name for name in ("odins_ravne_assets", "resources", "gpu_kernels"))
    for path in (path for package in packages for path in package.rglob("*.py")):
        assert "av.logging" not in path.read_text(encoding="utf-8"), path


def test_a_deleted_file_does_not_count_as_failed(tmp_path: Path) -> None:
    decoder = DecodePool(LocalStore(tmp_path), media_of(tmp_path, "gone.jpg"), settings())
    assert isinstance(events_by_medium(decoder)["gone.jpg"][-1], MediumUnavailable)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff\xe0 no picture"])
def test_a_file_that_is_not_a_picture_fails_with_a_reason(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    (tmp_path / "bad.mp4").write_bytes(content)
    media = media_of(tmp_path, "bad.jpg", "bad.mp4")
    for events in events_by_medium(DecodePool(LocalStore(tmp_path), media, settings())).values():
        assert isinstance(events[-1], MediumFailed) and "decoded" in events[-1].reason


def test_frames_above_the_limit_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [100] * 3, size=(320, 240))
    with pytest.raises(MediaError, match="max_megapixels"):
        next(decode_video(tmp_path / "clip.mp4", "mp4", EVERYTHING, 320 * 240 - 1))


def scene(animal_at: int | None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    picture = np.full((240, 320, 3), 90, np.uint8)
    if animal_at is not None:
        picture[100:130, animal_at : animal_at + 40] = 160
    return picture


def test_motion_is_a_difference_from_the_last_picture_that_moved() -> None:
    motion = MotionDetector(0.002)
    assert motion.moved(scene(None))
    assert not motion.moved(scene(None))
    assert motion.moved(scene(10))
    assert not motion.moved(scene(10))
    assert motion.moved(scene(None))


def test_slow_motion_is_noticed_although_each_step_is_below_the_threshold() -> None:
    motion = MotionDetector(0.002)
    motion.moved(scene(None))
    steps = [np.asarray(scene(None) + level, np.uint8) for level in range(1, 30)]
    assert any(motion.moved(step) for step in steps)


def test_sensor_noise_is_not_motion() -> None:
    random = np.random.default_rng(0)

    def noisy() -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        while True:
            noise = random.normal(0, 6, (240, 320, 3))
            yield np.clip(scene(None) + noise, 0, 255).astype(np.uint8)

    pictures = noisy()
    motion = MotionDetector(0.002)
    motion.moved(next(pictures))
    assert not any(motion.moved(next(pictures)) for _ in range(20))


def test_frames_after_a_box_are_processed_until_it_is_gone() -> None:
    gate = MotionGate()
    assert gate.opens(moved=False)  # the first frame, always
    gate.record(boxes=0)
    assert not gate.opens(moved=False)
    assert gate.opens(moved=True)
    gate.record(boxes=1)
    assert gate.opens(moved=False)
    gate.record(boxes=0)
    assert gate.opens(moved=False)  # the detector may have missed it
    gate.record(boxes=0)
    assert not gate.opens(moved=False)


def test_a_copy_of_an_object_on_s3_has_a_date_of_its_own(tmp_path: Path) -> None:
    write_still(tmp_path / "a.jpg")
    (medium,) = media_of(tmp_path, "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(1, 1))
    assert medium.is_at(tmp_path / "a.jpg", is_copy=True)
    assert not medium.is_at(tmp_path / "a.jpg", is_copy=False)
    (tmp_path / "a.jpg").write_bytes(b"shorter")
    assert not medium.is_at(tmp_path / "a.jpg", is_copy=True)
    assert not medium.is_at(tmp_path / "none.jpg", is_copy=True)
