"""Models in a bucket (or another folder): copied there, and from there to the machine of a job."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from gpu_kernels.models.ensemble import AUTO, Ensemble, load_ensemble
from gpu_kernels.models.manifest import (
    load_manifest,
    shipped_ensembles,
    shipped_models,
    verify,
)
from gpu_kernels.models.models_folder import MODEL_NAME, local_models_folder
from odins_ravne_assets.model_library.write_errors import write_error
from resources.errors import ModelError
from resources.settings.profile import Models
from resources.storage.file_lock import SystemFileLock
from resources.storage.layout import MODEL_DOWNLOADS_FOLDER, MODEL_ORIGIN_FILE, model_manifest_key
from resources.storage.object_store import S3_SCHEME, ObjectStore

MAX_MANIFEST = 1024 * 1024  # bytes
Log = Callable[[str], None]


def named_models(names: Iterable[str | None]) -> list[str]:
    """Return the names among those of a profile that are neither shipped nor paths of files."""
    known = {AUTO, *shipped_models(), *shipped_ensembles()}
    return [
        name for name in names if name and name not in known and MODEL_NAME.fullmatch(name)
    ]  # fmt: skip


def upload_model(folder: Path, store: ObjectStore) -> bool:
    """Copy an installed model into a store, its manifest last: what has a manifest is complete.

    Args:
        folder: of the model.

    Returns:
        False if the store has the same model already.

    Raises:
        ModelError: the model is not intact.
        StoreError: the store refuses.
    """
    name = folder.name
    files = _verified_files(folder / f"{name}.toml")
    key = model_manifest_key(name)
    text = (folder / f"{name}.toml").read_bytes()
    present = all(store.exists(f"{name}/{file}") for file in files)
    if present and store.exists(key) and store.read_bytes(key) == text:
        return False
    if (folder / MODEL_ORIGIN_FILE).is_file():
        files.append(MODEL_ORIGIN_FILE)
    store.delete(key)
    for file in files:
        with store.writing(f"{name}/{file}") as target:
            shutil.copyfile(folder / file, target)
    store.write_bytes(key, text)
    return True


def fetch_models(models: Models, open_store: Callable[[str], ObjectStore], log: Log) -> None:
    """Copy the models of a profile from its bucket to this machine, if they are not there.

    Does nothing if the models folder is on this machine. A copy is checked against the manifest.
    Shipped models, paths and predictions are left out; the parts of an ensemble are copied too.

    Raises:
        ModelError: the bucket lacks a model, or its files are not those of its manifest.
        StoreError: the bucket refuses, or the copy cannot be written.
    """
    folder = models.folder
    wanted = named_models([models.detector, models.category_detector, models.classifier])
    if folder is None or not folder.startswith(S3_SCHEME) or not wanted:
        return
    store, cache = open_store(folder), local_models_folder(folder)
    copied: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in copied:
            continue
        copied.add(name)
        try:
            (cache / MODEL_DOWNLOADS_FOLDER).mkdir(parents=True, exist_ok=True)
            lock = cache / MODEL_DOWNLOADS_FOLDER / f"{name}.lock"
            with SystemFileLock(lock):
                _fetch(name, store, cache, log)
        except OSError as error:
            raise write_error(cache, error) from None
        if ensemble := load_ensemble(str(cache / model_manifest_key(name))):
            wanted += named_models(ensemble_models(ensemble))


def ensemble_models(ensemble: Ensemble) -> list[str]:
    """Return the names of the models of an ensemble."""
    own = [ensemble.category_detector.detector] if ensemble.category_detector else []
    return [*(part.detector for part in ensemble.parts), *own]


def _fetch(name: str, store: ObjectStore, cache: Path, log: Log) -> None:
    key = model_manifest_key(name)
    if not store.exists(key):
        raise ModelError(
            f"model {name}: not in {store.url}; put it there: munin models add {name} --to "
            f"{store.url}"
        )
    text = store.read_bytes(key)
    if len(text) > MAX_MANIFEST:
        raise ModelError(f"model {name}: its manifest in {store.url} is too large to be one")
    target = cache / name
    if _is_same(target, name, text):
        return
    staging = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache / MODEL_DOWNLOADS_FOLDER))
    try:
        path = staging / f"{name}.toml"
        path.write_bytes(text)
        for file in _flat_files(path):
            store.download_to(f"{name}/{file}", staging / file)
        _verified_files(path)
        if target.exists():
            shutil.rmtree(target)
        os.replace(staging, target)  # noqa: PTH105 (folders)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    log(f"model {name} copied from {store.url}")


def _is_same(folder: Path, name: str, text: bytes) -> bool:
    """Return True if the copy on this machine is intact, and has the same manifest."""
    path = folder / f"{name}.toml"
    try:
        if path.read_bytes() != text:
            return False
        _verified_files(path)
    except (OSError, ModelError):
        return False
    return True


def _verified_files(path: Path) -> list[str]:
    """Return the names of a manifest's files, after a check of their checksums."""
    files = _flat_files(path)
    if files:
        verify(load_manifest(str(path)))
    return files


def _flat_files(path: Path) -> list[str]:
    """Return the names of a manifest's files, which must be in its folder; none for an ensemble.

    Raises:
        ModelError: a file is elsewhere, or the manifest is invalid.
    """
    if load_ensemble(str(path)):
        return []
    manifest, names = load_manifest(str(path)), []
    for file in manifest.files:
        if file.parent != path.parent or file.name in {"", ".", ".."}:
            raise ModelError(
                f"model {manifest.name}: its file {file.name} must be in the folder of its manifest"
            )
        names.append(file.name)
    return names
