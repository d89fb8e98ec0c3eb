"""The capture time of a file, among several recorded times."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odins_ravne_assets.munin.media.capture_time import (
    CLOCK_UNSET,
    FILE_NAME_PATTERNS,
    future_time_remark,
    time_from_container,
    time_from_exif,
    time_from_file_date,
    time_from_file_name,
    time_from_gps,
)

ORIGINAL, DIGITIZED, CHANGED = 0x9003, 0x9004, 0x0132
SUBSECOND, OFFSET, OFFSET_DIGITIZED = 0x9291, 0x9011, 0x9012
TAKEN = datetime(2021, 5, 28, 9, 30, 11)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
)


# EXIF


def test_the_original_time_comes_before_the_digitized_and_the_changed_one() -> None:
    tags = {
        CHANGED: "2021:05:30 00:00:01",
        DIGITIZED: "2021:05:29 00:00:01",
        ORIGINAL: "2021:05:28 09:30:11",
    }
    assert time_from_exif(tags).at == TAKEN
    del tags[ORIGINAL]
    assert time_from_exif(tags).at == datetime(2021, 5, 29, 0, 0, 1)
    del tags[DIGITIZED]
    assert time_from_exif(tags).at == datetime(2021, 5, 30, 0, 0, 1)


def test_an_invalid_time_is_a_remark_and_the_next_tag_is_used() -> None:
    found = time_from_exif({ORIGINAL: "0000:00:00 00:00:00", CHANGED: "2021:05:28 09:30:11"})
    assert (found.at, found.remarks) == (TAKEN, ("EXIF time is blank or zeros",))


@pytest.mark.parametrize(
    "text",
    [
        "2021:05:28 09:30:11",
        "2021:05:28 09:30:11\0",
        " 2021-05-28 09:30:11 ",
        "2021/05/28 09:30:11",
        "2021:05:28T09:30:11",
        "2021: 5:28  9:30:11",
        b"2021:05:28 09:30:11\0",
    ],
)
def test_formats_of_a_recorded_time(text: str | bytes) -> None:
    found = time_from_exif({ORIGINAL: text})
    assert (found.at, found.remarks) == (TAKEN, ())


@pytest.mark.parametrize(
    ("digits", "milliseconds"), [("5", 500), ("25", 250), ("1234", 123), ("\0\0\0", 0), ("-1", 0)]
)
def test_sub_seconds_are_read_to_the_millisecond(digits: str, milliseconds: int) -> None:
    found = time_from_exif({ORIGINAL: "2021:05:28 09:30:11", SUBSECOND: digits})
    assert found.at == TAKEN.replace(microsecond=milliseconds * 1000)


def test_an_offset_is_stored_next_to_the_time_and_does_not_change_it() -> None:
    found = time_from_exif({ORIGINAL: "2021:05:28 09:30:11", OFFSET: "-03:30"})
    assert (found.at, found.utc_offset_minutes) == (TAKEN, -210)
    other = time_from_exif({ORIGINAL: "2021:05:28 09:30:11", OFFSET_DIGITIZED: "-03:30"})
    assert other.utc_offset_minutes is None


@pytest.mark.parametrize(
    ("tags", "offset"),
    [
        ({OFFSET: "+2:00"}, 120),
        ({OFFSET: "+02:00\0\0"}, 120),
        ({OFFSET: "   :  "}, None),
        # An offset in the text, and one of the time of changes where the two times are equal.
        ({ORIGINAL: "2021:05:28 09:30:11+01:00", OFFSET: "+02:00"}, 60),
        ({0x9010: "+02:00", CHANGED: "2021:05:28 09:30:11"}, 120),
        ({0x9010: "+02:00", CHANGED: "2023:01:01 10:00:00"}, None),
        # TimeZoneOffset of TIFF/EP, in hours, signed.
        ({0x882A: 2}, 120),
        ({0x882A: (2**16 - 3, 2)}, -180),
        ({0x882A: 99}, None),
        ({0x882A: 0}, None),  # cameras without a zone write it
    ],
)
def test_forms_of_an_offset(tags: dict[int, object], offset: int | None) -> None:
    found = time_from_exif({ORIGINAL: "2021:05:28 09:30:11", **tags})
    assert (found.at, found.utc_offset_minutes) == (TAKEN, offset)


def test_the_time_of_the_gps_is_utc() -> None:
    gps = {7: (7.0, 30.0, 11.5), 0x1D: b"2021:05:28\0"}
    assert time_from_gps(gps)[:2] == (TAKEN.replace(hour=7), 0)
    assert time_from_gps({7: (7.0, 30.0, 11.0)}).at is None
    assert time_from_gps({7: (float("nan"), 30.0, 11.0), 0x1D: "2021:05:28"}).at is None


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("0000:00:00 00:00:00", "EXIF time is blank or zeros"),
        ("    :  :     :  :  ", "EXIF time is blank or zeros"),
        ("yesterday", "EXIF time is not a time: 'yesterday'"),
        ("2021:05:28", "EXIF time is not a time: '2021:05:28'"),
        ("2021:13:28 09:30:11", "EXIF time is not plausible: '2021:13:28 09:30:11'"),
        ("2021:05:28 24:00:00", "EXIF time is not plausible: '2021:05:28 24:00:00'"),
        ("1970:01:01 00:00:00", "EXIF time is not plausible: '1970:01:01 00:00:00'"),
        ("1904:01:01 00:00:00", "EXIF time is not plausible: '1904:01:01 00:00:00'"),
        ("1980:01:01 00:01:30", "EXIF time is not plausible: '1980:01:01 00:01:30'"),
        ("9999:12:31 23:59:59", "EXIF time is not plausible: '9999:12:31 23:59:59'"),
    ],
)
def test_an_invalid_time_is_missing_with_a_remark(text: str, remark: str) -> None:
    assert time_from_exif({ORIGINAL: text}) == (None, None, (remark,))


@pytest.mark.parametrize("tags", [{}, {ORIGINAL: ""}, {ORIGINAL: "\0\0\0"}, {ORIGINAL: 5}])
def test_a_missing_time_is_not_a_remark(tags: dict[int, object]) -> None:
    assert time_from_exif(tags) == (None, None, ())


@pytest.mark.parametrize(
    ("text", "unset"),
    [
        ("2000:01:01 00:00:00", True),
        ("2000:01:01 00:07:12", True),
        ("2017:01:01 00:00:00", True),
        ("2017:01:01 00:00:01", False),
        ("2000:01:02 00:00:00", False),
        ("2021:05:28 00:00:00", False),
    ],
)
def test_the_start_time_of_a_reset_clock_is_used_with_a_remark(text: str, unset: bool) -> None:
    found = time_from_exif({ORIGINAL: text})
    assert found.at == datetime.strptime(text, "%Y:%m:%d %H:%M:%S")
    assert found.remarks == ((CLOCK_UNSET,) if unset else ())


# Containers


def test_the_caller_sets_the_zone_of_a_containers_time() -> None:
    text = "2021-05-28T09:30:11.000000Z"
    assert time_from_container(text, "camera") == (TAKEN, None, ())
    assert time_from_container(text, "utc") == (TAKEN, 0, ())
    assert time_from_container(text, "stated") == (TAKEN, 0, ())
    assert time_from_container("2021-05-28T09:30:11+0200", "stated") == (TAKEN, 120, ())
    assert time_from_container("2021-05-28 09:30:11", "stated") == (TAKEN, None, ())


def test_the_epoch_of_quicktime_is_not_a_time() -> None:
    found = time_from_container("1904-01-01T00:00:00.000000Z", "utc")
    assert (found.at, found.utc_offset_minutes) == (None, None)
    assert "container time is not plausible" in found.remarks[0]


# File names


@pytest.mark.parametrize(
    "name",
    [
        "20210528093011.jpg",
        "20210528093011-RCNX0031.JPG",
        "Camera1_00_20210528093011.mp4",
        "192.168.1.64_01_20210528093011123_MOTION.jpg",
        "IMG_20210528_093011.jpg",
        "VID_20210528_093011.mp4",
        "PXL_20210528_093011123.jpg",
        "20210528-093011.avi",
        "20210528T093011Z.jpg",
        "2021-05-28 09-30-11.JPG",
        "2021-05-28_09-30-11 M 1_3.JPG",
        "2021-05-28__09-30-11(2).JPG",
        "StationA__2021-05-28__09-30-11(1).JPG",
        "2021_05_28_09_30_11.jpg",
        "2021-05-28T09:30:11.jpg",
        "2021.05.28 09.30.11.jpg",
        "2021-05-28_093011.jpg",
        "20210528093011-20210528093111.mp4",
        "2019-01-01_deer/2021-05-28_09-30-11.jpg",
        "2021_0528_093011_003.JPG",
        "2021_0528_093011A.MP4",
        "VD_2021-05-28_09-30-11-AM.jpg",
        "20210528_093011_am.jpg",
        "WhatsApp Image 2021-05-28 at 09.30.11.jpeg",
        "Screenshot 2021-05-28 at 9.30.11 AM.png",
        "Screenshot 2021-05-28 at 9.30.11\u202fAM.png",
        "20210528_093011_ambient.jpg",
        "2021-05-28_09h30m11s.jpg",
        "2021-05-28 9h30m11.jpg",
    ],
)
def test_a_date_and_a_time_in_a_name_is_a_capture_time(name: str) -> None:
    assert time_from_file_name(name) == (TAKEN, None, ())


@pytest.mark.parametrize(
    ("name", "hour"),
    [
        ("Screenshot 2021-05-28 at 9.30.11 PM.png", 21),
        ("VD_2021-05-28_09-30-11-PM.jpg", 21),
        ("20210528_093011PM.jpg", 21),
        ("2021-05-28_12-30-11_AM.jpg", 0),
        ("2021-05-28_12-30-11 p.m..jpg", 12),
        ("2021-05-28_21-30-11_PM.jpg", 21),
    ],
)
def test_am_and_pm_in_a_name_are_read(name: str, hour: int) -> None:
    assert time_from_file_name(name).at == TAKEN.replace(hour=hour)


def test_an_offset_in_a_name_is_read() -> None:
    assert time_from_file_name("2021-05-28T09_30_11+0200.jpg") == (TAKEN, 120, ())
    assert time_from_file_name("20210528_093011-0200.jpg") == (TAKEN, None, ())  # a counter


def test_a_time_to_the_minute_is_enough() -> None:
    assert time_from_file_name("2021-05-28_09-30.jpg").at == TAKEN.replace(second=0)
    assert time_from_file_name("2021-05-28 09h30.jpg").at == TAKEN.replace(second=0)


@pytest.mark.parametrize(
    "name",
    [
        "2021-05-28_SYFR0041_deer.JPG",
        "2021-12-07_12080069_rabbit.JPG",
        "Asian Plains_S012_2022-08-25_human_vehicle.jpg",
        "FID_31_Abel_2013-5-6_0027.AVI",
        "2013-05-06_0027.AVI",  # a counter, not 00:27
        "20130506_0027.AVI",
        "201305060027.AVI",
        "09190048_Hyena.AVI",
        "04250002.MP4",
        "EK000059.AVI",
        "IMAG0004_cougar.JPG",
        "RCNX0001.JPG",
        "IMG-20210528-WA0003.jpg",
        "2021_0528_0930_003.JPG",
        "28-05-2021 09-30-11.jpg",  # or is it the 5th of the 28th month
        "20211328093011.jpg",
        "20210528253011.jpg",
        "2021-05-28_09-75-11.jpg",
        "1999-05-28_09-30-11.jpg",
        "120210528093011.jpg",
        "2021052809301199.jpg",
        "2021-05-28_09-30-11/IMG_0001.jpg",
        "Trans_322__Date_24-11-2017/01110103.AVI",
    ],
)
def test_other_digits_are_not_a_capture_time(name: str) -> None:
    assert time_from_file_name(name) == (None, None, ())


def test_every_documented_example_of_a_pattern_is_read() -> None:
    for examples, pattern in FILE_NAME_PATTERNS:
        for example in examples.partition(" (")[0].split(", "):
            assert pattern.search(example.partition(" with")[0]), example


@given(TIMES, st.sampled_from(["%Y%m%d%H%M%S", "%Y%m%d_%H%M%S", "%Y-%m-%d %H-%M-%S"]))
def test_any_time_in_a_name_is_read(time: datetime, style: str) -> None:
    found = time_from_file_name(f"card/IMG_{time.strftime(style)}_1.JPG")
    assert found.at == time.replace(microsecond=0)


@given(st.text(max_size=40))
def test_any_name_is_handled(name: str) -> None:
    at = time_from_file_name(name).at
    assert at is None or at.year >= 2000


# File dates


def test_a_file_date_is_in_utc() -> None:
    assert time_from_file_date(1_622_194_211_123_456_789) == (
        TAKEN.replace(microsecond=123_000),
        0,
        (),
    )


@pytest.mark.parametrize("nanoseconds", [0, -1, 315_532_800 * 10**9, 2**63 - 1])
def test_the_file_date_of_an_unset_clock_is_ignored(nanoseconds: int) -> None:
    assert time_from_file_date(nanoseconds).at is None


def test_a_time_later_than_the_files_date_has_a_remark() -> None:
    written = 1_622_194_211 * 10**9
    assert future_time_remark(datetime(2021, 5, 30, 9, 30, 11), written) is None
    remark = future_time_remark(datetime(2021, 5, 30, 9, 30, 12), written)
    assert remark == "recorded after the file's own date, 2021-05-28: the clock looks wrong"
