"""Recognise media files: by name in a listing, by content (magic numbers) when opened.

Imports no decoder, because listing cameras must be fast.
"""

from pathlib import PurePosixPath
from typing import Literal

Kind = Literal["image", "video"]
Format = Literal["jpeg", "png", "tiff", "webp", "mp4", "mov", "avi", "mkv", "mpeg", "asf", "3gp"]

# The formats expected of each extension; any other gets a remark. MP4, MOV and 3GP are one family
# (ISO 14496-12), and cameras mix their extensions.
ISO_MEDIA: tuple[Format, ...] = ("mp4", "mov", "3gp")
EXPECTED_FORMATS: dict[str, tuple[Format, ...]] = {
    ".jpg": ("jpeg",),
    ".jpeg": ("jpeg",),
    ".png": ("png",),
    ".tif": ("tiff",),
    ".tiff": ("tiff",),
    ".webp": ("webp",),
    ".mp4": ISO_MEDIA,
    ".m4v": ISO_MEDIA,
    ".mov": ISO_MEDIA,
    ".3gp": ISO_MEDIA,
    ".avi": ("avi",),
    ".mkv": ("mkv",),
    ".webm": ("mkv",),
    ".mpg": ("mpeg",),
    ".mpeg": ("mpeg",),
    ".mts": ("mpeg",),
    ".asf": ("asf",),
    ".wmv": ("asf",),
}
IMAGE_FORMATS: frozenset[Format] = frozenset({"jpeg", "png", "tiff", "webp"})

# Folders and files that operating systems, network disks and recycle bins leave on memory cards.
SYSTEM_NAMES = frozenset(
    {
        "$recycle.bin",
        "@eadir",
        "__macosx",
        "desktop.ini",
        "found.000",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)

# Bytes that `sniff` needs: three packets of an MPEG transport stream.
HEAD_BYTES = 1024
MPEG_PACK, MPEG_SEQUENCE = b"\0\0\1\xba", b"\0\0\1\xb3"
TS_PACKET, M2TS_PACKET = 188, 192
# QuickTime files older than the `ftyp` box begin with one of these.
QUICKTIME_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
PICTURE_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif"})
# Other formats found on cards under the name of a medium, by magic number.
FOREIGN_FORMATS = {
    b"GIF8": "a GIF",
    b"BM": "a BMP picture",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"Rar!": "a RAR archive",
    b"ID3": "a sound file",
}


def kind_of_format(media_format: Format) -> Kind:
    return "image" if media_format in IMAGE_FORMATS else "video"


def extension_of(key: str) -> str:
    """Return the extension in lower case with its dot; empty if there is none."""
    return PurePosixPath(key).suffix.lower()


def kind_by_name(key: str) -> Kind | None:
    """Return the kind of a file by its extension; None if it is not a medium."""
    formats = EXPECTED_FORMATS.get(extension_of(key))
    return kind_of_format(formats[0]) if formats else None


def is_hidden(key: str) -> bool:
    """Return True if a key, or a folder above it, is hidden or a system file."""
    return any(
        part.startswith(".") or part.lower() in SYSTEM_NAMES for part in PurePosixPath(key).parts
    )


def is_medium(key: str) -> bool:
    """Return True if a key names a medium to process."""
    return kind_by_name(key) is not None and not is_hidden(key)


def sniff(head: bytes) -> Format | None:
    """Return the format by the first HEAD_BYTES of a file; None if it is not supported."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return "tiff"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "webp", b"AVI ": "avi"}.get(head[8:12])  # type: ignore[return-value]
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "mkv"
    if head.startswith(ASF_HEADER):
        return "asf"
    return _sniff_iso_media(head) or _sniff_mpeg(head)


def _sniff_iso_media(head: bytes) -> Format | None:
    box, brand = head[4:8], head[8:12]
    if box in QUICKTIME_BOXES:
        return "mov"
    if box != b"ftyp" or brand in PICTURE_BRANDS:
        return None
    if brand.startswith((b"3gp", b"3g2", b"3ge", b"3gs")):
        return "3gp"
    return "mov" if brand == b"qt  " else "mp4"


def _sniff_mpeg(head: bytes) -> Format | None:
    is_mpeg = head.startswith((MPEG_PACK, MPEG_SEQUENCE)) or is_transport_stream(head)
    return "mpeg" if is_mpeg else None


def is_transport_stream(head: bytes) -> bool:
    """Return True if an MPEG file is a transport stream, as camcorders write (.mts)."""
    return any(
        len(head) > start + 2 * packet and set(head[start::packet][:3]) == {0x47}
        for packet, start in ((TS_PACKET, 0), (M2TS_PACKET, 4))
    )


def describe_foreign(head: bytes) -> str | None:
    """Describe a file that is not a medium ("a GIF"); None if it is not recognised."""
    if not head.strip(b"\0"):
        return "all zeros, as a failing card writes"
    if head[4:8] == b"ftyp" and head[8:12] in PICTURE_BRANDS:
        return "a HEIC or AVIF picture"
    for magic, name in FOREIGN_FORMATS.items():
        if head.startswith(magic):
            return name
    printable = sum(byte >= 0x20 or byte in b"\t\r\n\f" for byte in head)
    return "text" if b"\0" not in head and printable == len(head) else None
