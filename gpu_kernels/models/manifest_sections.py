"""The sections of a model manifest: [input], [output], [crop], [category_refinement].

`gpu_kernels.models.manifest` reads and checks a manifest. A key that was added after the first
release is in LATER_KEYS: at its default it is no part of the model's hash, so that the results of
older manifests stay valid.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Category = Literal["animal", "person", "vehicle"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ChannelTriple = tuple[float, float, float]
Side = Annotated[int, Field(ge=1, le=8192)]  # pixels
# The path of a file of the model; no name of a file has a control character.
FileName = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]+$")]
GraphName = Annotated[str, Field(min_length=1, max_length=200)]

LATER_KEYS = {
    "input": {"dtype", "name", "sizes_input", "sizes_order", "long_side", "stride"},
    "output": {"outputs", "scores", "box_format", "box_units", "columns"},
}


class Section(BaseModel):
    """A table of a manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class InputSpec(Section):
    """The input of a model: pictures as `value * multiply + add`, of `dtype`.

    The shape is [N, 3, height, width] in layout nchw, [N, height, width, 3] in nhwc. A graph with
    a free height and width has `long_side` and `stride` instead: a picture's long side is scaled
    to `long_side`, and both sides are padded to multiples of `stride`.
    """

    height: Side | None = None
    width: Side | None = None
    long_side: Side | None = None
    stride: Annotated[int, Field(ge=1, le=512)] | None = None
    layout: Literal["nchw", "nhwc"]
    colour: Literal["rgb", "bgr"]
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    multiply: ChannelTriple  # per channel, in the order of `colour`, for values 0 to 255
    add: ChannelTriple
    fit: Literal["letterbox-topleft", "letterbox-centre", "stretch"]
    pad: Annotated[int, Field(ge=0, le=255)] | None = None  # grey around a letterboxed picture
    name: GraphName | None = None  # of the input in the graph; None: its only one
    # A second input, [N, 2], which is given the size of the model's input in pixels, so that the
    # graph's boxes are in pixels of its input. None: there is none.
    sizes_input: GraphName | None = None
    sizes_order: Literal["wh", "hw"] = "wh"

    @model_validator(mode="after")
    def _size_is_fixed_or_free(self) -> Self:
        fixed, free = (self.height, self.width), (self.long_side, self.stride)
        if None not in fixed and free == (None, None):
            return self
        if None not in free and fixed == (None, None):
            if self.fit == "stretch":
                raise ValueError("long_side needs a fit of letterbox-topleft or letterbox-centre")
            return self
        raise ValueError("needs height and width, or for a free size long_side and stride")

    @model_validator(mode="after")
    def _pad_matches_fit(self) -> Self:
        if (self.pad is None) != (self.fit == "stretch"):
            needs = "takes no pad" if self.fit == "stretch" else "needs a pad of 0 to 255"
            raise ValueError(f"fit {self.fit} {needs}")
        return self

    @model_validator(mode="after")
    def _bytes_are_not_scaled(self) -> Self:
        if self.dtype == "uint8" and (set(self.multiply), set(self.add)) != ({1.0}, {0.0}):
            raise ValueError("dtype uint8 needs multiply = [1.0, 1.0, 1.0], add = [0.0, 0.0, 0.0]")
        return self

    @model_validator(mode="after")
    def _second_input_has_its_own_name(self) -> Self:
        if self.sizes_input is not None and self.name is None:
            raise ValueError("sizes_input needs a name, that of the graph's input for pictures")
        if self.sizes_input is not None and self.sizes_input == self.name:
            raise ValueError("name and sizes_input are the same input of the graph")
        return self

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width; None if they depend on the picture."""
        if self.height is None or self.width is None:
            return None
        return self.height, self.width

    @property
    def largest_size(self) -> tuple[int, int]:
        """The largest height and width of an input."""
        if self.fixed_size is not None:
            return self.fixed_size
        assert self.long_side is not None and self.stride is not None
        side = -(-self.long_side // self.stride) * self.stride
        return side, side


class ModelClass(Section):
    """One class of a detector. Boxes of a class without a category are ignored."""

    name: Annotated[str, Field(min_length=1)]
    category: Category | None = None


class OutputSection(Section):
    """What all decodings have in common."""

    # The number of dimensions, with the batch, of each output that a decoding reads.
    output_ranks: ClassVar[tuple[int, ...]] = (3,)
    # Names in the graph, in the order that the decoding needs; empty: the graph's first ones.
    outputs: tuple[GraphName, ...] = ()

    @model_validator(mode="after")
    def _outputs_match_decoding(self) -> Self:
        count = len(self.output_ranks)
        if self.outputs and len(self.outputs) != count:
            raise ValueError(f"outputs names {len(self.outputs)}, this decoding needs {count}")
        if len(set(self.outputs)) != len(self.outputs):
            raise ValueError("outputs names one output twice")
        return self


class DetectorSection(OutputSection):
    """What all decodings of detectors have in common."""

    threshold: Fraction  # default minimum confidence of a box
    classes: Annotated[tuple[ModelClass, ...], Field(min_length=1)]


class PlainBoxes(DetectorSection):
    """Decodings whose boxes need no anchors; see `gpu_kernels.heads.box_decoding`.

    Attributes:
        scores: `sigmoid` for raw logits, to which a sigmoid is applied.
        box_format: centre and size, or two corners.
        box_units: pixels of the model's input, or fractions of it.
    """

    scores: Literal["probability", "sigmoid"] = "probability"
    box_format: Literal["cxcywh", "xyxy"] = "cxcywh"
    box_units: Literal["pixels", "fractions"] = "pixels"


class YoloOutput(PlainBoxes):
    """YOLO heads. `nms_iou`: maximum IoU of boxes in NMS."""

    decoding: Literal["yolo-objectness", "yolo-anchor-free"]
    nms_iou: Fraction


class RtDetrOutput(PlainBoxes):
    """RT-DETR heads, which need no non-maximum suppression: boxes and scores, two outputs."""

    output_ranks = (3, 3)
    decoding: Literal["rtdetr"]
    box_units: Literal["pixels", "fractions"] = "fractions"


class EndToEndOutput(PlainBoxes):
    """NMS inside the graph: [N, K, 6] x1, y1, x2, y2, score, class.

    Rows of score 0 or class -1 are padding. `columns` is `class-box-score` for exports of MIT YOLO
    with its own NMS.
    """

    decoding: Literal["end2end"]
    columns: Literal["box-score-class", "class-box-score"] = "box-score-class"
    box_format: Literal["cxcywh", "xyxy"] = "xyxy"


class PackedRtDetrOutput(PlainBoxes):
    """RT-DETR in one output: [N, K, 6] cx, cy, w, h, score, class, or [N, K, 4 + C] with a score
    per class.

    `columns` says which; it is needed only for two classes, where both have 6 columns.
    """

    decoding: Literal["rtdetr-packed"]
    box_units: Literal["pixels", "fractions"] = "fractions"
    columns: Literal["score-class", "class-scores"] | None = None

    @model_validator(mode="after")
    def _columns_are_known(self) -> Self:
        if self.columns is None and len(self.classes) == 2:
            raise ValueError(
                'two classes need columns = "score-class" (one score and a class number per row) '
                'or "class-scores" (a score per class)'
            )
        return self

    @property
    def has_class_numbers(self) -> bool | None:
        """True for rows with one score and a class number; None: the output's shape says so."""
        return None if self.columns is None else self.columns == "score-class"


