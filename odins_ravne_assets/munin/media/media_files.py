"""Recognise media files: by name in a listing, by content (magic numbers) when opened.

`is_medium` is the one rule for which keys a run processes: listings of footage, estimates, sensors
and the choice of cameras use it, so that no sensor requests a run for a file that no run takes.

Imports no decoder, because listing cameras must be fast.
"""

import re
from pathlib import PurePosixPath
from typing import Literal

from resources.storage.object_store import unusable_name

Kind = Literal["image", "video"]
Format = Literal[
    "jpeg", "png", "tiff", "webp", "heif", "raw", "mp4", "mov", "avi", "mkv", "mpeg", "asf", "3gp"
]

# Raw files of cameras. One beside a JPEG of the same name is a copy of it (see raw_pairs); of any
# other the preview is read.
RAW_EXTENSIONS = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef",
    ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
)  # fmt: skip

# The formats expected of each extension; any other gets a remark. MP4, MOV and 3GP are one family
# (ISO 14496-12), and cameras mix their extensions.
ISO_MEDIA: tuple[Format, ...] = ("mp4", "mov", "3gp")
EXPECTED_FORMATS: dict[str, tuple[Format, ...]] = {
    ".jpg": ("jpeg",),
    ".jpeg": ("jpeg",),
    ".jpe": ("jpeg",),
    ".jfif": ("jpeg",),
    ".png": ("png",),
    ".tif": ("tiff",),
    ".tiff": ("tiff",),
    ".webp": ("webp",),
    ".heic": ("heif",),
    ".heif": ("heif",),
    ".hif": ("heif",),
    **dict.fromkeys(RAW_EXTENSIONS, ("raw",)),
    ".mp4": ISO_MEDIA,
    ".m4v": ISO_MEDIA,
    ".mov": ISO_MEDIA,
    ".qt": ISO_MEDIA,
    ".3gp": ISO_MEDIA,
    ".3g2": ISO_MEDIA,
    ".avi": ("avi",),
    ".mkv": ("mkv",),
    ".webm": ("mkv",),
    ".mpg": ("mpeg",),
    ".mpeg": ("mpeg",),
    ".mpe": ("mpeg",),
    ".m2v": ("mpeg",),
    ".mts": ("mpeg",),  # camcorders: AVCHD
    ".m2ts": ("mpeg",),
    ".m2t": ("mpeg",),
    ".ts": ("mpeg",),
    ".mod": ("mpeg",),
    ".tod": ("mpeg",),
    ".vob": ("mpeg",),
    ".asf": ("asf",),
    ".wmv": ("asf",),
}
IMAGE_FORMATS: frozenset[Format] = frozenset({"jpeg", "png", "tiff", "webp", "heif", "raw"})
# Pictures and videos that are not read: each is a row that fails, with this as the reason.
UNSUPPORTED: dict[str, tuple[Kind, str]] = {
    ".avif": ("image", "an AVIF picture"),
    ".bmp": ("image", "a BMP picture"),
    ".gif": ("image", "a GIF picture"),
    ".jp2": ("image", "a JPEG 2000 picture"),
    ".jxl": ("image", "a JPEG XL picture"),
    ".264": ("video", "a video without a container"),
    ".265": ("video", "a video without a container"),
    ".h264": ("video", "a video without a container"),
    ".h265": ("video", "a video without a container"),
    ".hevc": ("video", "a video without a container"),
    ".dv": ("video", "a DV video"),
    ".flv": ("video", "a Flash video"),
    ".mxf": ("video", "an MXF video"),
    ".ogv": ("video", "an Ogg video"),
    ".rm": ("video", "a RealMedia video"),
    ".rmvb": ("video", "a RealMedia video"),
}
UNSUPPORTED_NAMES = frozenset(name for _, name in UNSUPPORTED.values())

