"""MIT YOLO (YOLOv9): boxes and logits, YOLO rows, and NMS inside the graph.

The network, the conversion of its heads to boxes (`Vec2Box`) and the suppression (`bbox_nms`) are
the published code; the wrappers arrange the outputs as public exports do.
"""

import sys
from pathlib import Path

import torch
from fixture import CLASSES, SIDE, THRESHOLD, Fixture, as_input, rows, settle
from torch import Tensor, nn

IOU = 0.5
# Strides 8, 16 and 32 as in all models of the family, with the fewest channels that each layer
# accepts.
LAYERS = {
    "backbone": [
        {"Conv": {"args": {"out_channels": 8, "kernel_size": 3, "stride": 2}, "source": 0}},
        {"Conv": {"args": {"out_channels": 8, "kernel_size": 3, "stride": 2}}},
        {"ELAN": {"args": {"out_channels": 8, "part_channels": 8}}},
        {"AConv": {"args": {"out_channels": 8}}},
        {"RepNCSPELAN": {"args": {"out_channels": 8, "part_channels": 8}, "tags": "B3"}},
        {"AConv": {"args": {"out_channels": 8}}},
        {"RepNCSPELAN": {"args": {"out_channels": 8, "part_channels": 8}, "tags": "B4"}},
        {"AConv": {"args": {"out_channels": 8}}},
        {"SPPELAN": {"args": {"out_channels": 8}, "tags": "B5"}},
    ],
    "detection": [
        {"MultiheadDetection": {"source": ["B3", "B4", "B5"], "tags": "Main", "output": True}}
    ],
}


class BoxesAndLogits(nn.Module):
    """Outputs: raw scores [N, A, C] and corners in pixels [N, A, 4], without NMS."""

    def __init__(self, network: nn.Module, to_boxes: object) -> None:
        super().__init__()
        self.network, self.to_boxes = network, to_boxes

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits, _, boxes = self.to_boxes(self.network(images)["Main"])
        return logits, boxes


class YoloRows(nn.Module):
    """One output [N, 4 + C, A]: cx, cy, w, h in pixels, and a score per class."""

    def __init__(self, network: BoxesAndLogits) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits, corners = self.network(images)
        start, end = corners.split(2, dim=-1)
        boxes = torch.cat([(start + end) / 2, end - start], dim=-1)
        return torch.cat([boxes, logits.sigmoid()], dim=-1).transpose(1, 2)


class EndToEnd(nn.Module):
    """One output [1, K, 6]: corners in pixels, score, class; NMS inside, K free."""

    def __init__(self, network: BoxesAndLogits) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        from torchvision.ops import batched_nms

        logits, boxes = self.network(images)
        scores, labels = logits[0].sigmoid().max(dim=-1)
        keep = batched_nms(boxes[0], scores, labels, IOU)
        columns = [boxes[0][keep], scores[keep, None], labels[keep, None].to(scores.dtype)]
        return torch.cat(columns, dim=-1).unsqueeze(0)


class OwnRows(nn.Module):
    """One output [1, K, 6] as MIT YOLO's own suppression returns it: class, corners, score."""

    def __init__(self, network: BoxesAndLogits) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        from yolo.config.config import NMSConfig
        from yolo.utils.bounding_box_utils import bbox_nms

        return bbox_nms(*self.network(images), NMSConfig(THRESHOLD, IOU, 300))[0].unsqueeze(0)


