"""Find uploads without an event: list the bucket, some pages in each tick.

An upload is new if the camera's media table does not hold it (path, size and date). Its date alone
decides nothing: S3 dates a multipart upload by its beginning, and dates are whole seconds. So the
next listing requests a failed run again. A fingerprint sums up a camera's media; the table is read
only when the fingerprint has changed since the two last agreed. This comparison lists the camera's
media again, in as many scans as it takes.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from odins_ravne_assets.arrivals.routing import CameraMedium, QuarantinedUpload, camera_of_key
from odins_ravne_assets.munin.media.raw_pairs import Stretch, without_raw_copies

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2RequestTypeDef, ObjectTypeDef

# Pages of a thousand keys that one tick lists: a few seconds.
MAX_PAGES = 20
PAGE_SIZE = 1000

# Cameras whose fingerprints the cursor holds; others are compared in each listing.
MAX_AGREED = 5000

# The media of a camera's table as (path, bytes, modified_ns); empty if there is no table.
Known = Callable[[str], set[tuple[str, int, int]]]


@dataclass
class Comparison:
    """The progress of the comparison of a camera's listed media with its table.

    Args:
        camera, footage, fingerprint: as listed.
        began: when the listing began that found them.
        after: the last key that was compared, below `uploads.url`; "": none yet.
        newest: when the newest upload that the table does not hold arrived; None: none so far.
    """

    camera: str
    footage: str
    fingerprint: str
    began: float
    after: str = ""
    newest: float | None = None


@dataclass
class Sweep:
    """The progress of a listing of the whole bucket.

    Args:
        began: when it began; 0: no listing is in progress.
        after: the last key that was listed, below `uploads.url`; "": none yet.
        camera, footage: the camera whose media are being summed up, and their folder; "": none.
        sum: the fingerprint so far, independent of the order of media.
        newest: when the newest of them arrived.
        agreed: by camera, the fingerprint that agreed with its table, of the listing before.
        confirmed: the same, of this listing.
        comparing: the comparison in progress; the listing waits for it.
        is_reported: a remark says that it takes long.
        unseen: paths that were in quarantine when it began and were not listed since.
    """

    began: float = 0.0
    after: str = ""
    camera: str = ""
    footage: str = ""
    sum: int = 0
    newest: float = 0.0
    agreed: dict[str, str] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    confirmed: dict[str, str] = field(default_factory=dict)
    comparing: Comparison | None = None
    is_reported: bool = False

    def mark_seen(self, of: str) -> None:
        """Record that a path that may be in quarantine still exists."""
        if of in self.unseen:
            self.unseen.remove(of)

    def agree(self, camera: str, fingerprint: str) -> None:
        """Record that a camera's media agree with its table."""
        self.agreed.pop(camera, None)
        if len(self.confirmed) < MAX_AGREED or camera in self.confirmed:
            self.confirmed[camera] = fingerprint

    def end(self) -> None:
        """Record the end of the listing; cameras that it did not find are forgotten."""
        self.began, self.after, self.is_reported = 0.0, "", False
        self.agreed, self.confirmed = self.confirmed, {}


@dataclass(frozen=True)
class ListedCamera:
    """A camera whose listed media differ from those that last agreed with its table."""

    camera_id: str
    footage: str
    newest: float
    fingerprint: str


def list_pages(
    s3: "S3Client",
    bucket: str,
    prefix: str,
    sweep: Sweep,
    pattern: str,
    enough: Callable[[], bool],
    pages: int = MAX_PAGES,
) -> Iterator[ListedCamera | QuarantinedUpload]:
    """Continue a listing; at the end of the bucket, finish it (`began` is 0).

    Args:
        prefix: with a slash at its end, or empty.
        enough: returns True when time is up; the next call continues after the last key.
    """
    for _ in range(pages):
        request: ListObjectsV2RequestTypeDef = {
            "Bucket": bucket,
            "Prefix": prefix,
            "MaxKeys": PAGE_SIZE,
        }
        if sweep.after:
            request["StartAfter"] = prefix + sweep.after
        answer = s3.list_objects_v2(**request)
        for found in answer.get("Contents", ()):
            sweep.after = found["Key"][len(prefix) :]
            yield from _take(sweep, found, pattern)
            if enough():
                return
        if not answer["IsTruncated"]:
            yield from _finish(sweep)
            if sweep.comparing is None:
                sweep.end()
            return


def _take(
    sweep: Sweep, found: "ObjectTypeDef", pattern: str
) -> Iterator[ListedCamera | QuarantinedUpload]:
    owner = camera_of_key(sweep.after, pattern, found["Size"])
    if isinstance(owner, QuarantinedUpload):
        yield owner
    elif isinstance(owner, CameraMedium):
        if (owner.camera_id, owner.footage) != (sweep.camera, sweep.footage):
            yield from _finish(sweep)
            sweep.camera, sweep.footage = owner.camera_id, owner.footage
        modified = int(found["LastModified"].timestamp())
        sweep.newest = max(sweep.newest, float(modified))
        sweep.sum = (sweep.sum + _number(sweep.after, found["Size"], modified)) % 2**64


def _finish(sweep: Sweep) -> Iterator[ListedCamera]:
    fingerprint = f"{sweep.sum:016x}"
    sweep.mark_seen(sweep.footage)
    if sweep.camera and sweep.agreed.get(sweep.camera) == fingerprint:
        sweep.agree(sweep.camera, fingerprint)
    elif sweep.camera:
        yield ListedCamera(sweep.camera, sweep.footage, sweep.newest, fingerprint)
    sweep.camera, sweep.footage, sweep.sum, sweep.newest = "", "", 0, 0.0


def compare(
    s3: "S3Client",
    bucket: str,
    prefix: str,
    comparison: Comparison,
    pattern: str,
    known: set[tuple[str, int, int]],
    enough: Callable[[], bool],
) -> bool:
    """Continue a comparison; return True if it is complete.

    Args:
        prefix: see `list_pages`.
        known: the media of the camera's table.
        enough: returns True when time is up; the next call continues after the last key.
    """
    folder = f"{prefix}{comparison.footage}/"
    start = prefix + comparison.after if comparison.after else folder
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket,
        Prefix=folder,
        StartAfter=start,
        PaginationConfig={"PageSize": PAGE_SIZE},
    )
    objects = (found for page in pages for found in page.get("Contents", ()))
    stretch = Stretch(objects, lambda each: each["Key"], enough)
    for found in without_raw_copies(stretch, lambda each: each["Key"]):
        owner = camera_of_key(found["Key"][len(prefix) :], pattern, found["Size"])
        if owner != CameraMedium(comparison.camera, comparison.footage):
            continue
        path, modified = found["Key"][len(folder) :], int(found["LastModified"].timestamp())
        if (path, found["Size"], modified * 10**9) not in known:
            comparison.newest = max(comparison.newest or 0.0, float(modified))
    comparison.after = stretch.after[len(prefix) :] or comparison.after
    return stretch.is_complete


def slow_round(place: str, seconds: float, stated: float) -> str:
    """Return the remark on a listing that takes longer than it should.

    Args:
        stated: seconds that it may take.
    """
    return (
        f"{place}: one listing of all files has taken {seconds / 60:.0f} minutes so far, more than "
        f"{stated / 60:.0f}: new footage is found late; see docs/new-footage.md"
    )


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8])
