"""The cost of an EXIF block, before it is parsed.

A block of 26 MB, or a small one whose tags all point to the same bytes, would keep the parser busy
for half a minute. EXIF in a JPEG has at most 64 KiB, and no camera writes a thousand tags.
"""

import struct

MAX_EXIF_BYTES = 2**20
MAX_TAGS = 1000
_PREFIX = b"Exif\0\0"
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
# Bytes of one value, by type (TIFF 6.0, section 2).
_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
# Tags that point to another directory of tags: Exif, GPS, interoperability.
_DIRECTORIES = {0x8769, 0x8825, 0xA005}


def is_excessive(block: bytes) -> bool:
    """Return True if a block, or what its tags state, is larger than any camera writes.

    A damaged block that is small is not excessive: the parser reports it.
    """
    if len(block) > MAX_EXIF_BYTES + len(_PREFIX):
        return True
    block = block.removeprefix(_PREFIX)
    order = _BYTE_ORDERS.get(block[:2])
    if order is None or len(block) < 8:
        return False
    tags = size = 0
    places = [struct.unpack_from(f"{order}I", block, 4)[0]]
    for place in places:  # grows
        if place + 2 > len(block):
            continue
        (count,) = struct.unpack_from(f"{order}H", block, place)
        tags += count
        if tags > MAX_TAGS:
            return True
        for at in range(place + 2, min(place + 2 + 12 * count, len(block) - 11), 12):
            tag, kind, values, target = struct.unpack_from(f"{order}HHII", block, at)
            size += _VALUE_BYTES.get(kind, 1) * values
            if tag in _DIRECTORIES and target not in places:
                places.append(target)
    return size > MAX_EXIF_BYTES
