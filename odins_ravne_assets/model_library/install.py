"""Install a model of the catalogue: download, check, unpack, write the manifest, put in place.

Nothing is put into the models folder before every checksum is right and the model is verified: it
is put together in a folder of its own beside it, and that folder is renamed at the end.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpu_kernels.models.catalogue.entry import CatalogueEntry
from gpu_kernels.models.file_kind import not_loadable, other_kind
from gpu_kernels.models.manifest import (
    load_manifest,
    shipped_ensembles,
    shipped_models,
    verify,
)
from odins_ravne_assets.model_library.archive import Archive, is_archive, open_archive
from odins_ravne_assets.model_library.checksums import Checksum, check_file, expected_checksum
from odins_ravne_assets.model_library.download import (
    OnBytes,
    check_address,
    discard,
    download,
)
from odins_ravne_assets.model_library.manifest_text import manifest_text
from odins_ravne_assets.model_library.model_layout import ModelLayout, layout_of
from odins_ravne_assets.model_library.write_errors import write_error
from resources.errors import ModelError, StoreError, UsageError
from resources.storage.file_lock import SystemFileLock
from resources.storage.layout import (
    MODEL_DOWNLOADS_FOLDER,
    MODEL_LABELS_FILE,
    MODEL_NETWORK_FILE,
    MODEL_ORIGIN_FILE,
)
from resources.user_path import special_file, user_path

# Called with the manifest of a complete model before it is put in place; raises ModelError.
Check = Callable[[Path], None]

MEGABYTE = 1_000_000
# Bytes that an unpacked network may have per byte of the largest download.
UNPACKED = 2


@dataclass(frozen=True)
class Origin:
    """Where an installed model comes from; `origin.json` in its folder."""

    name: str
    source: str  # the address, or the path of the file that was given
    download_sha256: str
    checked_by: str  # the checksum that it was compared with; empty: recorded on first use
    licence: str
    accepted: bool
    installed_at: str


@dataclass
class Installation:
    """What an installation has done.

    Attributes:
        folder: of the model.
        notes: what the user should know: recorded checksums, differences from the catalogue.
        unchanged: True if the model was there already.
    """

    folder: Path
    notes: list[str] = field(default_factory=list)
    unchanged: bool = False


def install(
    entry: CatalogueEntry,
    models_folder: Path,
    given: str | None = None,
    accepted: bool = False,
    on_bytes: OnBytes = lambda have, total: None,
    log: Callable[[str], None] = lambda line: None,
    check: Check = lambda manifest: None,
) -> Installation:
    """Install a model into the models folder.

    Args:
        given: the path or address of a file to use in place of the catalogue's address.
        accepted: the user has accepted the licence.
        log: takes lines on another process that installs the same model, and on attempts.
        check: a model that it refuses is not installed; its download stays.

    Raises:
        UsageError: `given` cannot be used.
        ModelError: the file is not the one of the catalogue, or cannot be unpacked or described;
            or `check` refuses it.
        StoreError: it cannot be downloaded or written.
    """
    if entry.name in {*shipped_models(), *shipped_ensembles()}:
        raise UsageError(f"model {entry.name}: is shipped; a catalogue entry needs another name")
    try:
        with locked(entry.name, models_folder, log) as downloads:
            require_replaceable(models_folder / entry.name)
            origin = _read_origin(models_folder / entry.name)
            if origin and given is None and _is_complete(entry, models_folder):
                return Installation(models_folder / entry.name, unchanged=True)
            obtained = _obtain(entry, downloads, given, on_bytes, log)
            return _install(entry, models_folder, obtained, given, accepted, origin, check)
    except OSError as error:
        raise write_error(models_folder, error) from None


@dataclass(frozen=True)
class _Obtained:
    """The file of a model.

    Attributes:
        downloads: the folder for downloads.
        is_ours: it is a download, not a file of the user.
        checksum: that was fetched before the download, with its notes.
    """

    path: Path
    downloads: Path
    is_ours: bool
    checksum: tuple[Checksum | None, list[str]] | None


def _install(
    entry: CatalogueEntry,
    models_folder: Path,
    obtained: _Obtained,
    given: str | None,
    accepted: bool,
    before: Origin | None,
    check: Check,
) -> Installation:
    file = obtained.path
    staging = Path(tempfile.mkdtemp(prefix=f"{entry.name}-", dir=obtained.downloads))
    try:
        try:
            result = _put_together(entry, models_folder, obtained, given, accepted, before, staging)
        except ModelError:
            if obtained.is_ours:
                discard(file)
            raise
        path = staging / f"{entry.name}.toml"
        with not_installed(staging):
            verify(load_manifest(str(path)))
            check(path)
        place(staging, models_folder / entry.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    if obtained.is_ours:
        discard(file)
    return result


@contextmanager
def not_installed(staging: Path) -> Iterator[None]:
    """Say in the error of a check that the model is not installed, and leave out its folder."""
    try:
        yield
    except ModelError as error:
        reason = str(error).replace(f"{staging}{os.sep}", "")
        raise ModelError(f"{reason}; nothing was installed") from None


def _put_together(
    entry: CatalogueEntry,
    models_folder: Path,
    obtained: _Obtained,
    given: str | None,
    accepted: bool,
    before: Origin | None,
    staging: Path,
) -> Installation:
    """Check the file, and write the model into `staging`."""
    file = obtained.path
    bare = given is not None and bool(entry.download.member) and not is_archive(file)
    expected, notes = obtained.checksum or expected_checksum(entry, bare, online=False)
    checked = check_file(file, expected, _file_name(entry, given))
    origin = Origin(
        entry.name,
        given or entry.download.url,
        checked,
        expected.described if expected else "",
        entry.licence,
        accepted,
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    result = Installation(models_folder / entry.name, notes)
    _compare_with_record(before, origin, result)
    _unpack(entry, file, _file_name(entry, given), bare, staging, result)
    _write_origin(staging, origin)
    return result


def partial_download(models_folder: Path, name: str) -> Path:
    """Return the path of a model's download."""
    return models_folder / MODEL_DOWNLOADS_FOLDER / f"{name}.part"