class TopRows(nn.Module):
    """One output [N, K, 6] as YOLOv10 has it: the K best rows, no NMS, K fixed."""

    def __init__(self, network: BoxesAndLogits, count: int) -> None:
        super().__init__()
        self.network, self.count = network, count

    def forward(self, images: Tensor) -> Tensor:
        logits, boxes = self.network(images)
        scores, index = logits.sigmoid().flatten(1).topk(self.count, dim=1)
        anchor = (index // len(CLASSES)).unsqueeze(-1).expand(-1, -1, 4)
        label = (index % len(CLASSES)).to(scores.dtype)
        columns = [boxes.gather(1, anchor), scores.unsqueeze(-1), label.unsqueeze(-1)]
        return torch.cat(columns, dim=-1)


def load(checkout: Path, seed: int) -> BoxesAndLogits:
    """Return a tiny network with random weights, whose scores are spread over 0 to 1."""
    sys.path.insert(0, str(checkout))
    from omegaconf import OmegaConf
    from yolo.model.yolo import create_model
    from yolo.utils.bounding_box_utils import Vec2Box

    torch.manual_seed(seed)
    anchor = {"reg_max": 8, "strides": [8, 16, 32]}
    config = OmegaConf.create({"name": "tiny", "anchor": anchor, "model": LAYERS})
    network = create_model(config, weight_path=False, class_num=len(CLASSES))
    settle(network)
    wrapped = BoxesAndLogits(network, Vec2Box(network, config.anchor, [SIDE, SIDE], "cpu"))
    with torch.no_grad():
        logits, _ = wrapped(as_input())
        for head in network.model[-1].heads:
            last = head.class_conv[-1]
            last.weight *= 1.5 / logits.std()
            last.bias += -1.0 - logits.mean()
            head.anchor_conv[-1].weight *= 3
    return wrapped.eval()


def own_boxes(logits: Tensor, boxes: Tensor) -> list[Tensor]:
    """Return the boxes by MIT YOLO's own suppression."""
    from yolo.config.config import NMSConfig
    from yolo.utils.bounding_box_utils import bbox_nms

    found = bbox_nms(logits, boxes, NMSConfig(THRESHOLD, IOU, 1000))
    return [rows(each[:, 1:5], each[:, 5], each[:, 0]) for each in found]


def mask(logits: Tensor, boxes: Tensor) -> Tensor:
    """Return the logits without what this project leaves out before suppression.

    That is all classes of a box but its best, and boxes with less than half their area inside the
    picture. MIT YOLO's suppression has the first as boxes of their own.
    """
    best = logits == logits.max(dim=-1, keepdim=True).values
    clipped = boxes.clamp(0, SIDE)
    area, inside = ((each[..., 2:] - each[..., :2]).prod(dim=-1) for each in (boxes, clipped))
    return logits.where(best & (inside >= area / 2).unsqueeze(-1), torch.tensor(-1e4))


def fixtures(checkout: Path) -> list[Fixture]:
    """Return the fixtures of MIT YOLO."""
    network = load(checkout, 3)
    images = (as_input(),)
    with torch.no_grad():
        end2end = [EndToEnd(network)(each[None])[0] for each in images[0]]
        top = list(TopRows(network, 100)(*images))
        logits, boxes = network(*images)
    # The entries that exporters of the family write, as Python literals.
    metadata = {
        "names": str(dict(enumerate(CLASSES))),
        "stride": "32",
        "imgsz": str([SIDE, SIDE]),
        "task": "detect",
    }
    masked = own_boxes(mask(logits, boxes), boxes)
    return [
        Fixture("yolov9-mit", network, images, ["images"], ["cls_logits", "boxes"], masked),
        Fixture(
            "yolo-rows", YoloRows(network), images, ["images"], ["output0"], masked,
            metadata=metadata,
        ),
        Fixture(
            "yolo-nms-inside", EndToEnd(network), images, ["images"], ["output0"],
            [each[each[:, 4] >= THRESHOLD] for each in end2end],
            free_batch=False,
        ),
        Fixture(
            "yolov9-mit-nms", OwnRows(network), images, ["images"], ["output0"],
            own_boxes(logits, boxes),
            free_batch=False,
        ),
        Fixture(
            "yolo-top-rows", TopRows(network, 100), images, ["images"], ["output0"],
            [each[each[:, 4] >= THRESHOLD] for each in top],
            dynamo=True, metadata=metadata,
        ),
    ]  # fmt: skip
