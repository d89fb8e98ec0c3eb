"""Model manifests: the input and the output of a model file, read from TOML.

A manifest is in the folder of its files: `file`, `anchors` and `labels` are relative paths.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from gpu_kernels.models.licences import is_binding
from gpu_kernels.models.manifest_sections import (
    LATER_KEYS,
    CategoryRefinement,
    ClassifierOutput,
    Crop,
    DetectorOutput,
    FileName,
    InputSpec,
    Section,
    Sha256,
    SsdOutput,
)
from gpu_kernels.models.models_folder import MODEL_NAME, installed_manifest, installed_models
from gpu_kernels.models.toml_file import TomlError, read_toml
from resources.errors import ModelError
from resources.user_path import special_file, user_path

SHIPPED_MODELS = Path(__file__).parent / "shipped"
SHIPPED_ENSEMBLES = Path(__file__).parent / "ensembles"
# Read here as data: the room `catalogue`, which imports this module, reads them whole.
CATALOGUE_ENTRIES = Path(__file__).parent / "catalogue" / "entries"

# Increased when code in this package changes the results of the same model on the same picture, so
# that recorded results are recomputed.
RESULTS_VERSION = 1

# What `munin models describe` writes where the file does not say it.
UNKNOWN = "unknown"

# Paths of files, whose contents are in the hash of a model instead.
FILE_KEYS = {"anchors", "labels"}


class ModelManifest(Section):
    """A model: its files, its input, its output, and its origin.

    The old names of three keys, `honest`, `half` and `telling`, are still read.
    """

    name: Annotated[str, Field(min_length=1)]
    task: Literal["detector", "classifier"]
    file: FileName
    sha256: Sha256
    # Purpose and limits, in one line.
    description: str = Field(validation_alias=AliasChoices("description", "honest"))
    licence: str
    source: str
    home: str
    citation: str = ""
    # GPUs may compute it in float16; tools/check_fp16.py has confirmed its accuracy.
    fp16: bool = Field(default=False, validation_alias=AliasChoices("fp16", "half"))
    input: InputSpec
    output: Annotated[DetectorOutput | ClassifierOutput, Field(discriminator="decoding")]
    crop: Crop | None = None
    category_refinement: CategoryRefinement | None = Field(
        default=None, validation_alias=AliasChoices("category_refinement", "telling")
    )

    _folder: Path = PrivateAttr(default=SHIPPED_MODELS)

    @model_validator(mode="after")
    def _sections_match_task(self) -> Self:
        classifies = isinstance(self.output, ClassifierOutput)
        if classifies != (self.task == "classifier"):
            raise ValueError(f"decoding {self.output.decoding} is not one of a {self.task}")
        if classifies and self.crop is None:
            raise ValueError("a classifier needs a [crop] section")
        if self.category_refinement and (classifies or self.crop is None):
            raise ValueError(
                "a [category_refinement] section needs a detector with a [crop] section"
            )
        return self

    @property
    def path(self) -> Path:
        """The model file."""
        return self._folder / self.file

    @property
    def detector_output(self) -> DetectorOutput:
        """The output section of a detector.

        Raises:
            ModelError: this is a classifier.
        """
        if isinstance(self.output, ClassifierOutput):
            raise ModelError(f"model {self.name}: is a classifier; a detector is needed")
        return self.output

    @property
    def classifier_output(self) -> ClassifierOutput:
        """The output section of a classifier.

        Raises:
            ModelError: this is a detector.
        """
        if not isinstance(self.output, ClassifierOutput):
            raise ModelError(f"model {self.name}: is a detector; a classifier is needed")
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

    def resolve(self, relative: str) -> Path:
        """Return the path of a file that the manifest names."""
        return self._folder / relative


_MANIFEST: TypeAdapter[ModelManifest] = TypeAdapter(ModelManifest)


def shipped_models() -> list[str]:
    """Return the names of the models in the package."""
    return _names_in(SHIPPED_MODELS)


def shipped_ensembles() -> list[str]:
    """Return the names of the ensembles in the package; see `gpu_kernels.models.ensemble`."""
    return _names_in(SHIPPED_ENSEMBLES)


def _names_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_manifest(name_or_path: str, folder: str | None = None) -> ModelManifest:
    """Read the manifest of a shipped or installed model by name, or by the path of a .toml file.

    Args:
        folder: `models.folder` of the profile, see `gpu_kernels.models.models_folder`.

    Raises:
        ModelError: there is no such manifest, or it is invalid; `verify` checks the files.
    """
    path = find_manifest(name_or_path, folder)
    manifest = _parse(path)
    manifest._folder = path.parent
    return manifest


def find_manifest(name_or_path: str, folder: str | None = None) -> Path:
    """Return the file of a model or an ensemble; see `load_manifest`.

    Raises:
        ModelError: there is none.
        UsageError: the path is in the home of an unknown user.
    """
    path = user_path(name_or_path)
    if path.suffix == ".toml":
        if path.is_file():
            return path.absolute()
        raise ModelError(f"model manifest {path}: no such file; check the path in the profile")
    for folder_of_package in (SHIPPED_MODELS, SHIPPED_ENSEMBLES):
        if name_or_path in _names_in(folder_of_package):
            return folder_of_package / f"{name_or_path}.toml"
    if MODEL_NAME.fullmatch(name_or_path) and (found := installed_manifest(name_or_path, folder)):
        return found
    bucket = f" --to {folder}" if folder and folder.startswith("s3://") else ""
    if command := _add_command(name_or_path):
        raise ModelError(f"model {name_or_path}: is not installed; install it: {command}{bucket}")
    known = ", ".join(
        dict.fromkeys([*shipped_models(), *shipped_ensembles(), *installed_models(folder)])
    )
    raise ModelError(
        f"model {name_or_path}: unknown; use one of {known}, the path of a .toml manifest, or "
        f"install it: munin models catalogue, munin models add NAME{bucket}"
    )


def _add_command(name: str) -> str | None:
    """Return the command that installs a model of the catalogue; None if it has no such model."""
    if not MODEL_NAME.fullmatch(name) or name not in _names_in(CATALOGUE_ENTRIES):
        return None
    licence = str(read_toml(CATALOGUE_ENTRIES / f"{name}.toml")["licence"])
    word = f'"{licence}"' if " " in licence else licence
    return f"munin models add {name}" + (f" --accept {word}" if is_binding(licence) else "")


def _parse(path: Path) -> ModelManifest:
    try:
        tree = read_toml(path)
    except TomlError as error:
        raise ModelError(f"model manifest {path}: {error}") from None
    try:
        return _MANIFEST.validate_python(tree)
    except ValidationError as error:
        raise ModelError(f"model manifest {path}: {describe_error(error)}") from None


def describe_error(error: ValidationError) -> str:
    """Return pydantic's first error in one line, and the number of further ones."""
    errors = error.errors(include_url=False)
    first = errors[0]
    location = [str(part) for part in first["loc"]]
    if location[:1] == ["output"] and len(location) > 1:
        del location[1]  # the name of the decoding, which pydantic inserts
    key = ".".join(location)
    prefix = f"{key}: " if key else ""
    if first["type"] == "missing":
        problem = "is missing; add it"
    elif first["type"] == "extra_forbidden":
        problem = "unknown key; remove it or correct its spelling"
    elif first["type"] == "value_error":
        problem = str(first["ctx"]["error"])
    elif first["type"].startswith("union_tag"):
        prefix, problem = "output.decoding: ", first["msg"]
    else:
        problem = f"{first['input']!r} is not allowed: {first['msg'][0].lower()}{first['msg'][1:]}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{prefix}{problem}{more}".replace("\n", " ")


