"""RT-DETR: Hugging Face's exports, the form of RT-DETR's own exporter, and packed forms."""

import importlib.util
import sys
import types
from pathlib import Path

import torch
from fixture import CLASSES, SIDE, THRESHOLD, Fixture, as_input, rows
from torch import Tensor, nn
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
)

QUERIES = 30
TINY = {
    "encoder_hidden_dim": 8,
    "encoder_in_channels": [8, 8, 8],
    "encoder_layers": 1,
    "encoder_ffn_dim": 8,
    "encoder_attention_heads": 2,
    "d_model": 8,
    "decoder_in_channels": [8, 8, 8],
    "decoder_ffn_dim": 8,
    "num_queries": QUERIES,
    "decoder_attention_heads": 2,
    "decoder_n_points": 2,
    "num_labels": len(CLASSES),
    "num_denoising": 0,
    "initializer_range": 0.3,  # as large as weights are after training
}


def tiny(config: type, model: type, seed: int) -> nn.Module:
    """Return a tiny network with random weights, whose scores are spread over 0 to 1."""
    torch.manual_seed(seed)
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    # The layers of v2 share weights, which needs two of them.
    layers = 2 if config is RTDetrV2Config else 1
    network = model(config(backbone_config=backbone, decoder_layers=layers, **TINY)).eval()
    with torch.no_grad():
        # Heads start at zero, where all boxes lie on a grid and rounding chooses the queries.
        nn.init.normal_(network.model.enc_score_head.weight, std=1.0)
        for mlp in (network.model.enc_bbox_head, network.model.decoder.bbox_embed[-1]):
            for layer in mlp.layers:
                nn.init.normal_(layer.weight, std=0.3)
        head = network.model.decoder.class_embed[-1]
        head.weight *= 2 / network(as_input()).logits.std()
        # Of each class, one query in eight reaches a score of 0.5.
        head.bias -= network(as_input()).logits.flatten(0, 1).quantile(0.875, dim=0)
    return network


class HuggingFace(nn.Module):
    """The outputs of transformers' own export: logits and pred_boxes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        found = self.network(pixel_values)
        return found.logits, found.pred_boxes


def own_boxes(network: nn.Module) -> list[Tensor]:
    """Return the boxes by transformers' post-processing."""
    with torch.no_grad():
        outputs = network(as_input())
    sizes = [(SIDE, SIDE)] * len(outputs.logits)
    found = RTDetrImageProcessor().post_process_object_detection(outputs, THRESHOLD, sizes)
    return [rows(each["boxes"], each["scores"], each["labels"]) for each in found]


def load_postprocessor(checkout: Path) -> nn.Module:
    """Return RT-DETR's own RTDETRPostProcessor, without importing its training code."""
    core = types.ModuleType("src.core")
    core.register = lambda each: each
    sys.modules |= {"src": types.ModuleType("src"), "src.core": core}
    path = checkout / "rtdetr_pytorch/src/zoo/rtdetr/rtdetr_postprocessor.py"
    spec = importlib.util.spec_from_file_location("rtdetr_postprocessor", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RTDETRPostProcessor(len(CLASSES), num_top_queries=QUERIES)


class OwnExporter(nn.Module):
    """What RT-DETR's tools/export_onnx.py exports: network and deployed post-processor."""

    def __init__(self, network: nn.Module, postprocessor: nn.Module) -> None:
        super().__init__()
        self.network, self.postprocessor = network, postprocessor.deploy()

    def forward(self, images: Tensor, orig_target_sizes: Tensor) -> tuple[Tensor, ...]:
        found = self.network(images)
        outputs = {"pred_logits": found.logits, "pred_boxes": found.pred_boxes}
        return self.postprocessor(outputs, orig_target_sizes)


class TopRows(nn.Module):
    """Rows of cx, cy, w, h as fractions, score, class: the best QUERIES pairs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        found = self.network(images)
        scores, index = found.logits.sigmoid().flatten(1).topk(QUERIES, dim=1)
        query = (index // len(CLASSES)).unsqueeze(-1).expand(-1, -1, 4)
        boxes = found.pred_boxes.gather(1, query)
        label = (index % len(CLASSES)).to(scores.dtype)
        return torch.cat([boxes, scores.unsqueeze(-1), label.unsqueeze(-1)], dim=-1)


class ClassScores(nn.Module):
    """Rows of cx, cy, w, h as fractions, and a score per class."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        found = self.network(images)
        return torch.cat([found.pred_boxes, found.logits.sigmoid()], dim=-1)


def fixtures(checkout: Path) -> list[Fixture]:
    """Return the fixtures of RT-DETR."""
    first = tiny(RTDetrConfig, RTDetrForObjectDetection, 1)
    second = tiny(RTDetrV2Config, RTDetrV2ForObjectDetection, 2)
    images, names = (as_input(),), ["logits", "pred_boxes"]
    postprocessor = load_postprocessor(checkout)
    sizes = torch.tensor([[SIDE, SIDE]] * len(images[0]))
    with torch.no_grad():
        found = first(*images)
        outputs = {"pred_logits": found.logits, "pred_boxes": found.pred_boxes.clone()}
        results = postprocessor(outputs, sizes)
    own = [rows(each["boxes"], each["scores"], each["labels"]) for each in results]
    own = [each[each[:, 4] >= THRESHOLD] for each in own]
    boxes = own_boxes(first)
    return [
        Fixture("rtdetr-huggingface", HuggingFace(first), images, ["pixel_values"], names, boxes),
        Fixture(
            "rtdetr-v2-huggingface",
            HuggingFace(second),
            images,
            ["pixel_values"],
            names,
            own_boxes(second),
        ),
        Fixture(
            "rtdetr-own-exporter",
            OwnExporter(first, postprocessor),
            (*images, sizes),
            ["images", "orig_target_sizes"],
            ["labels", "boxes", "scores"],
            own,
        ),
        Fixture("rtdetr-packed", TopRows(first), images, ["images"], ["output0"], boxes),
        Fixture("rtdetr-packed-scores", ClassScores(first), images, ["images"], ["output0"], boxes),
    ]
