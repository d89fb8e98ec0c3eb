"""The inventory of stored objects on S3, by location, storage class and day.

Sizes are in bytes; S3's prices are per GB of 2^30.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

# The lifecycle policy moves only footage in the bucket's own folder for it.
Area = Literal["footage", "footage elsewhere", "results"]


@dataclass(frozen=True, order=True)
class StoredDay:
    """The objects of one location and storage class that were written on one day.

    Args:
        storage_class: S3's name: STANDARD, STANDARD_IA, GLACIER, ….
        old: True for overwritten and deleted versions, which are retained for a while.
        day: UTC.
        min_size: the largest of some given sizes that each object reaches, in bytes.
    """

    area: Area
    storage_class: str
    old: bool
    day: date
    min_size: int
    objects: int
    bytes: int
