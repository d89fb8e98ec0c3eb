"""Files of a zip archive that somebody else has made: only the named members, of bounded size."""

import hashlib
import lzma
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.errors import ModelError

CHUNK = 1024 * 1024
MAX_TEXT = 4 * 1024 * 1024  # bytes of a list of labels or a manifest
MAX_MEMBERS = 10_000
# A network hardly shrinks: more is a decompression bomb.
MAX_RATIO = 50
# What zipfile and its decompressors raise at damaged files: a name that is not UTF-8, a date, a
# length or an offset that cannot be.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ArithmeticError,
    LookupError,
    ValueError,
    NotImplementedError,
)
# "PK": a local file, or the end of an empty archive.
SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")


def is_archive(path: Path) -> bool:
    """Return True if a file begins like a zip archive."""
    with path.open("rb") as stream:
        return stream.read(4) in SIGNATURES


class Archive:
    """An open zip archive.

    Args:
        name: names it in errors.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive = archive
        self._name = name
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise ModelError(f"{name}: holds more than {MAX_MEMBERS} files")
        for member in members:
            parts = member.filename.replace("\\", "/").split("/")
            if member.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
                raise ModelError(
                    f"{name}: refused: its member {member.filename!r} points outside the archive"
                )
        self._members = {member.filename: member for member in members}
        names = Counter(member.filename for member in members)
        self._repeated = {name for name, count in names.items() if count > 1}

    def has(self, member: str) -> bool:
        """Return True if there is a file of this name."""
        return member in self._members

    def extract(self, member: str, path: Path, max_bytes: int) -> str:
        """Write a member to `path`, and return its SHA-256.

        Raises:
            ModelError: it is missing, damaged, or larger than `max_bytes` or than its header says.
            OSError: it cannot be written.
        """
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as target:
            for chunk in self._read(member, max_bytes):
                size += len(chunk)
                digest.update(chunk)
                target.write(chunk)
        return digest.hexdigest()

    def text(self, member: str) -> str:
        """Return a small member as text.

        Raises:
            ModelError: it is missing, damaged, too large, or not UTF-8.
        """
        data = b"".join(self._read(member, MAX_TEXT))
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ModelError(f"{self._name}: its {member} is not UTF-8") from None

    def _read(self, member: str, max_bytes: int) -> Iterator[bytes]:
        info = self._members.get(member)
        if info is None or info.is_dir():
            networks = [name for name in self._members if name.endswith(".onnx")]
            found = f"; it has {', '.join(networks[:5])}" if networks else "; it has no .onnx file"
            raise ModelError(f"{self._name}: has no {member}{found}")
        if member in self._repeated:
            raise ModelError(f"{self._name}: refused: it has more than one file {member}")
        # Small files are allowed to shrink more: text does.
        allowed = min(max_bytes, max(MAX_TEXT, info.compress_size * MAX_RATIO))
        if info.file_size > allowed:
            raise ModelError(
                f"{self._name}: refused: its {member} would unpack to {info.file_size / 1e6:.0f} "
                f"MB from {info.compress_size / 1e6:.1f} MB; at most {allowed / 1e6:.0f} MB are "
                "accepted"
            )
        size = 0
        try:
            with self._archive.open(info) as source:
                while chunk := source.read(CHUNK):
                    size += len(chunk)
                    if size > allowed:
                        raise ModelError(f"{self._name}: refused: its {member} is larger than said")
                    yield chunk
        except DAMAGE as error:
            raise ModelError(f"{self._name}: its {member} is damaged: {error}") from None
        except RuntimeError as error:  # zipfile's error for an encrypted member
            raise ModelError(f"{self._name}: its {member} cannot be read: {error}") from None


@contextmanager
def open_archive(path: Path, name: str) -> Iterator[Archive]:
    """Open a zip archive.

    Args:
        name: names it in errors.

    Raises:
        ModelError: it is not one, or a member points outside.
    """
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGE as error:
        raise ModelError(f"{name}: is not a zip archive: {error}") from None
    with archive:
        yield Archive(archive, name)