def _file_name(entry: CatalogueEntry, given: str | None) -> str:
    """Return the name of a file for messages."""
    return Path(given).name if given else entry.download.file_name


def _obtain(
    entry: CatalogueEntry,
    downloads: Path,
    given: str | None,
    on_bytes: OnBytes,
    log: Callable[[str], None],
) -> _Obtained:
    """Return the file of the model, after a download if it is none of the user.

    Raises:
        UsageError: there is no such file.
        StoreError: it cannot be downloaded.
    """
    if given is None or "://" in given:
        address = given or entry.download.url
        check_address(address, named_by_user=given is not None)
        elsewhere = f"download {address} elsewhere and pass --from {entry.download.file_name}"
        # Before the download: a record that cannot be read is no reason to wait for a gigabyte.
        checksum = expected_checksum(entry, False, True, elsewhere) if given is None else None
        partial = partial_download(downloads.parent, entry.name)
        limit = int(entry.download.max_mb * MEGABYTE)
        download(address, partial, limit, on_bytes, elsewhere, log)
        return _Obtained(partial, downloads, True, checksum)
    path = user_path(given).absolute()
    reason = special_file(path.stat().st_mode) if path.exists() else "no such file"
    if reason:
        raise UsageError(f"--from {path}: {reason}; name {entry.download.file_name}")
    return _Obtained(path, downloads, False, None)


def _compare_with_record(before: Origin | None, now: Origin, result: Installation) -> None:
    """Compare a file without a published checksum with the one that was recorded at first."""
    if now.checked_by:
        return
    found = now.download_sha256
    if before is None:
        # A checksum that is published, but was not fetched, is in a note already.
        reason = "" if result.notes else "no checksum of this file is published: "
        colleague = "" if result.notes else "; compare it with that of a colleague"
        result.notes.append(f"{reason}recorded sha256 {found} in {MODEL_ORIGIN_FILE}{colleague}")
    elif before.download_sha256 != found:
        result.notes.append(
            f"the file differs from the one installed on {before.installed_at[:10]} "
            f"(sha256 {before.download_sha256[:12]}..., now {found[:12]}...)"
        )


