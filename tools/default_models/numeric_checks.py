"""Compare the outputs of two forms of a network on fixed pictures, within limits."""

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SYNTHETIC_PICTURES = 16  # generated from a fixed seed


def pictures(side: int, folder: Path | None) -> NDArray[np.uint8]:
    """Return pictures [N, side, side, 3], uint8 RGB: synthetic ones, then those of a folder."""
    random = np.random.default_rng(20220528)
    synthetic = []
    for number in range(SYNTHETIC_PICTURES):
        coarse = random.integers(0, 256, (4 + number, 5 + number, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        grain = random.normal(0, 2 * (number % 4), smooth.shape)
        synthetic.append(np.clip(smooth + grain, 0, 255).astype(np.uint8))
    return np.stack(synthetic + _read(side, folder))


def _read(side: int, folder: Path | None) -> list[NDArray[np.uint8]]:
    found = []
    for path in sorted(folder.rglob("*")) if folder else []:
        if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"} and path.stat().st_size:
            picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            if picture is not None:
                small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
                found.append(np.ascontiguousarray(small[:, :, ::-1]))
    return found


def at_most(name: str, measured: float, limit: float) -> None:
    """Print a measured difference; exit with code 1 if it exceeds its limit."""
    _report(name, measured, "at most", limit, measured <= limit)


def at_least(name: str, measured: float, limit: float) -> None:
    """Print a measured share; exit with code 1 if it is below its limit."""
    _report(name, measured, "at least", limit, measured >= limit)


def _report(name: str, measured: float, relation: str, limit: float, passed: bool) -> None:
    print(f"  {name}: {measured:.3g} ({relation} {limit:g})", flush=True)
    if not passed:
        sys.exit(f"error: {name} is {measured:.6g}, must be {relation} {limit:g}")


def to_planes(rgb: NDArray[np.uint8], multiply: float, add: float) -> NDArray[np.float32]:
    """Convert pictures [N, H, W, 3] to float32 [N, 3, H, W], `value * multiply + add`."""
    scaled = rgb.astype(np.float32) * np.float32(multiply) + np.float32(add)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def run_onnx(path: Path, images: NDArray[np.generic]) -> list[NDArray[np.float32]]:
    """Run an ONNX file, one picture at a time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [session.run(None, {name: image[np.newaxis]}) for image in images]
    return [np.concatenate(output) for output in zip(*outputs, strict=True)]


def max_difference(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Return the maximum absolute difference."""
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
