"""Checksums of downloads: pinned in the catalogue, or listed by the record of the archive."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gpu_kernels.models.catalogue.entry import CatalogueEntry
from odins_ravne_assets.model_library.download import fetch_json
from resources.errors import ModelError, StoreError


@dataclass(frozen=True)
class Checksum:
    """A published checksum."""

    kind: Literal["sha256", "md5"]
    value: str  # hexadecimal, lower case
    source: str

    @property
    def described(self) -> str:
        """The checksum in one line."""
        return f"{self.kind} {self.value} ({self.source})"


def expected_checksum(
    entry: CatalogueEntry, bare: bool, online: bool, elsewhere: str = ""
) -> tuple[Checksum | None, list[str]]:
    """Return the published checksum of a file, if there is one, and notes for the user.

    Args:
        bare: the file is the network itself, where the catalogue has an archive.
        online: a record may be fetched.
        elsewhere: what to do if the record cannot be fetched.

    Raises:
        ModelError: the record does not list the file.
        StoreError: the record cannot be fetched.
    """
    wanted = entry.download
    if bare:
        if wanted.member_sha256:
            return Checksum("sha256", wanted.member_sha256, "catalogue"), []
        return None, []
    if wanted.sha256:
        return Checksum("sha256", wanted.sha256, "catalogue"), []
    if wanted.md5:
        return Checksum("md5", wanted.md5, "catalogue"), []
    if wanted.md5_from and online:
        return _from_record(wanted.md5_from, wanted.file_name, elsewhere), []
    if wanted.md5_from:
        return None, [f"its MD5 is in {wanted.md5_from}, which was not asked: compare it there"]
    return None, []


def check_file(path: Path, expected: Checksum | None, name: str) -> str:
    """Compare a file with its published checksum, and return its SHA-256.

    Raises:
        ModelError: it has another checksum.
        OSError: it cannot be read.
    """
    sha256, other = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(1024 * 1024):
            sha256.update(chunk)
            other.update(chunk)
    if expected is None:
        return sha256.hexdigest()
    found = (sha256 if expected.kind == "sha256" else other).hexdigest()
    if found != expected.value:
        raise ModelError(
            f"{name}: is not the published file: {expected.kind} expected {expected.value} "
            f"({expected.source}), found {found}; nothing was installed"
        )
    return sha256.hexdigest()


def _from_record(url: str, file_name: str, elsewhere: str) -> Checksum:
    """Return the MD5 that a record of Zenodo lists for a file.

    Format: https://developers.zenodo.org, `files[].key` and `files[].checksum` as "md5:...".
    """
    record: Any = fetch_json(url, elsewhere)
    try:
        listed = {each["key"]: each["checksum"] for each in record["files"]}
    except (KeyError, TypeError):
        raise StoreError(f"{url}: is not a record with files and checksums") from None
    kind, _, value = str(listed.get(file_name, "")).partition(":")
    if kind != "md5" or len(value) != 32:
        raise ModelError(f"{url}: lists no MD5 of {file_name}; pass the file with --from FILE")
    return Checksum("md5", value.lower(), url)
