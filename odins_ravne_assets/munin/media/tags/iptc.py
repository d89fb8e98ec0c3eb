"""Dates of IPTC-IIM 4.2 (record 2): creation of the picture, and of its digital form."""

from collections.abc import Iterator

_MARK, _RECORD = 0x1C, 2
# Datasets of a date (CCYYMMDD) and of its time (HHMMSS±HHMM), in order of preference.
_PAIRS = ((55, 60), (62, 63))
_MAX_DATASETS = 500


def iptc_times(block: bytes) -> list[str]:
    """Return the texts of the dates that have a time, the best first."""
    found: dict[int, str] = {}
    for dataset, value in _datasets(block):
        found.setdefault(dataset, value.decode("latin-1"))
    return [
        f"{found[date]}T{found[time]}"
        for date, time in _PAIRS
        if found.get(date) and found.get(time)
    ]


def _datasets(block: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    for _ in range(_MAX_DATASETS):
        if at + 5 > len(block) or block[at] != _MARK:
            return
        length = int.from_bytes(block[at + 3 : at + 5], "big")
        if block[at + 1] == _RECORD and length < 2**15:  # longer ones have another form
            yield block[at + 2], block[at + 5 : at + 5 + length]
        at += 5 + length
