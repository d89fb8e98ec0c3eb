"""GPS positions from metadata, with a check for invalid ones.

Many camera traps write GPS tags without a position: zeros, no hemisphere, a denominator of zero. A
wrong position is worse than none, so such a position counts as missing, with a remark.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# EXIF 2.32, table 15.
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4
# ISO 6709, annex H: ±DD.D ±DDD.D, or with minutes, or with minutes and seconds, then altitude.
_ISO_6709 = re.compile(r"([+-])(\d{2,6})(\.\d+)?([+-])(\d{3,7})(\.\d+)?(?:[+-].*)?/?")


class Position(NamedTuple):
    """Degrees, north and east positive; None, None if there is no position."""

    latitude: float | None = None
    longitude: float | None = None
    remark: str | None = None


NO_POSITION = Position()


def position_from_exif(gps: Mapping[int, object]) -> Position:
    """Return the position in the tags of an EXIF GPS IFD."""
    if _LATITUDE not in gps and _LONGITUDE not in gps:
        return NO_POSITION
    north = _hemisphere(gps.get(_LATITUDE_REF), {"N": 1, "S": -1})
    east = _hemisphere(gps.get(_LONGITUDE_REF), {"E": 1, "W": -1})
    if not north or not east:
        return _invalid("no hemisphere")
    latitude, longitude = _degrees(gps.get(_LATITUDE)), _degrees(gps.get(_LONGITUDE))
    if latitude is None or longitude is None:
        return _invalid("not in degrees, minutes and seconds")
    return _checked(north * latitude, east * longitude)


def position_from_iso_6709(text: str) -> Position:
    """Return the position of a QuickTime location, as `+59.9139+010.7522/`."""
    match = _ISO_6709.fullmatch(text.strip("\0 "))
    if not match:
        return _invalid(f"not ISO 6709: {text[:40]!r}")
    latitude = _sexagesimal(match[2], match[3] or "", 2)
    longitude = _sexagesimal(match[5], match[6] or "", 3)
    if latitude is None or longitude is None:
        return _invalid(f"not ISO 6709: {text[:40]!r}")
    return _checked(float(match[1] + "1") * latitude, float(match[4] + "1") * longitude)


def _checked(latitude: float, longitude: float) -> Position:
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):  # false for NaN too
        return _invalid("not on Earth")
    if latitude == 0 and longitude == 0:
        return _invalid("0, 0")
    return Position(latitude, longitude)


def _invalid(reason: str) -> Position:
    return Position(remark=f"GPS position ignored: {reason}")


def _hemisphere(value: object, signs: Mapping[str, int]) -> int:
    """Return 1 or -1; 0 if the tag has neither."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return signs.get(value.strip("\0 ").upper(), 0) if isinstance(value, str) else 0


def _degrees(value: object) -> float | None:
    """Convert an EXIF triple of degrees, minutes, seconds; NaN if a denominator is zero."""
    if not isinstance(value, tuple) or not 1 <= len(value) <= 3:
        return None
    try:
        parts = [float(part) for part in value]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if any(part < 0 for part in parts) or any(part > 60 for part in parts[1:]):
        return None
    return _to_degrees(parts)


def _sexagesimal(digits: str, fraction: str, degree_digits: int) -> float | None:
    """Convert DD, DDMM or DDMMSS with a fraction; longitudes have three digits of degrees."""
    if len(digits) - degree_digits not in {0, 2, 4}:
        return None
    degrees, rest = digits[:degree_digits], digits[degree_digits:]
    parts = [degrees, *(rest[at : at + 2] for at in range(0, len(rest), 2))]
    parts[-1] += fraction
    numbers = [float(part) for part in parts]
    if any(number >= 60 for number in numbers[1:]):
        return None
    return _to_degrees(numbers)


def _to_degrees(parts: Sequence[float]) -> float:
    """Return degrees, minutes and seconds, as far as given, in degrees."""
    return math.fsum(part / (1, 60, 3600)[power] for power, part in enumerate(parts))
