"""The recording time of AVCHD camcorders, in the H.264 stream.

It is in a message of unregistered user data (H.264, annex D) with this identifier and the mark
MDPM, a list of tags of one byte with values of four. The tags 0x18 and 0x19 hold, in binary-coded
decimals, time zone, century, year, month; day, hour, minute, second, as the tag tables of ExifTool
12.57 (H264, MDPM) list them. The zone has a sign (0x20), hours (0x1E), half an hour (0x01) and
summer time (0x40); all bits set: none.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from odins_ravne_assets.munin.media.tags.time_text import MAX_OFFSET_MINUTES, plausible_time

_MARK = bytes.fromhex("17ee8c60f84d11d98cd60800200c9a66") + b"MDPM"
_DATE, _TIME = 0x18, 0x19
_NO_ZONE = 0xFF
# The message is in the first pictures, before their pixels.
_MAX_PACKETS, _MAX_PACKET_BYTES = 16, 2**18


class AvchdTime(NamedTuple):
    """A recording time without a zone, and the UTC offset in minutes; None if unknown."""

    at: datetime
    utc_offset_minutes: int | None


def avchd_time(packets: Iterable[bytes]) -> AvchdTime | None:
    """Return the time of the first packets of an H.264 stream; None if they have none."""
    for packet in islice(packets, _MAX_PACKETS):
        # Undo the bytes that keep start codes out of the data (H.264, 7.4.1).
        data = packet[:_MAX_PACKET_BYTES].replace(b"\0\0\3", b"\0\0")
        at = data.find(_MARK)
        if at >= 0 and (found := _time(data[at + len(_MARK) :])):
            return found
    return None


def _time(message: bytes) -> AvchdTime | None:
    values: dict[int, bytes] = {}
    for index in range(message[0] if message else 0):
        tag = message[1 + 5 * index : 6 + 5 * index]
        if len(tag) == 5:
            values.setdefault(tag[0], tag[1:])
    if not (_DATE in values and _TIME in values):
        return None
    zone, *digits = values[_DATE] + values[_TIME]
    numbers = [10 * (byte >> 4) + (byte & 15) for byte in digits]
    if any(byte >> 4 > 9 or byte & 15 > 9 for byte in digits):
        return None
    century, year, *rest = numbers
    at = plausible_time([100 * century + year, *rest])
    return AvchdTime(at, _offset(zone)) if at else None


def _offset(zone: int) -> int | None:
    if zone == _NO_ZONE:
        return None
    minutes = 60 * ((zone >> 1) & 15) + 30 * (zone & 1)
    minutes = (-minutes if zone & 0x20 else minutes) + (60 if zone & 0x40 else 0)
    return minutes if abs(minutes) <= MAX_OFFSET_MINUTES else None
