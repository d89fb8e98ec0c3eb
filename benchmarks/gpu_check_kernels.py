"""Checks of the kernels: correctness, memory bandwidth, and loading of cubins."""

import time

import numpy as np
import warp as wp
from gpu_bench import Bench, CheckFailedError, CheckResult
from memory_traffic import Fit, bytes_moved
from numpy.typing import NDArray

from gpu_kernels.device import picture_kernels
from gpu_kernels.device.cubins import compile_cubins, load_cubins
from gpu_kernels.device.gpu_preprocessing import fit_descriptors, fit_into, launch_fit
from gpu_kernels.models.manifest import ModelManifest, load_manifest, shipped_models
from gpu_kernels.preprocessing.device_picture import DevicePicture
from gpu_kernels.preprocessing.letterbox import fit, to_input

MIN_SHARE_OF_COPY = 0.7  # target of the fitting kernel, of a large copy's bandwidth
HEIGHT, WIDTH = 1080, 1920  # of a camera's video


def cubins_are_loaded(bench: Bench) -> CheckResult:
    """Compile kernels ahead of time, and load them without a compiler."""
    compile_cubins(bench.require_gpu().arch, bench.work / "cubins")
    started = time.perf_counter()
    if not load_cubins(wp.get_device(bench.device), bench.work / "cubins"):
        raise CheckFailedError("the cubins of these kernels were not loaded")
    return {"seconds": round(time.perf_counter() - started, 3)}


def kernels_fit_as_opencv_does(bench: Bench) -> CheckResult:
    """Compare with OpenCV, as tests/gpu_kernels/device/test_picture_kernels.py, on the device."""
    pictures = bench.pictures
    starts = np.cumsum([0, *(each.size for each in pictures)])
    packed = np.concatenate([each.ravel() for each in pictures])
    buffer = wp.array(packed, dtype=wp.uint8, device=bench.device)
    on_device = [
        DevicePicture(each.shape[0], each.shape[1], int(start), each.shape[1] * 3)
        for each, start in zip(pictures, starts[:-1], strict=True)
    ]
    return {
        name: compare_fitting(load_manifest(name), pictures, buffer, on_device)
        for name in shipped_models()
    }


def compare_fitting(
    manifest: ModelManifest,
    pictures: list[NDArray[np.uint8]],
    buffer: wp.array,
    on_device: list[DevicePicture],
) -> CheckResult:
    """Compare the kernel with OpenCV for pictures that are also in `buffer`."""
    spec = manifest.input
    shape = (len(on_device), 3, spec.height, spec.width)
    images = wp.empty(shape, dtype=wp.float32, device=buffer.device)
    fit_into(images, buffer, [(each, each.whole) for each in on_device], spec)
    expected = to_input([fit(each, manifest) for each in pictures], manifest)
    levels = np.abs(images.numpy() - expected) / spec.multiply[0]
    result = {"maximum": float(levels.max()), "share": float((levels > 0.5).mean())}
    if result["maximum"] > 1.001 or result["share"] > 0.15:
        raise CheckFailedError(f"{manifest.name}: differs from OpenCV, in grey levels: {result}")
    return result


def fitting_reaches_the_memory_bandwidth(bench: Bench) -> CheckResult:
    """Compare the bandwidth of the fitting kernel with that of a large copy.

    Counts only source rows that a sample needs. The output is float16.
    """
    spec, count = load_manifest("megadetector-lite").input, bench.sizes.frames
    kernel = bench.seconds_per_call(recorded_fit(bench).launch, bench.sizes.repeats)
    moved = count * bytes_moved(Fit(HEIGHT, WIDTH, "NV12"), spec)
    size = bench.sizes.copy_bytes
    source, target = (wp.zeros(size, dtype=wp.uint8, device=bench.device) for _ in range(2))
    copy = bench.seconds_per_call(lambda: wp.copy(target, source), bench.sizes.repeats)
    share = (moved / kernel) / (2 * size / copy)
    result = {
        "microseconds_per_frame": round(kernel / count * 1e6, 2),
        "copy_gb_per_second": round(2 * size / copy / 1e9, 1),
        "share_of_copy": round(share, 3),
    }
    passed = share >= MIN_SHARE_OF_COPY
    return bench.judge_speed(result, passed, f"share_of_copy {MIN_SHARE_OF_COPY}")


def recorded_fit(bench: Bench) -> wp.Launch:
    """Return a recorded launch of the kernel that fits NV12 frames into float16."""
    spec, count = load_manifest("megadetector-lite").input, bench.sizes.frames
    frame = HEIGHT * WIDTH
    starts = [n * frame * 3 // 2 for n in range(count)]
    on_device = [
        DevicePicture(HEIGHT, WIDTH, start, WIDTH, chroma=start + frame, chroma_pitch=WIDTH)
        for start in starts
    ]
    with wp.ScopedDevice(bench.device):
        buffer = wp.zeros(frame * 3 // 2 * count, dtype=wp.uint8)
        images = wp.empty((count, 3, spec.height, spec.width), dtype=wp.float16)
        rows = fit_descriptors([(each, each.whole) for each in on_device], spec)
        descriptors = wp.array(rows, dtype=picture_kernels.RegionDescriptor)
    return launch_fit(images, buffer, descriptors, count, spec, record=True)


CHECKS = [cubins_are_loaded, kernels_fit_as_opencv_does, fitting_reaches_the_memory_bandwidth]
