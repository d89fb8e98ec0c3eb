"""Names and categories of a detector's classes."""

from collections.abc import Sequence
from typing import NamedTuple

from gpu_kernels.models.manifest_sections import Category

# MegaDetector's classes, of all versions, in the order of its outputs.
MEGADETECTOR = ("animal", "person", "vehicle")
PEOPLE = {"person", "human", "people", "man", "woman", "pedestrian", "homo sapiens"}
VEHICLES = {"vehicle", "car", "truck", "bus", "motorcycle", "motorbike", "bicycle", "van", "train",
            "boat", "airplane", "aeroplane", "tractor", "atv"}  # fmt: skip
COCO_CLASSES = 80
COCO_ANIMALS = {"bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra",
                "giraffe"}  # fmt: skip
NOTHING = {"blank", "empty", "background", "none", "__background__", "n/a"}


class DescribedClass(NamedTuple):
    """A class of the manifest; boxes without a category are ignored."""

    name: str
    category: Category | None


def describe_classes(
    names: Sequence[str] | None, count: int | None, seen: Sequence[int], batched: bool
) -> tuple[list[DescribedClass], str]:
    """Return the classes, and what is only assumed of them.

    Args:
        names: in the order of the outputs; None: not known.
        count: their number; None: not known.
        seen: class numbers that the graph returned, sorted.
        batched: False for exports of torchvision, whose class 0 is the background.
    """
    least = count or (seen[-1] + 1 if seen else 0)
    if names is not None and (least == len(names) if count else least <= len(names)):
        is_coco = len(names) == COCO_CLASSES and set(map(str.lower, names)) > COCO_ANIMALS
        classes = [DescribedClass(name, _category(name, is_coco)) for name in names]
        return classes, "names are the file's; check the categories"
    note = "not in the file"
    if names is not None:
        note = f"the file names {len(names)} classes, the graph has {least}"
    if count == 1:
        return [DescribedClass("animal", "animal")], f"{note}: one class is taken as animal"
    usual = [DescribedClass(name, _category(name, False)) for name in MEGADETECTOR]
    from_one = count is None and seen and seen[0] > 0 and (not batched or least == 1 + len(usual))
    if from_one and least <= 1 + len(usual):
        background = DescribedClass("background", None)
        return [background, *usual], f"{note}: assumed to be MegaDetector's, from number 1"
    if count == len(usual) or (count is None and least <= len(usual)):
        return usual, f"{note}: assumed to be MegaDetector's"
    classes = [DescribedClass(f"class {number}", "animal") for number in range(least)]
    more = "" if count else f" (at least {least}, as many as were seen)"
    return classes, f"{note}: write the names{more}, and person and vehicle where they apply"


def _category(name: str, is_coco: bool) -> Category | None:
    name = name.lower()
    if name in PEOPLE:
        return "person"
    if name in VEHICLES:
        return "vehicle"
    if name in NOTHING or (is_coco and name not in COCO_ANIMALS):
        return None
    return "animal"
