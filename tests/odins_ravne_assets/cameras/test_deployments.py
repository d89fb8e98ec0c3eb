"""The table of deployments: whose it is, what it says of a camera, and of its clock."""

from datetime import datetime, timedelta
from pathlib import Path

import openpyxl
import pytest
from command_line import Munin
from in_process import MuninInProcess
from media_files import write_picture
from s3_rig import S3Rig, s3, s3_server

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.cameras.deployments import profile_for_camera, with_deployments
from odins_ravne_assets.defs.silent_cameras import silent_cameras
from odins_ravne_assets.munin.media.camera_clock import CameraClock, camera_clocks
from odins_ravne_assets.worker.asset_metadata import deployment_metadata
from resources.errors import UsageError
from resources.settings.clock_corrections import ClockCorrection
from resources.settings.deployments import Deployment
from resources.settings.loader import load_profile
from resources.settings.profile import Profile

__all__ = ["s3", "s3_server"]  # pytest finds fixtures by their names

HEADER = (
    "cameraID,latitude,longitude,locationName,deploymentStart,deploymentEnd,clockShift,utcOffset"
)
RIDGE = f"{HEADER}\nridge,59.32,17.12,Fox ridge,2026-03-01,2026-05-31,-00:04:30,+02:00\n"
LATER = f"{HEADER}\nridge,59.35,17.15,Owl ridge,2026-06-01,,,+02:00\n"
NOW = datetime(2026, 6, 15, 12)
HOUR = timedelta(hours=1)


def camera(folder: Path, name: str = "ridge") -> Camera:
    return Camera(name, (folder / name).as_uri(), (folder / "results" / name).as_uri())


def stay(**columns: object) -> Deployment:
    return Deployment.model_validate(
        {"cameraID": "ridge", "latitude": 59.32, "longitude": 17.12, **columns}
    )


def known(folder: Path, profile: Profile | None = None, name: str = "ridge") -> list[str | None]:
    """The places of a camera."""
    own = profile_for_camera(profile or load_profile("local"), camera(folder, name))
    return [row.remarks.get("locationName") for row in own.project.deployments]


# Which table


def test_a_table_in_the_folder_that_holds_the_cameras_is_theirs(tmp_path: Path) -> None:
    (tmp_path / "deployments.csv").write_text(RIDGE)
    assert known(tmp_path) == ["Fox ridge"]
    assert known(tmp_path, name="lake") == []


def test_the_table_may_be_a_workbook_but_not_both(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for line in RIDGE.splitlines():
        book.active.append(line.split(","))
    book.save(tmp_path / "deployments.xlsx")
    assert known(tmp_path) == ["Fox ridge"]
    (tmp_path / "deployments.csv").write_text(RIDGE)
    with pytest.raises(UsageError, match=f"^{tmp_path}: holds deployments.csv and deployments.xls"):
        known(tmp_path)


def test_footage_that_arrives_has_its_table_where_it_arrives(tmp_path: Path) -> None:
    profile = load_profile("local", {"uploads.url": str(tmp_path)})
    (tmp_path / "deployments.csv").write_text(RIDGE)
    (tmp_path / "site-1").mkdir()
    (tmp_path / "site-1" / "deployments.csv").write_text("not looked at")
    assert known(tmp_path / "site-1", profile) == ["Fox ridge"]


def test_a_bucket_that_is_one_cameras_footage_has_no_table_beside_it(s3: S3Rig) -> None:
    clients = s3.clients()
    bucket = s3.bucket(clients)
    s3_of = clients.of("s3")
    for key in ("cards/deployments.csv", "deployments.csv"):
        s3_of.put_object(Bucket=bucket, Key=key, Body=RIDGE.encode())
    profile = load_profile("cloud", {"cloud.aws.endpoint_url": s3.url})
    deeper = Camera("ridge", f"s3://{bucket}/cards/ridge", f"s3://{bucket}/results/ridge")
    whole = Camera("ridge", f"s3://{bucket}", "s3://other/results/ridge")
    assert len(profile_for_camera(profile, deeper).project.deployments) == 1
    assert profile_for_camera(profile, whole).project.deployments == ()
    assert profile_for_camera(load_profile("local"), deeper).project.deployments == ()


def test_the_table_that_a_profile_names_stands_over_one_beside_the_footage(tmp_path: Path) -> None:
    (tmp_path / "deployments.csv").write_text(RIDGE)
    (tmp_path / "mine.csv").write_text(RIDGE.replace("Fox ridge", "Owl ridge"))
    profile = load_profile("local", {"project.deployments": str(tmp_path / "mine.csv")})
    assert known(tmp_path, profile) == ["Owl ridge"]


def test_a_table_may_name_a_camera_as_its_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "deployments.csv").write_text("cameraID,latitude,longitude\nTaï cam 7,1,2\n")
    assert len(known(tmp_path, name="Tai-cam-7")) == 1


