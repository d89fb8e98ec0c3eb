"""The manifest of a package of the Sparrow model zoo, as sections of our manifest.

Format: docs/user-manual.md, section 10, and sparrow-engine-types/src/manifest.rs of
github.com/microsoft/SPARROW-Engine, 2026-08-20. `input_size` is [width, height]; `pad_value` is a
fraction of white; `unit` divides by 255; `imagenet` then subtracts ImageNet's mean and divides by
its deviation; classifiers give logits, to which softmax is applied.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpu_kernels.models.toml_file import TomlError, parse_toml
from resources.errors import ModelError

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEFAULT_PAD = 114 / 255
DEFAULT_THRESHOLD, DEFAULT_IOU = 0.2, 0.45
# The categories of MegaDetectors, by the names in packages.
CATEGORIES = {
    "animal": "animal",
    "person": "person",
    "human": "person",
    "vehicle": "vehicle",
    "car": "vehicle",
}
DECODINGS = {
    "yolo_e2e": "end2end",
    "rtdetr_topk": "rtdetr-packed",
    "megadet_v5a": "yolo-objectness",
    "softmax": "logits",
}
LabelFormat = Literal["one_per_line", "name_index_csv", "index_name_csv"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _Model(_Section):
    onnx_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class _Preprocessing(_Section):
    method: str
    input_size: tuple[int, int]
    layout: Literal["nchw"] = "nchw"
    channel_order: Literal["rgb", "bgr"] = "rgb"
    normalization: Literal["unit", "imagenet", "none"] = "unit"
    pad_value: Annotated[float, Field(ge=0, le=1)] = DEFAULT_PAD


class _Postprocessing(_Section):
    method: str
    confidence_threshold: Annotated[float, Field(ge=0, le=1)] = DEFAULT_THRESHOLD
    iou_threshold: Annotated[float, Field(ge=0, le=1)] = DEFAULT_IOU


class _Labels(_Section):
    file: str
    format: LabelFormat = "one_per_line"


class SparrowManifest(_Section):
    """What we read of a package's manifest; other keys are ignored."""

    model: _Model
    preprocessing: _Preprocessing
    postprocessing: _Postprocessing
    labels: _Labels | None = None

    @property
    def network_sha256(self) -> str | None:
        """The checksum of the network, if the package has it."""
        return self.model.onnx_sha256

    def input_section(self) -> dict[str, Any]:
        """Return our [input] section.

        Raises:
            ModelError: the package prepares pictures in a way that we do not.
        """
        spec = self.preprocessing
        fits = {"letterbox": "letterbox-centre", "resize": "stretch"}
        if spec.method not in fits:
            raise ModelError(
                f"the package prepares pictures by {spec.method}, which is not supported; "
                "supported are letterbox and resize"
            )
        width, height = spec.input_size
        mean, deviation = (MEAN, DEVIATION) if spec.normalization == "imagenet" else (
            (0.0,) * 3, (1.0,) * 3
        )  # fmt: skip
        scale = 1.0 if spec.normalization == "none" else 1 / 255
        order = slice(None, None, -1) if spec.channel_order == "bgr" else slice(None)
        section = {
            "height": height,
            "width": width,
            "layout": spec.layout,
            "colour": spec.channel_order,
            "multiply": [round(scale / each, 17) for each in deviation][order],
            "add": [
                round(-m / d, 10) + 0.0 for m, d in zip(mean, deviation, strict=True)
            ][order],
            "fit": fits[spec.method],
        }  # fmt: skip
        return section | (
            {"pad": round(spec.pad_value * 255)} if spec.method == "letterbox" else {}
        )

    def output_section(self, labels: list[str]) -> dict[str, Any]:
        """Return our [output] section, for classifiers without its labels.

        Raises:
            ModelError: the network's outputs are of a kind that we do not decode.
        """
        spec = self.postprocessing
        if spec.method not in DECODINGS:
            raise ModelError(
                f"the package's outputs are of kind {spec.method}, which is not supported; "
                f"supported are {', '.join(DECODINGS)}"
            )
        decoding = DECODINGS[spec.method]
        if decoding == "logits":
            return {"decoding": decoding}
        section = {
            "decoding": decoding,
            "threshold": spec.confidence_threshold,
            "classes": [
                {"name": name}
                | ({"category": CATEGORIES[name]} if name in CATEGORIES else {"category": "animal"})
                for name in labels
            ],
        }
        return section | ({"nms_iou": spec.iou_threshold} if decoding == "yolo-objectness" else {})


def read_manifest(text: str, name: str) -> SparrowManifest:
    """Read a package's manifest.

    Args:
        name: names the package in errors.

    Raises:
        ModelError: it is invalid.
    """
    try:
        return SparrowManifest.model_validate(parse_toml(text))
    except TomlError as error:
        raise ModelError(f"{name}: its manifest.toml: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{name}: its manifest.toml: {where}: {first['msg']}") from None


def read_labels(text: str, kind: LabelFormat, name: str) -> list[str]:
    """Return the labels of a package in the order of the network's outputs.

    A number without a label becomes an empty string.

    Raises:
        ModelError: a line is not of the format.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if kind == "one_per_line":
        return lines
    numbered: dict[int, str] = {}
    for line in lines:
        # A label may have commas itself: the number is the first or the last field.
        first, _, rest = line.partition(",") if kind == "index_name_csv" else line.rpartition(",")
        label, number = (rest, first) if kind == "index_name_csv" else (first, rest)
        if not number.strip().isdecimal() or int(number) >= len(lines) * 10:
            raise ModelError(f"{name}: its labels have a line without a number: {line[:80]!r}")
        numbered[int(number)] = label.strip()
    return [numbered.get(number, "") for number in range(max(numbered, default=-1) + 1)]
