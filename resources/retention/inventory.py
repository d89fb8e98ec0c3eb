"""What lies on S3, by where, in which storage class, and since when: plain numbers.

Sizes are in bytes; S3's prices are for a GB of 2^30.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

# The lifecycle policy moves footage in the bucket's own folder for it, and no other.
Area = Literal["footage", "footage elsewhere", "results"]


@dataclass(frozen=True, order=True)
class StoredDay:
    """The objects of one place and class that were put there on one day.

    Args:
        storage_class: as S3 names it, STANDARD, STANDARD_IA, GLACIER, ….
        old: they are versions that were overwritten or deleted, and are kept for a while.
        day: UTC.
        at_least: each has so many bytes or more: the largest that it reaches of some sizes.
    """

    area: Area
    storage_class: str
    old: bool
    day: date
    at_least: int
    objects: int
    bytes: int