def test_another_cameras_row_changes_nothing_of_a_cameras_launch(tmp_path: Path) -> None:
    before = load_profile("local", {"project.deployments": [stay().model_dump()]})
    other = {"cameraID": "lake", "latitude": 1, "longitude": 2}
    clock = {"camera_id": "lake", "shift": 60}
    after = load_profile(
        "local",
        {
            "project.deployments": [stay().model_dump(), other],
            "pipeline.stage0.clock_corrections": [clock],
        },
    )
    assert profile_for_camera(before, camera(tmp_path)) == profile_for_camera(
        after, camera(tmp_path)
    )


def test_several_cameras_have_all_rows_that_are_theirs(tmp_path: Path) -> None:
    for site in ("north", "south"):
        (tmp_path / site).mkdir()
        (tmp_path / site / "deployments.csv").write_text(RIDGE.replace("ridge", f"ridge-{site}"))
    cameras = [camera(tmp_path / site, f"ridge-{site}") for site in ("north", "south")]
    found = with_deployments(load_profile("local"), cameras).project.deployments
    assert [row.cameraID for row in found] == ["ridge-north", "ridge-south"]


def test_all_cards_of_a_camera_have_their_tables(tmp_path: Path) -> None:
    for site, row in (("north", RIDGE), ("copy", RIDGE), ("south", LATER)):
        (tmp_path / site).mkdir()
        (tmp_path / site / "deployments.csv").write_text(row)
    cards = tuple((tmp_path / site / "ridge").as_uri() for site in ("north", "copy", "south"))
    ridge = Camera("ridge", cards[2], (tmp_path / "results").as_uri(), cards[:2])
    found = profile_for_camera(load_profile("local"), ridge).project.deployments
    assert [row.deploymentStart for row in found] == ["2026-03-01", "2026-06-01"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("ridge,99,1,,,,,", "line 2: latitude 99 is not allowed: .* swapped with longitude 1"),
        (
            "ridge,1,1,,,,an hour,",
            r"line 2: clockShift 'an hour' is not allowed: allowed .*±\[D.\]HH:MM",
        ),
        ("ridge,1,1,,,,,2", r"line 2: utcOffset '2' is not allowed: allowed .*±HH:MM"),
        ("ridge,1,1,,May,,,", "line 2: deploymentStart 'May' is not allowed: allowed is a day"),
        ("ridge,1,1,,2026-05-02,2026-05-01,,", "line 2: deploymentEnd 2026-05-01 is before"),
    ],
)
def test_a_mistake_in_a_table_is_one_line_that_names_it(
    row: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "deployments.csv").write_text(f"{HEADER}\n{row}\n")
    with pytest.raises(UsageError, match=f"^{tmp_path}/deployments.csv, {said}") as told:
        known(tmp_path)
    assert "\n" not in str(told.value)


# What it says of a camera


def test_a_camera_that_stands_has_a_place_and_a_first_day() -> None:
    here = stay(locationName="Fox ridge", deploymentStart="2026-03-01T10:30:00+02:00")
    assert deployment_metadata([here], NOW) == {
        "deployment/state": "active",
        "deployment/place": "Fox ridge",
        "deployment/coordinates": "59.32, 17.12",
        "deployment/first_day": "2026-03-01",
    }


def test_a_camera_is_retired_when_its_last_deployment_is_over() -> None:
    ended = stay(deploymentStart="2026-03-01", deploymentEnd="2026-06-14")
    assert deployment_metadata([ended], NOW)["deployment/state"] == "retired"
    assert deployment_metadata([ended], NOW)["deployment/last_day"] == "2026-06-14"
    today = stay(deploymentEnd="2026-06-15")
    assert deployment_metadata([ended, today], NOW)["deployment/state"] == "active"
    later = stay(deploymentStart="2026-07-01")
    assert deployment_metadata([later], NOW)["deployment/state"] == "planned"


def test_a_camera_that_was_moved_shows_its_last_place_and_a_table_of_all() -> None:
    lake = stay(locationName="Lake", deploymentStart="2026-06-01", latitude=60)
    ridge = stay(locationName="Fox ridge", deploymentEnd="2026-05-31")
    facts = deployment_metadata([lake, ridge], NOW)
    assert facts["deployment/place"] == "Lake"
    assert facts["md:deployments"].splitlines()[2:] == [
        "| Fox ridge | 59.32, 17.12 |  | 2026-05-31 |",
        "| Lake | 60.0, 17.12 | 2026-06-01 |  |",
    ]


def test_of_a_camera_without_a_row_nothing_is_said() -> None:
    assert deployment_metadata([], NOW) == {}


def test_a_camera_that_only_the_table_knows_is_told_to_miss_its_footage(tmp_path: Path) -> None:
    (tmp_path / "deployments.csv").write_text(RIDGE)
    profile = load_profile("local", {"uploads.url": str(tmp_path)})
    known = with_deployments(profile, [])
    assert silent_cameras({}, known, NOW) == [
        ("ridge", "its deployment began on 2026-03-01: no footage yet")
    ]
    assert silent_cameras({}, known, datetime(2026, 3, 20)) == []
    assert silent_cameras({"ridge": datetime(2026, 3, 2)}, known, NOW) == []  # retired


# Its clock


def clock(*rows: Deployment) -> CameraClock:
    return camera_clocks((), rows).of("ridge")


