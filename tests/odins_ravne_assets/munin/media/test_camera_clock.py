"""Corrections of camera clocks."""

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odins_ravne_assets.munin.media.camera_clock import CameraClock, CameraClocks, camera_clocks
from resources.errors import UsageError
from resources.settings.clock_corrections import ClockCorrection, read_clock_corrections
from resources.settings.loader import load_profile
from resources.settings.profile import Profile

HEADER = "camera_id,from,until,shift,utc_offset\n"
NOON = datetime(2021, 5, 28, 12)


def load(tmp_path: Path, text: str) -> CameraClocks:
    path = tmp_path / "clocks.csv"
    path.write_text(text, encoding="utf-8")
    return camera_clocks(read_clock_corrections(path), ())


def error_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "clocks.csv" in message and "\n" not in message
    return message


def test_a_camera_without_corrections_keeps_its_times(tmp_path: Path) -> None:
    corrections = load(tmp_path, HEADER + "other,,,+60,\n")
    assert corrections.of("ridge-7").corrected(NOON, 120) == (NOON, 120)
    assert CameraClocks.none().of("ridge-7").corrected(NOON, None) == (NOON, None)


def test_a_shift_is_added_to_the_recorded_time(tmp_path: Path) -> None:
    clock = load(tmp_path, HEADER + "ridge-7,,,-00:04:30,\n").of("ridge-7")
    assert clock.corrected(NOON, 60) == (datetime(2021, 5, 28, 11, 55, 30), 60)


def test_an_offset_replaces_the_cameras_own_and_shifts_no_time(tmp_path: Path) -> None:
    clock = load(tmp_path, HEADER + "ridge-7,,,,+02:00\n").of("ridge-7")
    assert clock.corrected(NOON, 60) == clock.corrected(NOON, None) == (NOON, 120)


def test_a_correction_never_invents_a_time(tmp_path: Path) -> None:
    clock = load(tmp_path, HEADER + "ridge-7,,,+3600,+02:00\n").of("ridge-7")
    assert clock.corrected(None, None) == (None, None)


def test_from_is_inclusive_and_until_is_not(tmp_path: Path) -> None:
    text = HEADER + "a,2021-05-28T12:00,2021-05-29 12:00:00,+60,\n"
    clock = load(tmp_path, text).of("a")
    day, second = timedelta(days=1), timedelta(seconds=1)
    assert clock.corrected(NOON - second, None)[0] == NOON - second
    assert clock.corrected(NOON, None)[0] == NOON + timedelta(seconds=60)
    assert clock.corrected(NOON + day - second, None)[0] == NOON + day + timedelta(seconds=59)
    assert clock.corrected(NOON + day, None)[0] == NOON + day


def test_the_change_to_summer_time_is_two_periods(tmp_path: Path) -> None:
    text = HEADER + "a,,2021-03-28T02:00,,+01:00\na,2021-03-28T02:00,,+01:00,+02:00\n"
    clock = load(tmp_path, text).of("a")
    winter, summer = datetime(2021, 3, 28, 1, 59), datetime(2021, 3, 28, 2, 0)
    assert clock.corrected(winter, None) == (winter, 60)
    assert clock.corrected(summer, None) == (datetime(2021, 3, 28, 3), 120)


@pytest.mark.parametrize(
    ("text", "shift"),
    [
        ("3600", timedelta(hours=1)),
        ("+3600", timedelta(hours=1)),
        ("-90", timedelta(seconds=-90)),
        ("01:30", timedelta(minutes=90)),
        ("-1:30:15", -timedelta(minutes=90, seconds=15)),
        ("+7305.09:30:11", timedelta(days=7305, hours=9, minutes=30, seconds=11)),
        ("-1.00:00", timedelta(days=-1)),
        ("0", timedelta()),
    ],
)
def test_formats_of_a_shift(text: str, shift: timedelta, tmp_path: Path) -> None:
    clock = load(tmp_path, f"{HEADER}a,,,{text},\n").of("a")
    assert clock.corrected(NOON, None)[0] == NOON + shift


def test_files_saved_by_spreadsheets_are_read(tmp_path: Path) -> None:
    text = "\ufeffshift, camera_id ,from,until,utc_offset\r\n+60, a ,,,\r\n,,,,\r\n\r\n"
    assert load(tmp_path, text).of("a").corrected(NOON, None)[0] == NOON + timedelta(minutes=1)


