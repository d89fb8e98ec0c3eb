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
    names: Sequence[str] | None, count: int | None
) -> tuple[list[DescribedClass], str | None]:
    """Return the classes, and what is only assumed of them.

    Args:
        names: in the order of the outputs; None: not known.
        count: their number; None: not known.
    """
    if names is not None and count in (None, len(names)):
        is_coco = len(names) == COCO_CLASSES and set(map(str.lower, names)) > COCO_ANIMALS
        classes = [DescribedClass(name, _category(name, is_coco)) for name in names]
        return classes, "names are the file's; check the categories"
    count = len(MEGADETECTOR) if count is None else count
    if count == 1:
        return [DescribedClass("animal", "animal")], "not in the file: one class is taken as animal"
    if count == len(MEGADETECTOR):
        classes = [DescribedClass(name, _category(name, False)) for name in MEGADETECTOR]
        return classes, "not in the file: assumed to be MegaDetector's"
    classes = [DescribedClass(f"class {number}", "animal") for number in range(count)]
    return classes, "not in the file: write the names, and person and vehicle where they apply"


def _category(name: str, is_coco: bool) -> Category | None:
    name = name.lower()
    if name in PEOPLE:
        return "person"
    if name in VEHICLES:
        return "vehicle"
    if name in NOTHING or (is_coco and name not in COCO_ANIMALS):
        return None
    return "animal"