def test_a_deployments_shift_and_zone_are_those_of_what_was_taken_in_it() -> None:
    ridge = clock(
        stay(
            deploymentStart="2026-03-01",
            deploymentEnd="2026-05-31",
            clockShift="+01:00",
            utcOffset="+02:00",
        )
    )
    last = datetime(2026, 5, 31, 22, 59, 59)  # by the camera, which is an hour late
    assert ridge.corrected(last, 60) == (last + HOUR, 120)
    after = datetime(2026, 5, 31, 23)
    assert ridge.corrected(after, 60) == (after, 60)


def test_a_clock_that_was_reset_to_its_factory_year_is_right_again() -> None:
    days = (datetime(2026, 3, 1) - datetime(2019, 1, 1)).days
    ridge = clock(stay(deploymentStart="2026-03-01", clockShift=f"+{days}.00:00"))
    assert ridge.corrected(datetime(2019, 1, 2, 3), None)[0] == datetime(2026, 3, 2, 3)


def test_where_two_deployments_meet_the_later_one_tells_the_clock() -> None:
    ridge = clock(
        stay(deploymentEnd="2026-05-31", clockShift="+00:10"),
        stay(deploymentStart="2026-06-01", clockShift="+00:30"),
    )
    assert ridge.corrected(datetime(2026, 5, 31, 23, 35), None)[0] == datetime(2026, 6, 1, 0, 5)
    assert ridge.corrected(datetime(2026, 5, 31, 23, 25), None)[0].hour == 23


def test_a_clock_is_corrected_in_one_place_only() -> None:
    row = ClockCorrection(camera_id="ridge", shift=HOUR)
    with pytest.raises(UsageError, match=r"^camera ridge: its clock is corrected in .* and in "):
        camera_clocks([row], [stay(clockShift="+00:10")])
    assert camera_clocks([row], [stay()]).of("ridge").corrections == (row,)


def test_a_named_zone_is_that_of_times_without_an_offset() -> None:
    ridge = clock(stay(timeZone="Europe/Stockholm"))
    winter, summer = datetime(2026, 3, 1), datetime(2026, 5, 1)
    assert ridge.corrected(winter, None) == (winter, 60)
    assert ridge.corrected(summer, None) == (summer, 120)
    assert ridge.corrected(summer, 0) == (summer, 0)  # the camera's own
    shifted = clock(stay(timeZone="Europe/Stockholm", clockShift="+01:00"))
    assert shifted.corrected(datetime(2026, 3, 29, 1, 30), None)[1] == 60  # 02:30 is skipped
    assert shifted.corrected(datetime(2026, 3, 29, 2, 30), None)[1] == 120


def test_a_project_s_zone_is_that_of_all_cameras_without_an_offset() -> None:
    rows = [stay(deploymentEnd="2026-04-30", utcOffset="+00:00")]
    clocks = camera_clocks((), rows, "Europe/Stockholm")
    may = datetime(2026, 5, 1)
    assert clocks.of("ridge").corrected(datetime(2026, 4, 1), None)[1] == 0
    assert clocks.of("ridge").corrected(may, None) == (may, 120)
    assert clocks.of("lake").corrected(may, None) == (may, 120)


def test_times_that_a_zone_repeats_or_skips_have_a_remark() -> None:
    ridge = clock(stay(timeZone="Europe/Stockholm"))
    twice = datetime(2026, 10, 25, 2, 30)
    assert ridge.remark(twice, None) == (
        "2026-10-25 02:30 occurs twice in Europe/Stockholm, where the clocks change: +02:00 is "
        "assumed"
    )
    assert ridge.remark(twice, 60) is None
    assert ridge.remark(datetime(2026, 10, 25, 4), None) is None
    assert ridge.remark(None, None) is None


# A run


def test_a_run_shows_the_place_corrects_the_clock_and_tells_a_mistake(tmp_path: Path) -> None:
    munin = MuninInProcess(tmp_path / "munin")
    cards = tmp_path / "cards"
    write_picture(cards / "ridge" / "20260501120000.JPG", (64, 48))
    (cards / "deployments.csv").write_text(RIDGE)
    ended = munin("stage1", cards / "ridge", tmp_path / "results")
    assert ended.code == 0, ended.err
    shown = footage_of(munin, "ridge")
    assert shown["deployment/place"] == "Fox ridge"
    assert shown["deployment/coordinates"] == "59.32, 17.12"
    assert shown["time/first"] == "2026-05-01 11:55:30"
    (cards / "deployments.csv").write_text(RIDGE.replace("59.32", "north"))
    ended = munin("stage1", cards / "ridge", tmp_path / "results")
    assert ended.code == 1
    (told,) = ended.errors
    assert f"{cards}/deployments.csv, line 2: latitude 'north' is not allowed" in told


def footage_of(munin: Munin, name: str) -> dict[str, object]:
    """What a camera's asset `footage` shows."""
    import dagster as dg

    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("footage"), asset_partitions=[name])
    with munin.instance() as instance:
        (record,) = instance.fetch_materializations(wanted, limit=1).records
    made = record.asset_materialization
    assert made is not None
    return {key: value.value for key, value in made.metadata.items()}
