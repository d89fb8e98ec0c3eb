"""Checks of the kernels: right, as fast as memory, and there without a compiler."""

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

AIM = 0.7  # of a large copy's bandwidth, for the fitting kernel
HEIGHT, WIDTH = 1080, 1920  # of a camera's video


def cubins_are_loaded(bench: Bench) -> CheckResult:
    """Kernels that were compiled ahead of time are used, and no compiler is waited for."""
    compile_cubins(bench.a_gpu().arch, bench.work / "cubins")
    started = time.perf_counter()
    if not load_cubins(wp.get_device(bench.device), bench.work / "cubins"):
        raise CheckFailedError("the cubins of these kernels were not taken")
    return {"seconds": round(time.perf_counter() - started, 3)}


def kernels_fit_as_opencv_does(bench: Bench) -> CheckResult:
    """The oracle of tests/gpu_kernels/device/test_picture_kernels.py, on the device."""
    pictures = bench.pictures
    starts = np.cumsum([0, *(each.size for each in pictures)])
    packed = np.concatenate([each.ravel() for each in pictures])
    buffer = wp.array(packed, dtype=wp.uint8, device=bench.device)
    shown = [
        DevicePicture(each.shape[0], each.shape[1], int(start), each.shape[1] * 3)
        for each, start in zip(pictures, starts[:-1], strict=True)
    ]
    return {
        name: fitted_alike(load_manifest(name), pictures, buffer, shown)
        for name in shipped_models()
    }


def fitted_alike(
    manifest: ModelManifest,
    pictures: list[NDArray[np.uint8]],
    buffer: wp.array,
    shown: list[DevicePicture],
) -> CheckResult:
    """Pictures that a kernel fits from `buffer`, where they are `shown`, against OpenCV's."""
    spec = manifest.input
    shape = (len(shown), 3, spec.height, spec.width)
    images = wp.empty(shape, dtype=wp.float32, device=buffer.device)
    fit_into(images, buffer, [(each, each.whole) for each in shown], spec)
    expected = to_input([fit(each, manifest) for each in pictures], manifest)
    levels = np.abs(images.numpy() - expected) / spec.multiply[0]
    told = {"most": float(levels.max()), "share": float((levels > 0.5).mean())}
    if told["most"] > 1.001 or told["share"] > 0.15:
        raise CheckFailedError(f"{manifest.name}: differs from OpenCV's, in grey levels: {told}")
    return told


def fitting_uses_the_memorys_bandwidth(bench: Bench) -> CheckResult:
    """Bytes that must be moved in a second, against those of a large copy.

    Rows that no sample needs are not counted. What is written is float16.
    """
    spec, count = load_manifest("megadetector-lite").input, bench.sizes.frames
    kernel = bench.seconds_of(fitting(bench).launch, bench.sizes.times)
    moved = count * bytes_moved(Fit(HEIGHT, WIDTH, "NV12"), spec)
    copied = bench.sizes.copied
    source, target = (wp.zeros(copied, dtype=wp.uint8, device=bench.device) for _ in range(2))
    copy = bench.seconds_of(lambda: wp.copy(target, source), bench.sizes.times)
    share = (moved / kernel) / (2 * copied / copy)
    told = {
        "microseconds_per_frame": round(kernel / count * 1e6, 2),
        "copy_gb_per_second": round(2 * copied / copy / 1e9, 1),
        "share_of_copy": round(share, 3),
    }
    return bench.judged(told, share >= AIM, f"share_of_copy {AIM}")


def fitting(bench: Bench) -> wp.Launch:
    """A launch, ready to be made, of the kernel that fits NV12 frames into float16."""
    spec, count, frame = (
        load_manifest("megadetector-lite").input,
        bench.sizes.frames,
        HEIGHT * WIDTH,
    )
    starts = [n * frame * 3 // 2 for n in range(count)]
    shown = [
        DevicePicture(HEIGHT, WIDTH, start, WIDTH, chroma=start + frame, chroma_pitch=WIDTH)
        for start in starts
    ]
    with wp.ScopedDevice(bench.device):
        buffer = wp.zeros(frame * 3 // 2 * count, dtype=wp.uint8)
        images = wp.empty((count, 3, spec.height, spec.width), dtype=wp.float16)
        rows = fit_descriptors([(each, each.whole) for each in shown], spec)
        items = wp.array(rows, dtype=picture_kernels.Item)
    return launch_fit(images, buffer, items, count, spec, record=True)


CHECKS = [cubins_are_loaded, kernels_fit_as_opencv_does, fitting_uses_the_memorys_bandwidth]
