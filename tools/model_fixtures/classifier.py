"""A classifier in the form of SpeciesNet's exports: pictures [1, H, W, 3], logits out."""

import torch
from fixture import SIDE, Fixture, as_input, settle
from torch import Tensor, nn

LABELS = 7  # of tests/support/exported_models/speciesnet-form.labels.txt


class ChannelsLast(nn.Module):
    """A small network behind a transposition, as exports from TensorFlow have it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, LABELS),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.permute(0, 3, 1, 2))


def fixtures() -> list[Fixture]:
    """Return the classifier; its oracle is the logits, one row for each picture."""
    torch.manual_seed(5)
    model = ChannelsLast()
    settle(model.network)
    images = as_input().permute(0, 2, 3, 1).contiguous()
    assert images.shape[1:] == (SIDE, SIDE, 3)
    with torch.no_grad():
        model.network[-1].weight *= 8  # else all pictures have much the same label
        logits = list(model(images))
    return [
        Fixture(
            "speciesnet-form", model, (images,), ["input"], ["logits"], logits, free_batch=False
        )
    ]
