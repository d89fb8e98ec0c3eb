"""A user's own manifest and its files, copied into the models folder under its name."""

import shutil
import tempfile
from pathlib import Path

from gpu_kernels.models.catalogue.entry import catalogue
from gpu_kernels.models.manifest import load_manifest, shipped_models, verify
from gpu_kernels.models.models_folder import MODEL_NAME
from odins_ravne_assets.model_library.install import locked, place
from odins_ravne_assets.model_library.write_errors import write_error
from resources.errors import ModelError, UsageError


def install_own(path: str, models_folder: Path) -> Path:
    """Copy a model into the models folder, and return its folder there.

    Raises:
        UsageError: its name cannot be that of a folder, or is taken.
        ModelError: the manifest is invalid, or its files are not intact or not beside it.
        StoreError: the models folder cannot be written.
    """
    manifest = load_manifest(path)
    name, source = manifest.name, Path(path).expanduser().absolute()
    if not MODEL_NAME.fullmatch(name) or name.endswith((".toml", ".json")):
        raise UsageError(
            f"{path}: name {name!r} must have lower-case letters, digits, '.' and '-' only"
        )
    if name in shipped_models() or name in catalogue():
        raise UsageError(f"{path}: name {name} is that of another model; choose another name")
    verify(manifest)
    for file in manifest.files:
        if file.parent != source.parent:
            raise ModelError(f"{path}: {file.name} must be in the folder of the manifest")
    try:
        with locked(name, models_folder, lambda: None) as downloads:
            staging = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=downloads))
            try:
                for file in manifest.files:
                    shutil.copyfile(file, staging / file.name)
                shutil.copyfile(source, staging / f"{name}.toml")
                place(staging, models_folder / name)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise write_error(models_folder, error) from None
    return models_folder / name
