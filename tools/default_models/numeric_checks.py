"""Proof that two forms of a network agree: fixed pictures in, differences out, limits kept."""

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

PAINTED = 16  # pictures made here, the same ones everywhere


def pictures(side: int, folder: Path | None) -> NDArray[np.uint8]:
    """Pictures [N, side, side, 3], uint8 RGB: painted ones and, if given, those of a folder."""
    random = np.random.default_rng(20220528)
    painted = []
    for number in range(PAINTED):
        coarse = random.integers(0, 256, (4 + number, 5 + number, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        grain = random.normal(0, 2 * (number % 4), smooth.shape)
        painted.append(np.clip(smooth + grain, 0, 255).astype(np.uint8))
    return np.stack(painted + _read(side, folder))


def _read(side: int, folder: Path | None) -> list[NDArray[np.uint8]]:
    found = []
    for path in sorted(folder.rglob("*")) if folder else []:
        if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"} and path.stat().st_size:
            picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            if picture is not None:
                small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
                found.append(np.ascontiguousarray(small[:, :, ::-1]))
    return found


def at_most(what: str, measured: float, limit: float) -> None:
    """Print a measured difference; end the run if it is over its limit."""
    _report(what, measured, "at most", limit, measured <= limit)


def at_least(what: str, measured: float, limit: float) -> None:
    """Print a measured share; end the run if it is under its limit."""
    _report(what, measured, "at least", limit, measured >= limit)


def _report(what: str, measured: float, relation: str, limit: float, good: bool) -> None:
    print(f"  {what}: {measured:.3g} ({relation} {limit:g})", flush=True)
    if not good:
        sys.exit(f"error: {what} is {measured:.6g}, must be {relation} {limit:g}")


def planes(rgb: NDArray[np.uint8], multiply: float, add: float) -> NDArray[np.float32]:
    """Pictures [N, H, W, 3] as float32 [N, 3, H, W], `value * multiply + add`."""
    scaled = rgb.astype(np.float32) * np.float32(multiply) + np.float32(add)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def run_onnx(path: Path, images: NDArray[np.generic]) -> list[NDArray[np.float32]]:
    """Outputs of an ONNX file, picture by picture."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    each = [session.run(None, {name: image[np.newaxis]}) for image in images]
    return [np.concatenate(output) for output in zip(*each, strict=True)]


def largest(some: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Largest absolute difference."""
    return float(np.abs(some.astype(np.float64) - other.astype(np.float64)).max())
