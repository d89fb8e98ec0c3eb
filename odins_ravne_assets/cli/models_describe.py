"""`munin models verify` and `describe`: a graph and its manifest, compared or written."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from odins_ravne_assets.cli.terminal import out
from odins_ravne_assets.model_library.used_models import shell_word
from resources.errors import StoreError, UsageError

if TYPE_CHECKING:
    from gpu_kernels.models.manifest import ModelManifest
    from gpu_kernels.preprocessing.letterbox import Picture

SAMPLE, SAMPLE_SIZE = "cat", (1280, 960)  # width, height


def print_verified(manifest: "ModelManifest") -> None:
    """Check a model, and print what it finds in a sample picture; see `verified_line`."""
    out.print(verified_line(manifest), soft_wrap=True, markup=False)


def verified_line(manifest: "ModelManifest") -> str:
    """Check a model, and return what it finds in a sample picture.

    Raises:
        ModelError: see `gpu_kernels.inspection.verification.verify_model`.
    """
    from gpu_kernels.inspection.verification import verify_model

    finding = verify_model(manifest, _sample())
    return f"{manifest.name}: OK, {finding}"


def describe_model(
    file: Annotated[Path, typer.Argument(help="An ONNX file.")],
    write: Annotated[
        Path | None,
        typer.Option(metavar="MANIFEST", help="Write it to this .toml file, beside FILE."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="A classifier's labels. Default: a file with as many rows, beside FILE."),
    ] = None,
) -> None:
    """Print the manifest of an ONNX file, with comments on what the file does not show."""
    from gpu_kernels.inspection.description import describe
    from gpu_kernels.models.manifest import load_manifest

    if write is not None:
        _check_target(write, file)
    text = describe(file, _sample(), labels).text
    if write is None:
        out.print(text, end="", soft_wrap=True, markup=False)
        return
    try:
        with write.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise StoreError(f"{write}: cannot be written: {error.strerror or error}") from None
    out.print(f"wrote {write}; check what its comments say", soft_wrap=True, markup=False)
    manifest = load_manifest(str(write))
    print_verified(manifest)
    key = "classifier" if manifest.task == "classifier" else "detector"
    path = shell_word(str(write.absolute()))
    out.print(f"To use it in a profile: models.{key}: {path}", soft_wrap=True, markup=False)
    out.print(f"To install it: munin models add {path}", soft_wrap=True, markup=False)


def _check_target(write: Path, file: Path) -> None:
    """Refuse a manifest that could not be read, or that exists.

    Raises:
        UsageError: it is refused.
    """
    if write.suffix != ".toml":
        raise UsageError(f"--write {write}: must end in .toml")
    if write.absolute().parent != file.absolute().parent:
        raise UsageError(f"--write {write}: a manifest must be in the folder of {file}")
    if write.exists():
        raise UsageError(f"--write {write}: exists; name another file, or remove it")


def _sample() -> "Picture":
    from odins_ravne_assets.demo.footage import read_sample

    return read_sample(SAMPLE, SAMPLE_SIZE)