def _unpack(
    entry: CatalogueEntry, file: Path, name: str, bare: bool, staging: Path, result: Installation
) -> None:
    """Write the network, the labels and the manifest into `staging`."""
    network, limit = staging / MODEL_NETWORK_FILE, int(entry.download.max_mb * MEGABYTE * UNPACKED)
    if bare or not entry.download.member:
        shutil.copyfile(file, network)
        with network.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        layout = layout_of(entry, None, name)
    else:
        with open_archive(file, name) as archive:
            layout = layout_of(entry, archive, name)
            sha256 = _extract_network(entry, archive, network, limit, layout, name)
    _refuse_other_than_onnx(network, name)
    result.notes += layout.notes
    labels_sha256 = None
    if layout.labels is not None:
        data = layout.labels.encode()
        (staging / MODEL_LABELS_FILE).write_bytes(data)
        labels_sha256 = hashlib.sha256(data).hexdigest()
    text = manifest_text(entry, layout, sha256, labels_sha256)
    (staging / f"{entry.name}.toml").write_text(text, encoding="utf-8", newline="\n")


def _extract_network(
    entry: CatalogueEntry,
    archive: Archive,
    network: Path,
    limit: int,
    layout: ModelLayout,
    name: str,
) -> str:
    member = entry.download.member or ""
    found = archive.extract(member, network, limit)
    for expected in (entry.download.member_sha256, layout.network_sha256):
        if expected and found != expected:
            raise ModelError(
                f"{name}: its {member} is not the published one: sha256 expected {expected}, found "
                f"{found}; nothing was installed"
            )
    return found


def _refuse_other_than_onnx(network: Path, name: str) -> None:
    """Refuse what is clearly no ONNX file, as an error page that was saved as one.

    An ONNX file is a protobuf message whose first field is the version of the format: byte 0x08.
    """
    if (kind := other_kind(network)) is not None:
        raise ModelError(f"{name}: its network {kind}; nothing was installed")
    with network.open("rb") as stream:
        if stream.read(1) != b"\x08":
            raise ModelError(f"{name}: its network {not_loadable(network)}; nothing was installed")


def place(staging: Path, target: Path) -> None:
    """Rename a complete folder to the model's; an older version makes way.

    Files are flushed first, so that a power cut leaves no empty model.

    Raises:
        StoreError: what is there is no model.
    """
    require_replaceable(target)
    for path in staging.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    staging.chmod(0o755)
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f"{target.name}-old-", dir=staging.parent))
        target.rename(old / target.name)
        staging.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        staging.rename(target)


def require_replaceable(target: Path) -> None:
    """Check that what is at the place of a model is a model, or an empty folder.

    Raises:
        StoreError: it is something else of the user, which must not be deleted.
    """
    if not os.path.lexists(target):
        return
    model = (f"{target.name}.toml", MODEL_ORIGIN_FILE)
    if target.is_dir():
        if any((target / name).is_file() for name in model) or not any(target.iterdir()):
            return
        raise StoreError(
            f"{target}: is a folder without a {model[0]}, so not one of a model: it is not "
            "replaced; move it away"
        )
    raise StoreError(f"{target}: is not the folder of a model: it is not replaced; move it away")


@contextmanager
def locked(
    name: str, models_folder: Path, log: Callable[[str], None] = lambda line: None
) -> Iterator[Path]:
    """Hold the lock of a model's installation; provide the folder for downloads."""
    downloads = models_folder / MODEL_DOWNLOADS_FOLDER
    downloads.mkdir(parents=True, exist_ok=True)
    lock = SystemFileLock(downloads / f"{name}.lock", thread_local=False)
    try:
        lock.acquire(blocking=False)
    except TimeoutError:
        log(f"another command is installing {name}; waiting for its end")
        lock.acquire()
    try:
        yield downloads
    finally:
        lock.release()


def _is_complete(entry: CatalogueEntry, models_folder: Path) -> bool:
    try:
        verify(load_manifest(str(models_folder / entry.name / f"{entry.name}.toml")))
    except ModelError:
        return False
    return True


def _read_origin(folder: Path) -> Origin | None:
    try:
        text = (folder / MODEL_ORIGIN_FILE).read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
        return Origin(**found)
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _write_origin(folder: Path, origin: Origin) -> None:
    text = json.dumps(asdict(origin), indent=2, ensure_ascii=False) + "\n"
    (folder / MODEL_ORIGIN_FILE).write_text(text, encoding="utf-8")
