"""Frames that stay on the device: decoded into its slots, fitted, detected and cut there.

The device is the CPU here. Decoding by NVDEC and memory that CUDA shares between processes are
checked by `benchmarks/gpu_checks.py`; the rest of the code is the same.
"""

from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

import av
import cv2
import numpy as np
import pytest
import warp as wp
from numpy.typing import NDArray
from onnxruntime_device_engine import OnnxRuntimeDeviceEngine

from gpu_kernels.device.gpu_preprocessing import crop_to_host, fit_into
from gpu_kernels.device.streams import use_stream
from gpu_kernels.engines.engine import open_engine
from gpu_kernels.heads.box_decoding import Boxes
from gpu_kernels.heads.engine_agreement import SCORE_TOLERANCE, Agreement, compare_boxes
from gpu_kernels.models.ensemble import load_detector
from gpu_kernels.models.manifest import ModelManifest, load_manifest
from gpu_kernels.preprocessing.device_picture import DeviceFrame, DevicePicture
from odins_ravne_assets.munin.classification.stage2 import Stage2, read_crop
from odins_ravne_assets.munin.detection import gpu_video
from odins_ravne_assets.munin.detection.crops import cut_crops, encode_crop
from odins_ravne_assets.munin.detection.decode_pool import (
    DecodePool,
    DecodeSettings,
    Frame,
    Medium,
    MediumEnded,
)
from odins_ravne_assets.munin.detection.detector import Box, Detector
from odins_ravne_assets.munin.detection.frame_sampling import SamplingPlan
from odins_ravne_assets.munin.detection.gpu_video import (
    TOKEN_BYTES,
    allocate_buffer,
    copy_to_slot,
    parse_picture,
)
from odins_ravne_assets.munin.inference.run_model import (
    DetectorRunner,
    LoadedModel,
    start_classification,
    whole_picture,
)
from odins_ravne_assets.munin.inference.timing import STAGE2_STEPS, StageTiming
from odins_ravne_assets.munin.media.media_files import EXPECTED_FORMATS
from odins_ravne_assets.munin.tables.journal import Stage1Journal, Stage2Journal
from resources.errors import EngineError
from resources.storage.local_store import LocalStore

PLAN = SamplingPlan("every", 1.0, 2, True, 0.002)


def medium_of(path: Path, width: int, height: int) -> Medium:
    stat = path.stat()
    media_format, *_ = EXPECTED_FORMATS[path.suffix]
    size = (stat.st_size, stat.st_mtime_ns)
    return Medium("hash", path.name, "video", media_format, width, height, *size)


def on_device(name: str, max_batch: int = 3) -> OnnxRuntimeDeviceEngine:
    """Load a model whose input and outputs are accessed by kernels."""
    return OnnxRuntimeDeviceEngine(load_manifest(name), "cpu", max_batch, pytest.fail, 2)


def decoded(path: Path, size: tuple[int, int], device: str | None) -> list[Frame]:
    """Decode a clip; frames hold their slots, so it must have fewer than there are slots."""
    medium = medium_of(path, *size)
    settings = DecodeSettings(PLAN, 2e8, 640, 60.0, 1, 8, device)
    decoder = DecodePool(LocalStore(path.parent), iter([medium]), settings)
    frames = []
    for event in decoder.events():
        assert not isinstance(event, MediumEnded) or event.remark is None
        if isinstance(event, Frame):
            frames.append(event)
    return frames


def picture_of(frame: Frame) -> NDArray[np.uint8]:
    if isinstance(frame.picture, DeviceFrame):
        shown = frame.picture.picture
        (picture,) = crop_to_host(
            frame.picture.buffer, [(shown, shown.whole)], [(shown.height, shown.width)]
        )
        return picture
    return frame.picture


