"""Remove an installed model, and what is left of its download."""

import shutil
import tempfile
from pathlib import Path

from gpu_kernels.models.ensemble import load_ensemble
from gpu_kernels.models.manifest import shipped_ensembles, shipped_models
from gpu_kernels.models.models_folder import MODEL_NAME, installed_models, local_models_folder
from odins_ravne_assets.model_library.bucket import ensemble_models
from odins_ravne_assets.model_library.download import discard
from odins_ravne_assets.model_library.install import locked, partial_download
from odins_ravne_assets.model_library.write_errors import write_error
from resources.errors import ModelError, UsageError


def remove_model(name: str, folder: str | None) -> list[Path]:
    """Remove a model of the models folder of this machine, and return what was removed.

    A download that was interrupted, or whose model was refused, is removed, too.

    Args:
        folder: `models.folder` of the profile. Of a bucket, the copy on this machine is removed.

    Raises:
        UsageError: the model is shipped or not installed.
        StoreError: it cannot be removed.
    """
    if name in {*shipped_models(), *shipped_ensembles()}:
        raise UsageError(f"model {name}: is shipped with the program; only installed models can go")
    models_folder = local_models_folder(folder)
    target, partial = models_folder / name, partial_download(models_folder, name)
    if not MODEL_NAME.fullmatch(name) or not (target.is_dir() or partial.exists()):
        installed = ", ".join(installed_models(folder)) or "none"
        raise UsageError(
            f"model {name}: is not installed in {models_folder}; installed: {installed}"
        )
    try:
        with locked(name, models_folder) as downloads:
            found = [path for path in (target, partial) if path.exists()]
            discard(partial)
            if target.is_symlink():
                target.unlink()
            elif target.is_dir():
                # Renamed first: a model is there or not, never in part.
                old = Path(tempfile.mkdtemp(prefix=f"{name}-old-", dir=downloads))
                target.rename(old / name)
                shutil.rmtree(old)
    except OSError as error:
        raise write_error(models_folder, error) from None
    return found


def ensembles_with(name: str, folder: str | None) -> list[str]:
    """Return the installed ensembles that a model is a part of."""
    found = []
    for other in installed_models(folder):
        try:
            ensemble = load_ensemble(other, folder)
        except ModelError:
            continue  # invalid: it names nothing
        if ensemble and name in ensemble_models(ensemble):
            found.append(other)
    return found