def verify(manifest: ModelManifest) -> None:
    """Compare the checksums (SHA-256) of the model's files with the manifest.

    Raises:
        ModelError: a file is missing, cannot be read, or has another checksum.
    """
    for path, expected in manifest.files.items():
        try:
            if reason := special_file(path.stat().st_mode):  # opening a pipe would block
                raise ModelError(f"model {manifest.name}: {path}: {reason}, not a file")
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            raise ModelError(
                f"model {manifest.name}: {path}: no such file; add it or correct the manifest"
            ) from None
        except OSError as error:
            raise ModelError(
                f"model {manifest.name}: {path}: cannot be read: {error.strerror or error}"
            ) from None
        if found != expected:
            raise ModelError(
                f"model {manifest.name}: {path}: does not match the manifest: sha256 expected "
                f"{expected}, found {found}; download the file again, or set the new sha256 if you "
                "changed it on purpose (cameras with results then need --update)"
            )


def model_hash(manifest: ModelManifest) -> str:
    """Return a hash of everything that affects a model's results, 64 hexadecimal digits.

    Covers the contents of its files (by their SHA-256), its input and its output, but not its name,
    the location of its files, licence, source or description. Not `fp16` either, which
    is for models whose results it does not change.
    """
    fields: dict[str, Any] = {
        "answers": RESULTS_VERSION,
        "task": manifest.task,
        "sha256": manifest.sha256,
        "input": _hashed_fields(manifest.input, LATER_KEYS["input"]),
        "output": _hashed_fields(manifest.output, LATER_KEYS["output"]),
        "crop": manifest.crop and manifest.crop.model_dump(mode="json"),
        "telling": manifest.category_refinement
        and manifest.category_refinement.model_dump(mode="json"),
    }
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _hashed_fields(section: Section, later: set[str]) -> dict[str, Any]:
    """Return the fields of a section without files, and without later keys at their default."""
    omitted = {
        key for key, field in type(section).model_fields.items()
        if key in FILE_KEYS or (key in later and getattr(section, key) == field.default)
    }  # fmt: skip
    return section.model_dump(mode="json", exclude=omitted)