def test_a_spreadsheet_may_save_it_with_semicolons_local_days_and_without_the_plus(
    tmp_path: Path,
) -> None:
    text = "camera_id;from;until;shift;utc_offset;note\na;28.5.2021 9:30;;1:00:00;2:00;mine\n"
    corrected = load(tmp_path, text).of("a").corrected(NOON, None)
    assert corrected == (NOON + timedelta(hours=1), 120)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["has no rows; its first line must name the columns"]),
        ("camera_id,from,until,shift\n", ["line 1", "column utc_offset is missing"]),
        (HEADER[:-1] + ",shift\n", ["line 1", "2 columns are named shift (columns 4, 6)"]),
        (HEADER + "a,,,+60,,5\n", ["line 2", "more values than the first line has columns"]),
        (HEADER + "a,,,+60,\nridge 7,,,+60,\n", ["line 3", "'ridge 7'", "use ridge-7"]),
        (
            HEADER + "a,8.5.2021,,+60,\n",
            ["line 2", "from '8.5.2021'", "day and month could be read either way"],
        ),
        (HEADER + "a,,2021-05-28T12:00Z,+60,\n", ["line 2", "until '2021-05-28T12:00Z'", "offset"]),
        (HEADER + "a,2021-05-28,2021-05-28,+60,\n", ["line 2", "until", "later than from"]),
        (HEADER + "a,,,an hour,\n", ["line 2", "shift 'an hour'", "±[D.]HH:MM[:SS]"]),
        (HEADER + "a,,,25:00,\n", ["line 2", "shift '25:00'"]),
        (HEADER + "a,,,+9999999999,\n", ["line 2", "a hundred years"]),
        (HEADER + "a,,,,2\n", ["line 2", "utc_offset '2'", "±HH:MM"]),
        (HEADER + "a,,,,+15:00\n", ["line 2", "utc_offset '+15:00'"]),
        (HEADER + "a,,,,\n", ["line 2", "shift and utc_offset cannot both be empty"]),
        (HEADER + "a,,,+1,\na,,,+2,\n", ["lines 2 and 3", "camera a", "at the same time"]),
        (
            HEADER + "a,2021-06-01,,+1,\nb,,,+1,\na,,2021-06-01T00:00:01,+2,\n",
            ["lines 2 and 4", "camera a"],
        ),
        (HEADER + 'a,"2021\n', ["line 2", "is not CSV"]),
    ],
)
def test_an_error_names_the_line_and_the_allowed_values(
    text: str, parts: list[str], tmp_path: Path
) -> None:
    message = error_of(tmp_path, text)
    assert all(part in message for part in parts), message


def test_a_missing_or_binary_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.csv: cannot be read: No such file"):
        read_clock_corrections(str(tmp_path / "gone.csv"))
    (tmp_path / "clocks.csv").write_bytes(b"\xff\xfe\0c\0")
    with pytest.raises(UsageError, match=r"clocks\.csv, line 1: is not text in UTF-16"):
        read_clock_corrections(tmp_path / "clocks.csv")


def test_a_remote_worker_receives_the_corrections_in_its_profile(tmp_path: Path) -> None:
    (tmp_path / "clocks.csv").write_text(f"{HEADER}a,,2021-05-28,-1.00:00,\nb,,,,-03:30\n")
    named = {"pipeline.stage0.clock_corrections": str(tmp_path / "clocks.csv")}
    profile = load_profile("local", named)
    remote = Profile.model_validate(profile.model_dump(mode="json"))
    assert remote.pipeline.stage0.clock_corrections == read_clock_corrections(
        tmp_path / "clocks.csv"
    )


def test_a_profile_that_names_bad_corrections_is_refused_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "clocks.csv").write_text(f"{HEADER}a,,,,\n")
    named = {"pipeline.stage0.clock_corrections": str(tmp_path / "clocks.csv")}
    with pytest.raises(
        UsageError, match=r"clock_corrections: .*clocks\.csv, line 2: shift"
    ) as caught:
        load_profile("local", named)
    assert "\n" not in str(caught.value)


TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2099, 12, 31))
SHIFTS = st.integers(-(10**9), 10**9)
OFFSETS = st.none() | st.integers(-14 * 60, 14 * 60)


@st.composite
def clocks(draw: st.DrawFn) -> list[ClockCorrection]:
    """Corrections of one camera that touch at most, the outer ends open."""
    edges = sorted(draw(st.lists(TIMES.map(lambda t: t.replace(microsecond=0)), unique=True)))
    ends = [datetime.min, *edges, datetime.max]
    return [
        ClockCorrection(
            camera_id="a",
            start=start,
            until=until,
            shift=timedelta(seconds=draw(SHIFTS)),
            utc_offset_minutes=draw(OFFSETS),
            line=line,
        )
        for line, (start, until) in enumerate(pairwise(ends), start=2)
        if draw(st.booleans())
    ]


def as_line(one: ClockCorrection) -> str:
    start = "" if one.start == datetime.min else one.start.isoformat()
    until = "" if one.until == datetime.max else one.until.isoformat(" ")
    offset = ""
    if one.utc_offset_minutes is not None:
        hours, minutes = divmod(abs(one.utc_offset_minutes), 60)
        offset = f"{'-' if one.utc_offset_minutes < 0 else '+'}{hours:02}:{minutes:02}"
    return f"a,{start},{until},{int(one.shift.total_seconds()):+d},{offset}"


@given(clocks(), TIMES, OFFSETS, st.randoms(use_true_random=False))
def test_only_the_correction_of_the_period_is_applied(
    tmp_path_factory: pytest.TempPathFactory, corrections: list, time: datetime, offset, random
) -> None:
    lines = [as_line(one) for one in corrections]
    random.shuffle(lines)
    path = tmp_path_factory.mktemp("clocks") / "clocks.csv"
    path.write_text(HEADER + "\n".join(lines), encoding="utf-8")
    holding = [one for one in corrections if one.start <= time < one.until]
    assert len(holding) <= 1
    captured, stated = (
        camera_clocks(read_clock_corrections(path), ()).of("a").corrected(time, offset)
    )
    if not holding:
        assert (captured, stated) == (time, offset)
        return
    assert captured == time + holding[0].shift
    expected = holding[0].utc_offset_minutes
    assert stated == (offset if expected is None else expected)


@given(clocks(), OFFSETS)
def test_a_missing_time_stays_missing_with_any_corrections(
    corrections: list[ClockCorrection], offset: int | None
) -> None:
    assert CameraClock(tuple(corrections)).corrected(None, offset) == (None, offset)
