"""Camera clocks: what they wrote, and when it was.

What is wrong with a clock is told in a CSV of its own (`resources/settings/clock_corrections.py`),
or in the rows of the camera's deployments, for the media of each.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from resources.errors import UsageError
from resources.settings.clock_corrections import ClockCorrection
from resources.settings.project import Deployment


@dataclass(frozen=True)
class CameraClock:
    """The corrections of one camera, in order of time; no two hold at once."""

    corrections: tuple[ClockCorrection, ...] = ()

    def correction_at(self, recorded_at: datetime) -> ClockCorrection | None:
        """The correction that holds for what the camera wrote then."""
        return next((one for one in self.corrections if one.holds_at(recorded_at)), None)

    def corrected(
        self, recorded_at: datetime | None, utc_offset_minutes: int | None
    ) -> tuple[datetime | None, int | None]:
        """The time of capture and its offset. A time that is missing stays missing."""
        correction = self.correction_at(recorded_at) if recorded_at else None
        if recorded_at is None or correction is None:
            return recorded_at, utc_offset_minutes
        stated = correction.utc_offset_minutes
        return (
            recorded_at + correction.shift,
            utc_offset_minutes if stated is None else stated,
        )


@dataclass(frozen=True)
class CameraClocks:
    """The clocks of all cameras that have corrections, by camera id."""

    clocks: Mapping[str, CameraClock]

    @classmethod
    def none(cls) -> "CameraClocks":
        return cls({})

    def of(self, identifier: str) -> CameraClock:
        """A camera's clock, which is right when nothing is known of it."""
        return self.clocks.get(identifier, CameraClock())


def camera_clocks(rows: Iterable[ClockCorrection], deployments: Iterable[Deployment]) -> CameraClocks:
    """What is known of all cameras' clocks.

    Args:
        rows: of the CSV of corrections, those of a camera in order of time.

    Raises:
        UsageError: a camera's clock is corrected in both.
    """
    clocks = {
        camera: CameraClock(tuple(some))
        for camera, some in groupby(rows, lambda one: one.camera_id)
    }
    told = sorted(
        (row for row in deployments if row.clockShift or row.utcOffset),
        key=lambda row: (row.cameraID, row.starts or datetime.min),
    )
    for camera, stays in groupby(told, key=lambda row: row.cameraID):
        if camera in clocks:
            raise UsageError(
                f"camera {camera}: its clock is corrected in pipeline.stage0.clock_corrections and "
                "in its deployments; keep one of them"
            )
        clocks[camera] = CameraClock(tuple(_one_after_another(stays)))
    return CameraClocks(clocks)


def _one_after_another(stays: Iterable[Deployment]) -> Iterator[ClockCorrection]:
    """A correction for what was taken in each stay; one ends at the latest where the next begins.

    Deployments are told in true time, corrections hold for what the camera wrote.
    """
    second = timedelta(seconds=1)  # a stay holds its last second
    found = [
        ClockCorrection(
            camera_id=stay.cameraID,
            start=stay.starts - stay.shift if stay.starts else datetime.min,
            until=stay.ends + second - stay.shift if stay.ends else datetime.max,
            shift=stay.shift,
            utc_offset_minutes=stay.utc_offset_minutes,
        )
        for stay in stays
    ]
    for one, after in zip(found, [*found[1:], None], strict=True):
        until = min(one.until, after.start) if after else one.until
        yield one.model_copy(update={"until": until})