@pytest.mark.parametrize("rotation", [None, 90])
def test_frames_on_the_device_are_those_of_the_cpu(
    tmp_path: Path, make_video: Any, rotation: int | None
) -> None:
    path = make_video(tmp_path / "clip.mp4", frames=9, size=(96, 64), rotation=rotation)
    on_host, on_device = (decoded(path, (96, 64), device) for device in (None, "cpu"))
    assert len(on_host) == len(on_device) == 5
    for one, other in zip(on_host, on_device, strict=True):
        assert isinstance(other.picture, DeviceFrame)
        assert (one.number, one.time_ms) == (other.number, other.time_ms)
        assert one.picture.shape == other.picture.shape
        differ = np.abs(picture_of(one).astype(int) - picture_of(other).astype(int))
        # The two convert chroma differently, most of all at edges.
        assert np.median(differ) <= 2
        assert np.percentile(differ, 95) <= 16


def test_a_clip_that_the_device_cannot_decode_is_decoded_by_the_cpu(
    tmp_path: Path, make_video: Any
) -> None:
    path = make_video(tmp_path / "odd.avi", frames=4, size=(65, 49))
    frames = decoded(path, (65, 49), "cpu")
    assert len(frames) == 2
    assert all(isinstance(frame.picture, np.ndarray) for frame in frames)