class BoxesLabelsScoresOutput(PlainBoxes):
    """Three outputs: boxes [N, K, 4], labels [N, K] (class numbers) and scores [N, K].

    RT-DETR's own exporter (outputs = ["boxes", "labels", "scores"], with `input.sizes_input`),
    and torchvision's detection models.
    """

    output_ranks = (3, 2, 2)
    decoding: Literal["boxes-labels-scores"]
    box_format: Literal["cxcywh", "xyxy"] = "xyxy"


class BoxesAndLogitsOutput(PlainBoxes):
    """Two outputs, without NMS: boxes [N, A, 4] and scores [N, A, C].

    As exports of MIT YOLO without its post-processing.
    """

    output_ranks = (3, 3)
    decoding: Literal["boxes-and-logits"]
    nms_iou: Fraction
    scores: Literal["probability", "sigmoid"] = "sigmoid"
    box_format: Literal["cxcywh", "xyxy"] = "xyxy"


class SsdOutput(DetectorSection):
    """SSD heads: offsets from `anchors`, a .npy of float32 [A, 4] y0, x0, y1, x1 normalised."""

    output_ranks = (3, 3)
    decoding: Literal["ssd"]
    nms_iou: Fraction
    anchors: FileName
    anchors_sha256: Sha256


class ClassifierOutput(OutputSection):
    """Scores [N, classes]. `labels`: see `gpu_kernels.models.labels`."""

    output_ranks = (2,)
    decoding: Literal["probabilities", "logits"]
    labels: FileName
    labels_sha256: Sha256


PlainDetectorOutput = (
    YoloOutput
    | RtDetrOutput
    | EndToEndOutput
    | PackedRtDetrOutput
    | BoxesLabelsScoresOutput
    | BoxesAndLogitsOutput
)
DetectorOutput = PlainDetectorOutput | SsdOutput


class Crop(Section):
    """The crop around a box for this model; see `crop_regions.crop_region`."""

    shape: Literal["square", "box"]
    margin: Annotated[float, Field(ge=0.0, le=10.0)]  # on each side, as a share of the box


class CategoryRefinement(Section):
    """Thresholds by which a detector distinguishes people and vehicles from animals.

    See `gpu_kernels.heads.category_refinement`.
    """

    person: Fraction  # minimum score
    vehicle: Fraction
    overlap: Fraction  # minimum intersection of two boxes, as a share of the smaller


class EnsembleRefinement(CategoryRefinement):
    """The same in an ensemble, where people are named later than blurred.

    Attributes:
        possible_person: minimum score of a person that is not named, because `person` is higher.
    """

    possible_person: Fraction