# Folders and files that operating systems, network disks and recycle bins leave on cards and
# disks, in lower case. Names that begin with a dot (.Trash-1000) are hidden anyway.
RECYCLE_BINS = frozenset(
    {
        "$recycle.bin",  # Windows since Vista
        "recycler",  # Windows 2000 and XP, NTFS
        "recycled",  # Windows, FAT
        "recycle bin",  # ReadyNAS
        "recycle.bin",
        "#recycle",  # Synology, Samba
        "@recycle",  # QNAP
        "trashbox",  # Buffalo
        "network trash folder",  # AFP
    }
)
SYSTEM_NAMES = RECYCLE_BINS | {
    "#snapshot",  # Synology
    "~snapshot",  # NetApp
    "@recently-snapshot",  # QNAP
    "@__thumb",  # QNAP
    "@eadir",  # Synology
    "@sharebin",  # Synology
    "@tmp",  # Synology
    "__macosx",
    "desktop.ini",
    "lost+found",  # fsck
    "lost.dir",  # Android
    "system volume information",
    "temporary items",  # AFP
    "thumbs.db",
}
# What chkdsk recovers, in a new folder each time.
CHKDSK_FOLDER = re.compile(r"found\.\d{3}", re.IGNORECASE)

# Bytes that `sniff` needs: three packets of an MPEG transport stream.
HEAD_BYTES = 1024
MPEG_PACK, MPEG_SEQUENCE = b"\0\0\1\xba", b"\0\0\1\xb3"
TS_PACKET, M2TS_PACKET = 188, 192
# QuickTime files older than the `ftyp` box begin with one of these.
QUICKTIME_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
AVIF_BRANDS = frozenset({b"avif", b"avis"})
CANON_RAW_BRAND = b"crx "
# Raw files whose first bytes are their own; those of other cameras begin as a TIFF does.
RAW_HEADS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb")
CANON_RAW_MARK = b"CR"  # at byte 8 of a TIFF
# Other formats found on cards under the name of a medium, by magic number.
FOREIGN_FORMATS = {
    b"GIF8": "a GIF picture",
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
    return PurePosixPath(key.rpartition("/")[2]).suffix.lower()


def kind_by_name(key: str) -> Kind | None:
    """Return the kind of a file by its extension; None if it is not a medium."""
    extension = extension_of(key)
    if formats := EXPECTED_FORMATS.get(extension):
        return kind_of_format(formats[0])
    return UNSUPPORTED[extension][0] if extension in UNSUPPORTED else None


def hidden_part(key: str) -> str | None:
    """Return the first folder or name of a key that is hidden or a system's; None if none is."""
    return next((part for part in key.split("/") if _is_hidden_name(part)), None)


def is_hidden(key: str) -> bool:
    """Return True if a key, or a folder above it, is hidden or a system file."""
    return hidden_part(key) is not None


def _is_hidden_name(name: str) -> bool:
    if name in {".", ".."}:
        return False  # no names of files: see `unusable_name`
    plain = name.lower()
    return name.startswith(".") or plain in SYSTEM_NAMES or bool(CHKDSK_FOLDER.fullmatch(plain))


def is_medium(key: str) -> bool:
    """Return True if a key names a medium that a run processes."""
    return looks_like_medium(key) and unusable_name(key) is None


def looks_like_medium(key: str) -> bool:
    """Return True if a key has the extension of a medium and is not hidden.

    One that is no medium (`is_medium`) has a name that no file can have, and is reported.
    """
    return kind_by_name(key) is not None and not is_hidden(key)


def path_in_table(key: str) -> str:
    """Return a key as the media table has it: bytes of a name that are not UTF-8 are escaped."""
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def sniff(head: bytes) -> Format | None:
    """Return the format by the first HEAD_BYTES of a file; None if it is not supported."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(RAW_HEADS):
        return "raw"
    if head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return "raw" if head[8:10] == CANON_RAW_MARK else "tiff"
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
    if box != b"ftyp" or brand in AVIF_BRANDS:
        return None
    if brand in HEIF_BRANDS:
        # A family brand: the other brands of the box say whether it is an AVIF.
        return None if any(each in head[16:64] for each in AVIF_BRANDS) else "heif"
    if brand == CANON_RAW_BRAND:
        return "raw"
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
    if head[4:8] == b"ftyp" and any(each in head[8:64] for each in AVIF_BRANDS):
        return "an AVIF picture"
    for magic, name in FOREIGN_FORMATS.items():
        if head.startswith(magic):
            return name
    printable = sum(byte >= 0x20 or byte in b"\t\r\n\f" for byte in head)
    return "text" if b"\0" not in head and printable == len(head) else None
