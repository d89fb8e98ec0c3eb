"""Launches on AWS of a camera with several cards: each is copied to a prefix of its own."""

import shutil
from pathlib import Path
from threading import Event

import polars as pl
import pytest
from media_files import write_picture
from s3_rig import S3Rig, s3, s3_server

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.costs.report_inputs import _areas
from odins_ravne_assets.defs.launch_hooks import FOOTAGE_QUERIES
from odins_ravne_assets.munin.media.camera_clock import CameraClocks
from odins_ravne_assets.munin.media.footage import refresh_media_table
from odins_ravne_assets.munin.media.probe_process import probe_media
from odins_ravne_assets.munin.media.source_match import RunFootage, find_sources
from odins_ravne_assets.munin.media.source_store import SourceFootage, open_footage
from odins_ravne_assets.munin.media.sources import load_sources, save_sources
from resources.launch.base import StepRequest
from resources.settings.loader import load_profile
from resources.settings.profile import Stage0
from resources.storage.layout import MEDIA_TABLE
from resources.storage.open_store import open_store
from resources.storage.s3.store import S3Store
from resources.storage.transfer.footage_upload import upload_footage

__all__ = ["s3", "s3_server"]  # fixtures


class Launches:
    """What a launch does before its job, and Stage 0 in the job, against S3."""

    def __init__(self, s3: S3Rig) -> None:
        self.clients = s3.clients()
        self.bucket = f"s3://{s3.bucket(self.clients)}"
        self.profile = load_profile("cloud", {"cloud.aws.endpoint_url": s3.url}, {})
        self.output = S3Store(f"{self.bucket}/results/ridge", self.clients)
        self.messages: tuple[str, ...] = ()

    def request(self, footage_url: str) -> StepRequest:
        return StepRequest("ridge", footage_url, self.output.url, ("footage",), {})

    def run(self, footage_url: str) -> list[str]:
        """Run Stage 0 of footage, in a local folder or on S3; return the paths of the table."""
        place, origin = footage_url, None
        if footage_url.startswith("file:"):
            origin = footage_url
            place = FOOTAGE_QUERIES.copy_url(self.request(origin), self.output, self.profile)
            target = S3Store(place, self.clients)
            upload_footage(open_store(origin), target, lambda _: None, Event(), lambda _: True)
        found = find_sources(
            "ridge",
            RunFootage(place, origin, uses_copies=True),
            self.output,
            lambda url: open_store(url, self.clients),
            lambda path: None,
        )
        self.messages = found.messages
        save_sources(self.output, "ridge", [each.source for each in found.opened])
        footage = SourceFootage(found.opened, place)
        settings = Stage0()
        refresh_media_table(
            "ridge",
            footage,
            self.output,
            MEDIA_TABLE,
            settings,
            lambda path: probe_media(path, settings),
            CameraClocks.none(),
        )
        with self.output.reading(MEDIA_TABLE) as path:
            return pl.read_parquet(path)["path"].to_list()

    def needs_machine(self, footage_url: str) -> bool:
        store = open_store(footage_url, self.clients)
        return FOOTAGE_QUERIES.needs_machine(
            self.request(footage_url), store, self.output, self.profile
        )


@pytest.fixture
def launches(s3: S3Rig) -> Launches:
    return Launches(s3)


def card(folder: Path, *shifts: int) -> str:
    for number, shift in enumerate(shifts):
        write_picture(folder / "DCIM" / f"IMG_{number}.JPG", shift=shift)
    return folder.as_uri()


def test_cards_on_this_machine_are_copied_side_by_side_and_read_while_they_are_away(
    launches: Launches, tmp_path: Path
) -> None:
    first, second = card(tmp_path / "a", 1, 2), card(tmp_path / "b", 3)
    assert launches.run(first) == ["DCIM/IMG_0.JPG", "DCIM/IMG_1.JPG"]
    assert launches.needs_machine(second)  # a new card
    both = ["a/DCIM/IMG_0.JPG", "a/DCIM/IMG_1.JPG", "b/DCIM/IMG_0.JPG"]
    assert launches.run(second) == both
    listed = load_sources(launches.output)
    assert listed is not None
    copies = [f"{launches.bucket}/footage/ridge", f"{launches.bucket}/footage/ridge+b"]
    assert [each.copy for each in listed.sources] == copies
    assert [each.place for each in listed.sources] == [first, second]
    shutil.rmtree(tmp_path / "a")
    assert launches.run(second) == both
    assert launches.messages == ()  # the copy of the first card is there
    assert launches.run(first) == both  # as a run of all cameras does
    footage = open_footage(
        launches.output, second, lambda url: open_store(url, launches.clients), uses_copies=True
    )
    for path in both:
        with footage.reading(path) as file:
            assert file.read_bytes()[:2] == b"\xff\xd8"
    areas = _areas([Camera("ridge", second, launches.output.url)], launches.profile)
    assert {place for place, area in areas.items() if area == "footage"} == set(copies)


def test_a_card_that_is_mounted_elsewhere_is_copied_to_where_it_was(
    launches: Launches, tmp_path: Path
) -> None:
    launches.run(card(tmp_path / "a", 1, 2))
    launches.run(card(tmp_path / "b", 3))
    (tmp_path / "a").rename(tmp_path / "CARD1")
    before = launches.run((tmp_path / "b").as_uri())
    assert launches.run((tmp_path / "CARD1").as_uri()) == before
    assert "holds the media of source a" in launches.messages[0]


def test_sources_on_s3_and_on_this_machine_mix(launches: Launches, tmp_path: Path) -> None:
    card(tmp_path / "north", 1)
    uploads = f"{launches.bucket}/footage/uploads/north"
    store = open_store((tmp_path / "north").as_uri())
    upload_footage(store, S3Store(uploads, launches.clients), lambda _: None, Event())
    assert launches.run(uploads) == ["DCIM/IMG_0.JPG"]
    assert launches.run(card(tmp_path / "b", 2)) == ["north/DCIM/IMG_0.JPG", "b/DCIM/IMG_0.JPG"]
    assert not launches.needs_machine(uploads)
