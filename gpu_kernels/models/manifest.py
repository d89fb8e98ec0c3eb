"""Model manifests: what a model file expects and what its answers mean, read from TOML.

A manifest stands beside its files: `file`, `anchors` and `labels` are paths relative to it.
"""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from resources.errors import ModelError

SHIPPED_MODELS = Path(__file__).parent / "shipped"

# Raised when code in this package changes what the same model answers about the same picture,
# so that work recorded under the old answers is done again.
RESULTS_VERSION = 1

Category = Literal["animal", "person", "vehicle"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ChannelTriple = tuple[float, float, float]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class InputSpec(_Section):
    """The pictures a model takes: float32, `value * multiply + add`.

    Of layout nchw they are [N, 3, height, width], of nhwc [N, height, width, 3].
    """

    height: Annotated[int, Field(ge=1, le=8192)]
    width: Annotated[int, Field(ge=1, le=8192)]
    layout: Literal["nchw", "nhwc"]
    colour: Literal["rgb"]
    multiply: ChannelTriple  # per channel, in the order of `colour`, of values 0 to 255
    add: ChannelTriple
    fit: Literal["letterbox-topleft", "letterbox-centre", "stretch"]
    pad: Annotated[int, Field(ge=0, le=255)] | None = None  # grey around a letterboxed picture

    @model_validator(mode="after")
    def _pad_belongs_to_letterboxes(self) -> Self:
        if (self.pad is None) != (self.fit == "stretch"):
            needs = "takes no pad" if self.fit == "stretch" else "needs a pad of 0 to 255"
            raise ValueError(f"fit {self.fit} {needs}")
        return self


class ModelClass(_Section):
    """One class of a detector. Boxes of a class without a category are not of interest."""

    name: Annotated[str, Field(min_length=1)]
    category: Category | None = None


class _DetectorOutput(_Section):
    threshold: Fraction  # typical least confidence of a box
    classes: Annotated[tuple[ModelClass, ...], Field(min_length=1)]


class YoloOutput(_DetectorOutput):
    """YOLO heads; see `gpu_kernels.heads.box_decoding`. `nms_iou`: overlap above which the weaker box
    goes."""

    decoding: Literal["yolo-objectness", "yolo-anchor-free"]
    nms_iou: Fraction


class RtDetrOutput(_DetectorOutput):
    """RT-DETR heads, which need no suppression of overlapping boxes."""

    decoding: Literal["rtdetr"]


class SsdOutput(_DetectorOutput):
    """SSD heads: offsets from `anchors`, a .npy of float32 [A, 4] y0, x0, y1, x1 normalised."""

    decoding: Literal["ssd"]
    nms_iou: Fraction
    anchors: str
    anchors_sha256: Sha256


class ClassifierOutput(_Section):
    """Scores [N, classes]. `labels`: see `gpu_kernels.models.labels`."""

    decoding: Literal["probabilities", "logits"]
    labels: str
    labels_sha256: Sha256


DetectorOutput = YoloOutput | RtDetrOutput | SsdOutput


class Crop(_Section):
    """How a box is cut out of its picture for this model: see `preprocess.cut_region`."""

    shape: Literal["square", "box"]
    margin: Annotated[float, Field(ge=0.0, le=10.0)]  # on each side, in parts of the box


class CategoryRefinement(_Section):
    """When a detector tells a person or a vehicle from an animal.

    See `gpu_kernels.heads.category_refinement`.
    """

    person: Fraction  # least score
    vehicle: Fraction
    overlap: Fraction  # least share of the smaller of two boxes that they have in common


class ModelManifest(_Section):
    """A model: its file, what goes in, what comes out, and where it is from."""

    name: Annotated[str, Field(min_length=1)]
    task: Literal["detector", "classifier"]
    file: str
    sha256: Sha256
    honest: str  # what it is good for, in one line
    licence: str
    source: str
    home: str
    citation: str = ""
    # GPUs may compute it in float16: it was seen to hold its accuracy so (tools/check_fp16.py).
    half: bool = False
    input: InputSpec
    output: Annotated[DetectorOutput | ClassifierOutput, Field(discriminator="decoding")]
    crop: Crop | None = None
    telling: CategoryRefinement | None = None

    _folder: Path = PrivateAttr(default=SHIPPED_MODELS)

    @model_validator(mode="after")
    def _parts_fit_the_task(self) -> Self:
        classifies = isinstance(self.output, ClassifierOutput)
        if classifies != (self.task == "classifier"):
            raise ValueError(f"decoding {self.output.decoding} is not one of a {self.task}")
        if classifies and self.crop is None:
            raise ValueError("a classifier needs a [crop] section")
        if self.telling and (classifies or self.crop is None):
            raise ValueError("a [telling] section is for a detector that has a [crop] section")
        return self

    @property
    def path(self) -> Path:
        """The model file."""
        return self._folder / self.file

    @property
    def detector_output(self) -> DetectorOutput:
        """The output of a detector.

        Raises:
            ModelError: this is a classifier.
        """
        if isinstance(self.output, ClassifierOutput):
            raise ModelError(f"model {self.name}: is a classifier; a detector is needed here")
        return self.output

    @property
    def classifier_output(self) -> ClassifierOutput:
        """The output of a classifier.

        Raises:
            ModelError: this is a detector.
        """
        if not isinstance(self.output, ClassifierOutput):
            raise ModelError(f"model {self.name}: is a detector; a classifier is needed here")
        return self.output

    @property
    def files(self) -> dict[Path, str]:
        """Every file of the model with its SHA-256: the network, anchors, labels."""
        files = {self.path: self.sha256}
        if isinstance(self.output, SsdOutput):
            files[self._folder / self.output.anchors] = self.output.anchors_sha256
        if isinstance(self.output, ClassifierOutput):
            files[self._folder / self.output.labels] = self.output.labels_sha256
        return files

    def beside(self, relative: str) -> Path:
        """The path of a file that the manifest names."""
        return self._folder / relative


_MANIFEST: TypeAdapter[ModelManifest] = TypeAdapter(ModelManifest)


def shipped_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.stem for path in SHIPPED_MODELS.glob("*.toml"))


