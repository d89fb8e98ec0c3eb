"""A user's own manifest and its files, copied into the models folder under its name."""

import shutil
import tempfile
from pathlib import Path

from gpu_kernels.models.catalogue.entry import catalogue
from gpu_kernels.models.ensemble import load_ensemble
from gpu_kernels.models.manifest import load_manifest, shipped_ensembles, shipped_models, verify
from gpu_kernels.models.models_folder import MODEL_NAME, MODEL_NAME_RULE
from odins_ravne_assets.model_library.bucket import ensemble_models
from odins_ravne_assets.model_library.install import Check, locked, not_installed, place
from odins_ravne_assets.model_library.write_errors import write_error
from resources.errors import ModelError, UsageError
from resources.user_path import user_path


def install_own(path: str, models_folder: Path, check: Check = lambda manifest: None) -> Path:
    """Copy a model or an ensemble into the models folder, and return its folder there.

    Args:
        check: what it refuses is not installed.

    Raises:
        UsageError: its name cannot be that of a folder, or is taken.
        ModelError: the manifest is invalid, or its files are not intact or not beside it; or
            `check` refuses it.
        StoreError: the models folder cannot be written.
    """
    source = user_path(path).absolute()
    name, files = _name_and_files(source)
    if not MODEL_NAME.fullmatch(name):
        raise UsageError(f"{path}: name {name!r} is not allowed: it must have {MODEL_NAME_RULE}")
    if name in {*shipped_models(), *shipped_ensembles(), *catalogue()}:
        raise UsageError(f"{path}: name {name} is that of another model; choose another name")
    for file in files:
        if file.parent != source.parent:
            raise ModelError(f"{path}: {file.name} must be in the folder of the manifest")
    try:
        with locked(name, models_folder) as downloads:
            staging = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=downloads))
            try:
                for file in files:
                    shutil.copyfile(file, staging / file.name)
                shutil.copyfile(source, staging / f"{name}.toml")
                with not_installed(staging):
                    check(staging / f"{name}.toml")
                place(staging, models_folder / name)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise write_error(models_folder, error) from None
    return models_folder / name


def _name_and_files(path: Path) -> tuple[str, list[Path]]:
    """Return the name of a model or ensemble, and its verified files beside the manifest."""
    if ensemble := load_ensemble(str(path)):
        for each in ensemble_models(ensemble):
            if each.endswith(".toml"):
                raise ModelError(
                    f"{path}: its part {each} is a path; install the part, and name it"
                )
        return ensemble.name, []
    manifest = load_manifest(str(path))
    verify(manifest)
    return manifest.name, list(manifest.files)
