"""Camera clocks: corrections of the times that cameras recorded.

Corrections are in a CSV of their own (`resources/settings/clock_corrections.py`), or in the rows of
the camera's deployments, for the media of each.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from resources.errors import UsageError
from resources.settings.clock_corrections import ClockCorrection
from resources.settings.deployments import Deployment
from resources.settings.time_zones import parse_time_zone, zone_offset, zone_remark


@dataclass(frozen=True)
class CameraClock:
    """The clock of one camera.

    Attributes:
        corrections: in order of time, without overlap.
        time_zone: of times without a UTC offset, where no correction has one.
    """

    corrections: tuple[ClockCorrection, ...] = ()
    time_zone: str | None = None

    def correction_at(self, recorded_at: datetime) -> ClockCorrection | None:
        """Return the correction that applies to a recorded time."""
        return next((one for one in self.corrections if one.applies_at(recorded_at)), None)

    def corrected(
        self, recorded_at: datetime | None, utc_offset_minutes: int | None
    ) -> tuple[datetime | None, int | None]:
        """Return the capture time and its UTC offset in minutes. A missing time stays missing.

        The offset is that of the correction, else the camera's, else that of the time zone.
        """
        if recorded_at is None:
            return None, utc_offset_minutes
        correction = self.correction_at(recorded_at)
        captured_at = recorded_at + correction.shift if correction else recorded_at
        if correction and correction.utc_offset_minutes is not None:
            return captured_at, correction.utc_offset_minutes
        zone = self._zone_at(recorded_at)
        if utc_offset_minutes is None and zone:
            return captured_at, zone_offset(zone, captured_at)
        return captured_at, utc_offset_minutes

    def remark(self, recorded_at: datetime | None, utc_offset_minutes: int | None) -> str | None:
        """Return one line if the offset is that of a zone whose clocks change at this time."""
        if recorded_at is None or utc_offset_minutes is not None:
            return None
        correction = self.correction_at(recorded_at)
        zone = self._zone_at(recorded_at)
        if zone is None or (correction and correction.utc_offset_minutes is not None):
            return None
        return zone_remark(zone, recorded_at + correction.shift if correction else recorded_at)

    def _zone_at(self, recorded_at: datetime) -> ZoneInfo | None:
        correction = self.correction_at(recorded_at)
        name = (correction.time_zone if correction else None) or self.time_zone
        return parse_time_zone(name) if name else None


@dataclass(frozen=True)
class CameraClocks:
    """The clocks of all cameras that have corrections, by camera id.

    Attributes:
        time_zone: see `CameraClock`.
    """

    clocks: Mapping[str, CameraClock]
    time_zone: str | None = None

    @classmethod
    def none(cls) -> "CameraClocks":
        return cls({})

    def of(self, identifier: str) -> CameraClock:
        """Return a camera's clock; one without corrections if none is known."""
        found = self.clocks.get(identifier, CameraClock())
        return replace(found, time_zone=self.time_zone)


def camera_clocks(
    rows: Iterable[ClockCorrection],
    deployments: Iterable[Deployment],
    time_zone: str | None = None,
) -> CameraClocks:
    """Collect the clocks of all cameras.

    Args:
        rows: of the CSV of corrections; those of one camera in order of time.
        time_zone: of cameras that do not record their UTC offset.

    Raises:
        UsageError: a camera's clock is corrected in both places.
    """
    clocks = {
        camera: CameraClock(tuple(some))
        for camera, some in groupby(rows, lambda one: one.camera_id)
    }
    corrected = sorted(
        (row for row in deployments if row.clockShift or row.utcOffset or row.timeZone),
        key=lambda row: (row.cameraID, row.starts or datetime.min),
    )
    for camera, of_camera in groupby(corrected, key=lambda row: row.cameraID):
        if camera in clocks:
            raise UsageError(
                f"camera {camera}: its clock is corrected in pipeline.stage0.clock_corrections and "
                "in its deployments; remove one of the two"
            )
        clocks[camera] = CameraClock(tuple(_without_overlap(of_camera)))
    return CameraClocks(clocks, time_zone)


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
            time_zone=each.timeZone,
        )
        for each in deployments
    ]
    for one, following in zip(found, [*found[1:], None], strict=True):
        until = min(one.until, following.start) if following else one.until
        yield one.model_copy(update={"until": until})
