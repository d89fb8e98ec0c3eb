"""Torchvision's detection models, whose post-processing is part of the graph."""

import torch
from fixture import CLASSES, SIDE, THRESHOLD, Fixture, as_input, rows, settle
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead


class Backbone(nn.Sequential):
    """Three convolutions, stride 8."""

    out_channels = 32  # the least that FCOS normalises

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 8), (8, 16), (16, 32)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers)


class OnePicture(nn.Module):
    """Takes [1, 3, H, W] and returns boxes [K, 4], labels [K], scores [K], without a batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.network([image[0]])[0]
        return found["boxes"], found["labels"], found["scores"]


def fixtures() -> list[Fixture]:
    """Return the fixture of torchvision."""
    torch.manual_seed(4)
    backbone = Backbone()
    settle(backbone)
    network = FCOS(
        backbone,
        num_classes=len(CLASSES),
        min_size=SIDE,
        max_size=SIDE,
        anchor_generator=AnchorGenerator(((8,),), ((1.0,),)),
        head=FCOSHead(backbone.out_channels, 1, len(CLASSES), num_convs=1),
        score_thresh=0.05,
    ).eval()
    head = network.head.classification_head
    nn.init.normal_(head.cls_logits.weight, std=0.15)
    nn.init.constant_(head.cls_logits.bias, -2.0)
    nn.init.normal_(network.head.regression_head.bbox_reg.weight, std=0.05)
    nn.init.constant_(network.head.regression_head.bbox_reg.bias, 1.5)
    with torch.no_grad():
        found = network(list(as_input()))
    boxes = [rows(each["boxes"], each["scores"], each["labels"]) for each in found]
    return [
        Fixture(
            "fcos-torchvision",
            OnePicture(network),
            (as_input(),),
            ["image"],
            ["boxes", "labels", "scores"],
            [each[each[:, 4] >= THRESHOLD] for each in boxes],
            free_batch=False,
        )
    ]