def test_a_truncated_clip_gives_the_frames_before_its_end(tmp_path: Path, make_video: Any) -> None:
    whole = make_video(tmp_path / "whole.mpg", frames=14, size=(96, 64))
    (tmp_path / "cut.mpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    on_host, on_device = (decoded(tmp_path / "cut.mpg", (96, 64), d) for d in (None, "cpu"))
    assert 0 < len(on_device) < 7
    assert len(on_host) == len(on_device)


class CudaPlane:
    """A plane of a frame on a GPU as PyAV has it: it refuses a stream to wait for."""

    def __init__(self, plane: Any) -> None:
        self._plane = plane

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        if stream is not None:
            raise NotImplementedError("CUDA stream synchronization is not supported.")
        return self._plane.__dlpack__()


def test_planes_on_a_gpu_are_copied_without_a_stream() -> None:
    """The planes are on the CPU here; the code does not ask for their device."""
    luma = np.random.default_rng(1).integers(0, 256, (6, 4), dtype=np.uint8)
    decoded = av.VideoFrame.from_ndarray(luma, format="nv12")

    class DecodedFrame:
        height, width, rotation, colorspace, color_range = 4, 4, 0, 2, 1
        planes = tuple(map(CudaPlane, decoded.planes))

    buffer = wp.zeros(64, dtype=wp.uint8, device="cpu")
    picture = copy_to_slot(buffer, 8, DecodedFrame)
    assert (picture.start, picture.chroma, picture.pitch) == (8, 24, 4)
    np.testing.assert_array_equal(buffer.numpy()[8:32].reshape(6, 4), luma)


def test_memory_that_the_decoder_cannot_open_is_an_error_and_never_read(
    tmp_path: Path, make_video: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warp allocates memory of the process itself if CUDA cannot open that of another."""

    def allocate_with_another_token(*arguments: Any) -> tuple[Any, str]:
        buffer, _ = allocate_buffer(*arguments)
        return buffer, f" {'00' * TOKEN_BYTES}"

    monkeypatch.setattr(gpu_video, "allocate_buffer", allocate_with_another_token)
    path = make_video(tmp_path / "clip.mp4", frames=2, size=(96, 64))
    with pytest.raises(EngineError, match=r"set pipeline\.stage1\.video_decoder: cpu$"):
        decoded(path, (96, 64), "cpu")


def fit_on_device(buffer: Any) -> Any:
    """Fit a picture into the input of a detector."""
    manifest = load_manifest("ssd-mobilenet-v2-cam16")
    picture = DevicePicture(4, 4, 0, 12)
    images = wp.zeros((1, 3, 300, 300), dtype=wp.float32, device="cpu")
    return fit_into(images, buffer, [(picture, picture.whole)], manifest.input)


def cut_on_device(buffer: Any) -> Any:
    """Cut a crop."""
    picture = DevicePicture(4, 4, 0, 12)
    return crop_to_host(buffer, [(picture, picture.whole)], [(4, 4)])


@pytest.mark.parametrize("work", [fit_on_device, cut_on_device])
def test_threads_use_the_device_in_turn_because_warp_has_one_current_stream(work: Any) -> None:
    buffer = wp.zeros(48, dtype=wp.uint8, device="cpu")
    work(buffer)  # compiled, so that it is quick
    asking = Thread(target=work, args=(buffer,))
    with use_stream(None):
        asking.start()
        asking.join(0.3)
        assert asking.is_alive()
    asking.join(30)
    assert not asking.is_alive()


@pytest.mark.parametrize(
    ("message", "height"),
    [
        ({"turns": 4, "colour": [0.0] * 6}, 4),
        ({"turns": 0, "colour": [0.0] * 5}, 4),
        ({"turns": 0, "colour": [float("nan")] * 6}, 4),
        ({"turns": 0, "colour": [0.0] * 6}, 0),
        ({"turns": "x", "colour": [0.0] * 6}, 4),
    ],
)
def test_invalid_messages_of_a_decoding_process_are_refused(
    message: dict[str, Any], height: int
) -> None:
    with pytest.raises(ValueError):
        parse_picture(message, height, 4, 0)


def crops(count: int) -> list[NDArray[np.uint8]]:
    """Make pictures of different sizes."""
    random = np.random.default_rng(1)
    return [
        np.asarray(
            cv2.resize(random.integers(0, 256, (6, 8, 3), np.uint8), (200 + 10 * n, 150 + 20 * n)),
            np.uint8,
        )
        for n in range(count)
    ]


def test_labels_of_crops_are_the_same_on_the_device_in_several_batches() -> None:
    manifest = load_manifest("efficientnet-lite3")
    engine = open_engine(manifest, "onnxruntime", 2)
    shown = [whole_picture(each) for each in crops(5)]
    expected = start_classification(LoadedModel(manifest, engine), shown)()
    found = start_classification(LoadedModel(manifest, on_device(manifest.name, 2)), shown)()
    assert found.shape == expected.shape == (5, expected.shape[1])
    # Fitted pictures differ by a grey level here and there, and one is in half precision.
    np.testing.assert_allclose(found, expected, atol=SCORE_TOLERANCE)


def test_pending_batches_give_the_same_boxes_as_batches_in_turn() -> None:
    manifest = load_manifest("ssd-mobilenet-v2-cam16")
    runner = DetectorRunner(LoadedModel(manifest, on_device(manifest.name, 4)), 0.01)
    batches = [[whole_picture(each)] * 2 for each in crops(3)]
    in_turn = [runner.start(batch)() for batch in batches]
    pending = [runner.start(batch) for batch in batches]
    ahead = [finish() for finish in reversed(pending)][::-1]
    for some, others in zip(in_turn, ahead, strict=True):
        for one, other in zip(some, others, strict=True):
            np.testing.assert_array_equal(one.xywh, other.xywh)
    assert sum(len(boxes) for batch in in_turn for boxes in batch) > 0


class CountingEngine(OnnxRuntimeDeviceEngine):
    """Counts pending batches."""

    pending = most_pending = 0

    def start(self, count: int, fill: Any, read: Any) -> Any:
        answers = super().start(count, fill, read)
        self.pending += 1
        self.most_pending = max(self.most_pending, self.pending)

        def finish() -> Any:
            self.pending -= 1
            return answers()

        return finish


class LoggingEngine(OnnxRuntimeDeviceEngine):
    """Logs its name when a batch is started."""

    def __init__(self, name: str, log: list[str]) -> None:
        manifest = load_manifest("ssd-mobilenet-v2-cam16")
        super().__init__(manifest, "cpu", 8, pytest.fail, 2)
        self.model = LoadedModel(manifest, self)
        self._name, self._log = name, log

    def start(self, count: int, fill: Any, read: Any) -> Any:
        self._log.append(self._name)
        return super().start(count, fill, read)


def test_the_category_detector_processes_a_batch_while_the_detector_has_the_next_one() -> None:
    log: list[str] = []
    engines = iter([LoggingEngine("detector", log), LoggingEngine("categories", log)])
    models = load_detector("ssd-mobilenet-v2-cam16", "ssd-mobilenet-v2-cam16")
    detector = Detector(models, lambda _: next(engines).model, 0.05)
    batches = [[each] * 2 for each in crops(4)]
    in_turn = [detector.detect(batch) for batch in batches]
    assert log == ["detector", "categories"] * 4
    log.clear()
    pending: list[Any] = []
    ahead = []
    for batch in batches:
        pending.append(detector.start(batch))
        if len(pending) > detector.max_pending:
            ahead.append(pending.pop(0)())
    ahead += [finish() for finish in pending]
    assert log == ["detector", *["detector", "categories"] * 3, "categories"]
    assert ahead == in_turn
    assert all(of_picture for batch in in_turn for of_picture in batch)


def journal_of(pictures: list[NDArray[np.uint8]], store: LocalStore) -> Stage1Journal:
    """Write a journal with an animal in the middle of each picture."""
    journal = Stage1Journal(store, "key")
    box = Box((0.2, 0.2, 0.6, 0.6), "animal", 0.9, None)
    for number, (cut,) in enumerate(cut_crops([(each, [box]) for each in pictures])):
        place = {"content_hash": f"{number:064x}", "frame_number": 0}
        medium = {"content_hash": place["content_hash"], "status": "done", "reason": None,
                  "frames_decoded": 1, "frames_skipped": 0, "boxes": 1}  # fmt: skip
        of_box = {**place, "box_number": 0}
        journal.append(
            medium,
            [{**place, "time_offset_ms": 0, "boxes": 1}],
            [{**of_box, "time_offset_ms": 0, **box.as_row()}],
            [{**of_box, **encode_crop(cut)}],
        )
    journal.flush()
    return journal


@pytest.mark.parametrize("crops_in_all", [1, 2, 7])
def test_labels_are_the_same_with_pending_batches(tmp_path: Path, crops_in_all: int) -> None:
    manifest = load_manifest("efficientnet-lite3")
    engine = open_engine(manifest, "onnxruntime", 2)
    store = LocalStore(tmp_path)
    stage1 = journal_of(crops(crops_in_all), store)
    progress: dict[str, list[int]] = {"host": [], "device": []}
    rows = {}
    counting = CountingEngine(manifest, "cpu", 3, pytest.fail)
    for name, runs in (("host", engine), ("device", counting)):
        stage2 = Stage2Journal(store, name)
        stage = Stage2(
            LoadedModel(manifest, runs), 0.5, 2, progress[name].append, StageTiming(STAGE2_STEPS)
        )
        stage.run(stage1, stage2, stage1.parts(), Event())
        with ExitStack() as stack:
            rows[name] = stage2.scan(stage1.parts(), stack).collect()
    same = ["content_hash", "frame_number", "box_number"]
    assert counting.most_pending == (1 if crops_in_all <= 2 else 2)
    assert rows["host"].height == crops_in_all
    assert rows["device"].select(same).equals(rows["host"].select(same))
    differ = (rows["device"]["confidence"] - rows["host"]["confidence"]).abs()
    assert differ.max() <= SCORE_TOLERANCE  # type: ignore[operator]
    assert progress["device"] == progress["host"] == [*range(2, crops_in_all, 2), crops_in_all]


@pytest.fixture(scope="module")
def clip(footage: Path) -> tuple[list[Frame], list[Frame]]:
    """A real clip with animals, decoded by both."""
    path = footage / "zamba_videos" / "densepose_tests" / "chimp.mp4"
    plan = SamplingPlan("every", 1.0, 12, False, 0.002)
    found = []
    for device in (None, "cpu"):
        settings = DecodeSettings(plan, 2e8, 640, 60.0, 1, 64, device)
        media = iter([medium_of(path, 320, 180)])
        events = DecodePool(LocalStore(path.parent), media, settings).events()
        found.append([event for event in events if isinstance(event, Frame)][:6])
    return found[0], found[1]


def as_boxes(boxes: list[Box]) -> Boxes:
    return Boxes(
        np.array([box.xywh for box in boxes], np.float32).reshape(-1, 4),
        np.array([box.confidence for box in boxes], np.float32),
        np.array([["animal", "person", "vehicle"].index(box.category) for box in boxes], np.int64),
    )


def a_detector(name: str) -> Detector:
    engines: dict[Path, OnnxRuntimeDeviceEngine] = {}

    def load(manifest: ModelManifest) -> LoadedModel:
        engine = engines.setdefault(manifest.path, on_device(manifest.name))
        return LoadedModel(manifest, engine)

    return Detector(load_detector(name), load, None)


@pytest.mark.footage
def test_a_real_clip_has_the_same_boxes_and_crops_on_the_device(
    clip: tuple[list[Frame], list[Frame]],
) -> None:
    on_host, on_device = clip
    assert all(isinstance(frame.picture, DeviceFrame) for frame in on_device)
    detector = a_detector("megadetector-lite")
    some = detector.detect([frame.picture for frame in on_host])
    # Pictures of both kinds may be in one batch: stills are decoded by the CPU.
    mixed = [on_host[0].picture, *(frame.picture for frame in on_device[1:])]
    others = detector.detect(mixed)
    total = Agreement()
    for one, other in zip(some, others, strict=True):
        total += compare_boxes(as_boxes(one), as_boxes(other), 0.25)
    assert total.compared > 4 and total.within_tolerance, total
    number = next(n for n in range(1, len(some)) if some[n])
    crops = [
        read_crop(encode_crop(cut)["jpeg"]).astype(int)
        for frames in (on_host, on_device)
        for (cut,) in cut_crops([(frames[number].picture, some[number][:1])])
    ]
    assert crops[0].shape == crops[1].shape
    assert np.abs(crops[0] - crops[1]).mean() < 4


def host_detector(name: str) -> Detector:
    def load(manifest: ModelManifest) -> LoadedModel:
        return LoadedModel(manifest, open_engine(manifest, "onnxruntime", 2))

    return Detector(load_detector(name), load, None)


def in_device_memory(picture: NDArray[np.uint8]) -> DeviceFrame:
    """Return a picture as the decoder leaves it on the device."""
    height, width = picture.shape[:2]
    buffer = wp.array(picture.ravel(), dtype=wp.uint8, device="cpu")
    return DeviceFrame(buffer, DevicePicture(height, width, 0, 3 * width))


@pytest.mark.footage
def test_an_ensemble_finds_the_same_on_grey_and_on_coloured_pictures_of_both_kinds(
    footage: Path,
) -> None:
    """Grey pictures are processed again with more contrast, also those of the device."""
    names = [
        "camtrapdp_example/media/20210531082539-RCNX0034.JPG",
        "speciesnet_testdata/domestic_cattle.jpg",
        "animl/Southwest/2021-08-08_RCNX0063_fox.JPG",
    ]
    pictures = [
        np.asarray(cv2.imread(str(footage / name), cv2.IMREAD_REDUCED_COLOR_2), np.uint8)
        for name in names
    ]
    expected = host_detector("lite-ensemble").detect(pictures)
    assert all(expected)
    device = a_detector("lite-ensemble")
    mixed = [in_device_memory(pictures[0]), pictures[1], in_device_memory(pictures[2])]
    for shown in (pictures, [in_device_memory(each) for each in pictures], mixed):
        total = Agreement()
        for one, other in zip(expected, device.detect(shown), strict=True):
            total += compare_boxes(as_boxes(one), as_boxes(other), 0.25)
        assert total.compared >= 5 and total.within_tolerance, total


@pytest.mark.footage
def test_an_ensemble_finds_the_same_on_frames_of_the_device_and_on_their_copies(
    clip: tuple[list[Frame], list[Frame]],
) -> None:
    """Not on frames that the CPU decoded: their colours differ, and an ensemble has more limits
    that a score can be on either side of."""
    _, on_device = clip
    detector = a_detector("lite-ensemble")
    some = detector.detect([picture_of(frame) for frame in on_device])
    others = detector.detect([frame.picture for frame in on_device])
    total = Agreement()
    for one, other in zip(some, others, strict=True):
        total += compare_boxes(as_boxes(one), as_boxes(other), 0.25)
    assert total.compared > 4 and total.within_tolerance, total