def load_manifest(name_or_path: str) -> ModelManifest:
    """Read the manifest of a shipped model by its name, or one's own by the path of a .toml file.

    Raises:
        ModelError: there is no such manifest, or it has a mistake; `verify` looks at the files.
    """
    path = _find(name_or_path)
    manifest = _parse(path)
    manifest._folder = path.parent
    return manifest


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path).expanduser()
    if path.suffix == ".toml":
        if path.is_file():
            return path.absolute()
        raise ModelError(f"model manifest {path}: no such file; check the path in the profile")
    if name_or_path in shipped_models():
        return SHIPPED_MODELS / f"{name_or_path}.toml"
    raise ModelError(
        f"model {name_or_path}: not known; name one of {', '.join(shipped_models())}, "
        "or the path of a .toml manifest"
    )


def _parse(path: Path) -> ModelManifest:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"model manifest {path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ModelError(f"model manifest {path}: not valid TOML: {error}") from None
    try:
        return _MANIFEST.validate_python(tree)
    except ValidationError as error:
        raise ModelError(f"model manifest {path}: {_describe_error(error)}") from None


def _describe_error(error: ValidationError) -> str:
    """The first of pydantic's findings in one line; the rest are counted."""
    findings = error.errors(include_url=False)
    first = findings[0]
    location = [str(part) for part in first["loc"]]
    if location[:1] == ["output"] and len(location) > 1:
        del location[1]  # the name of the decoding, which pydantic puts in between
    key = ".".join(location)
    where = f"{key}: " if key else ""
    if first["type"] == "missing":
        said = "is missing; add it"
    elif first["type"] == "extra_forbidden":
        said = "unknown key; remove it or correct its spelling"
    elif first["type"] == "value_error":
        said = str(first["ctx"]["error"])
    elif first["type"].startswith("union_tag"):
        where, said = "output.decoding: ", first["msg"]
    else:
        said = f"{first['input']!r} is not allowed: {first['msg'][0].lower()}{first['msg'][1:]}"
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return f"{where}{said}{more}".replace("\n", " ")


def verify(manifest: ModelManifest) -> None:
    """Compare the model's files with the manifest's SHA-256.

    Raises:
        ModelError: a file is missing, cannot be read, or is not the one the manifest names.
    """
    for path, expected in manifest.files.items():
        try:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            raise ModelError(
                f"model {manifest.name}: {path}: no such file; put it there or correct the manifest"
            ) from None
        except OSError as error:
            raise ModelError(
                f"model {manifest.name}: {path}: cannot be read: {error.strerror or error}"
            ) from None
        if found != expected:
            raise ModelError(
                f"model {manifest.name}: {path}: is not the file of the manifest: sha256 expected "
                f"{expected}, found {found}; fetch the file again, or set the new sha256 if you "
                "changed it on purpose"
            )


def model_hash(manifest: ModelManifest) -> str:
    """Identity of everything that changes a model's answers, 64 hexadecimal digits.

    The contents of its files (by their SHA-256), what goes in and what comes out; not its name,
    where its files lie, licence, source or description. Nor `half`: journals of the GPU engine
    are kept apart from the others already, and `half` is for models of which it changes nothing.
    """
    matters: dict[str, Any] = {
        "answers": RESULTS_VERSION,
        "task": manifest.task,
        "sha256": manifest.sha256,
        "input": manifest.input.model_dump(mode="json"),
        "output": manifest.output.model_dump(mode="json", exclude={"anchors", "labels"}),
        "crop": manifest.crop and manifest.crop.model_dump(mode="json"),
        "telling": manifest.telling and manifest.telling.model_dump(mode="json"),
    }
    canonical = json.dumps(matters, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
