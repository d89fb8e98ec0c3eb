"""Camera clocks: corrections of the times that cameras recorded.

Corrections are in a CSV of their own (`resources/settings/clock_corrections.py`), or in the rows of
the camera's deployments, for the media of each.
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
    """The corrections of one camera, in order of time, without overlap."""

    corrections: tuple[ClockCorrection, ...] = ()

    def correction_at(self, recorded_at: datetime) -> ClockCorrection | None:
        """Return the correction that applies to a recorded time."""
        return next((one for one in self.corrections if one.applies_at(recorded_at)), None)

    def corrected(
        self, recorded_at: datetime | None, utc_offset_minutes: int | None
    ) -> tuple[datetime | None, int | None]:
        """Return the capture time and its UTC offset in minutes. A missing time stays missing."""
        correction = self.correction_at(recorded_at) if recorded_at else None
        if recorded_at is None or correction is None:
            return recorded_at, utc_offset_minutes
        offset = correction.utc_offset_minutes
        return recorded_at + correction.shift, utc_offset_minutes if offset is None else offset


@dataclass(frozen=True)
class CameraClocks:
    """The clocks of all cameras that have corrections, by camera id."""

    clocks: Mapping[str, CameraClock]

    @classmethod
    def none(cls) -> "CameraClocks":
        return cls({})

    def of(self, identifier: str) -> CameraClock:
        """Return a camera's clock; one without corrections if none is known."""
        return self.clocks.get(identifier, CameraClock())


def camera_clocks(
    rows: Iterable[ClockCorrection], deployments: Iterable[Deployment]
) -> CameraClocks:
    """Collect the clocks of all cameras.

    Args:
        rows: of the CSV of corrections; those of one camera in order of time.

    Raises:
        UsageError: a camera's clock is corrected in both places.
    """
    clocks = {
        camera: CameraClock(tuple(some))
        for camera, some in groupby(rows, lambda one: one.camera_id)
    }
    corrected = sorted(
        (row for row in deployments if row.clockShift or row.utcOffset),
        key=lambda row: (row.cameraID, row.starts or datetime.min),
    )
    for camera, of_camera in groupby(corrected, key=lambda row: row.cameraID):
        if camera in clocks:
            raise UsageError(
                f"camera {camera}: its clock is corrected in pipeline.stage0.clock_corrections and "
                "in its deployments; remove one of the two"
            )
        clocks[camera] = CameraClock(tuple(_without_overlap(of_camera)))
    return CameraClocks(clocks)


def _without_overlap(deployments: Iterable[Deployment]) -> Iterator[ClockCorrection]:
    """Yield a correction per deployment, which ends at the latest where the next one begins.

    Deployments are in true time, corrections apply to recorded times.
    """
    second = timedelta(seconds=1)  # the end of a deployment is inclusive
    found = [
        ClockCorrection(
            camera_id=each.cameraID,
            start=each.starts - each.shift if each.starts else datetime.min,
            until=each.ends + second - each.shift if each.ends else datetime.max,
            shift=each.shift,
            utc_offset_minutes=each.utc_offset_minutes,
        )
        for each in deployments
    ]
    for one, following in zip(found, [*found[1:], None], strict=True):
        until = min(one.until, following.start) if following else one.until
        yield one.model_copy(update={"until": until})
