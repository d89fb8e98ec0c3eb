"""Dates of an XMP packet (ISO 16684-1), as attributes or elements of its descriptions."""

import re
from xml.etree import ElementTree

MAX_XMP_BYTES = 2**20
JPEG_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
XMP_DAMAGED = "XMP is damaged and ignored"

_EXIF, _XMP = "http://ns.adobe.com/exif/1.0/", "http://ns.adobe.com/xap/1.0/"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
# In order of preference. Times of edits (xmp:ModifyDate) are none of capture.
_DATES = (
    f"{{{_EXIF}}}DateTimeOriginal",
    f"{{{_PHOTOSHOP}}}DateCreated",
    f"{{{_EXIF}}}DateTimeDigitized",
    f"{{{_XMP}}}CreateDate",
)
_MAX_TEXTS = 100
# An entity can be as large as a disk when it is expanded; XMP has none.
_DECLARATION = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_DATE_ALONE = re.compile(r"[\d\s:/.-]{1,11}")


def xmp_times(packet: bytes) -> tuple[list[str], tuple[str, ...]]:
    """Return the texts of the capture dates that have a time, the best first, and remarks."""
    packet = packet[: packet.find(b"\0", 8)] if b"\0" in packet[8:] else packet
    if not packet.strip():
        return [], ()
    if len(packet) > MAX_XMP_BYTES or _DECLARATION.search(packet):
        return [], (XMP_DAMAGED,)
    try:
        root = ElementTree.fromstring(packet)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError):
        return [], (XMP_DAMAGED,)
    found: dict[str, list[str]] = {name: [] for name in _DATES}
    for element in root.iter():
        for name in _DATES:
            text = element.get(name) or (element.text if element.tag == name else None)
            if text and text.strip() and not _DATE_ALONE.fullmatch(text.strip()):
                found[name].append(text.strip())
    return [text for name in _DATES for text in found[name]][:_MAX_TEXTS], ()
