"""Bad input: only the bad part is lost, and one line says what is wrong, where, and what to do."""

import ctypes
import dataclasses
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from command_line import (
    CompletedCommand,
    Munin,
    journal_hashes,
    make_demo_footage,
    processed,
    results,
)
from in_process import MuninInProcess
from media_files import write_picture, write_video
from PIL import Image

from gpu_kernels.models.manifest import SHIPPED_MODELS

PNG = b"\x89PNG\r\n\x1a\n"
# Linux: prctl's option, and the capabilities by which root is above permissions.
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


def obey_permissions() -> None:
    """Make permissions apply to root, in a process that is about to execute a command."""
    if os.geteuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError("capabilities cannot be dropped")


@pytest.fixture(scope="module")
def munin(tmp_path_factory: pytest.TempPathFactory) -> Munin:
    """The command with one instance, since creating one takes a second."""
    return MuninInProcess(tmp_path_factory.mktemp("munin"))


@pytest.fixture(scope="module")
def obedient(munin: Munin) -> Munin:
    """The command as a process to which permissions apply, also of root."""
    return Munin(munin.folder, before_start=obey_permissions)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int) -> bytes:
    """A complete PNG of a hundred bytes whose header has this size."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return PNG + header + pixels + png_chunk(b"IEND", b"")


def make_variants(cat: Path, folder: Path) -> None:
    """Write one picture in the formats that cameras and people use."""
    picture = Image.open(cat)
    whole = cat.read_bytes()
    shutil.copy(cat, folder / "cat.jpg")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("L").save(folder / "grey.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees clockwise
    picture.transpose(Image.Transpose.ROTATE_90).save(folder / "rotated.jpg", exif=exif)
    (folder / "jpeg.png").write_bytes(whole + b"another hash")
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) * 8 // 10])


def make_damaged(folder: Path) -> None:
    """Write files as on cards that are full, failing or edited by hand."""
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "zeros.jpg").write_bytes(bytes(5000))
    (folder / "text.jpg").write_text("no picture\n" * 50)
    (folder / "bomb.png").write_bytes(png_of(60_000, 60_000))
    clip = write_video(folder / "clip.mp4", (320, 240)).read_bytes()
    (folder / "clip.jpg").write_bytes(clip + b"\0\0\0\x08free")
    (folder / "truncated.mp4").write_bytes(clip[: len(clip) * 6 // 10])


def make_unusual_names(folder: Path) -> None:
    names = ["Ærfugl i snø.jpg", "a #1 & 100%20.jpg", "新しい.jpg", "two\nlines\x07.jpg"]
    for number, name in enumerate(names):
        write_picture(folder / name, shift=number)
    not_text = os.fsencode(folder) + b"/caf\xe9.jpg"
    Path(os.fsdecode(not_text)).write_bytes((folder / "cat.jpg").read_bytes() + b"a third")


def make_unreadable_paths(folder: Path) -> None:
    write_picture(folder / "closed.jpg", shift=10).chmod(0)
    for name, mode in {"no-listing": 0o300, "no-entry": 0o600, "nothing": 0}.items():
        write_picture(folder / name / "behind.jpg", shift=11).parent.chmod(mode)


def make_loops(folder: Path) -> None:
    (folder / "loop").symlink_to(folder.parent)
    (folder / "self").symlink_to("self")
    (folder / "self.jpg").symlink_to("self.jpg")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")


@dataclass(frozen=True)
class Run:
    """A finished run, whose output is next to its card."""

    card: Path
    ended: CompletedCommand

    @property
    def output(self) -> Path:
        return self.card.parent / "output"


def run_on(munin: Munin, card: Path) -> Run:
    """Run the command on a card."""
    return Run(card, munin("batch", card, card.parent / "output"))


@pytest.fixture(scope="module")
def run(obedient: Munin, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a card with every kind of damage."""
    root = tmp_path_factory.mktemp("bad")
    folder = root / "card" / "DCIM"
    folder.mkdir(parents=True)
    make_variants(make_demo_footage(root / "demo") / "DCIM" / "100MEDIA" / "IMAG0001.JPG", folder)
    for make in (make_damaged, make_unusual_names, make_unreadable_paths, make_loops):
        make(folder)
    return run_on(obedient, root / "card")


@pytest.fixture(scope="module")
def demo(munin: Munin, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on the demo's footage, which has no damage."""
    return run_on(munin, make_demo_footage(tmp_path_factory.mktemp("demo") / "card"))


def test_every_file_is_in_the_tables_with_its_reason(run: Run) -> None:
    closed = "folder cannot be listed: Permission denied"
    assert run.ended.code == 0
    assert processed(run.output) == {
        "DCIM/a #1 & 100%20.jpg": ("done", None),
        "DCIM/bomb.png": (
            "failed",
            "its header gives 60000x60000 pixels, more than pipeline.stage0.max_megapixels (200) "
            "allows",
        ),
        "DCIM/caf\\xe9.jpg": ("failed", "its name is not valid UTF-8: rename it"),
        "DCIM/cat.jpg": ("done", None),
        "DCIM/clip.jpg": ("done", "named .jpg, is MP4"),
        "DCIM/clip.mp4": ("done", None),
        "DCIM/closed.jpg": ("failed", "cannot be read: Permission denied"),
        "DCIM/cmyk.jpg": ("done", None),
        "DCIM/grey.jpg": ("done", None),
        "DCIM/jpeg.png": ("done", "named .png, is JPEG"),
        "DCIM/gone.jpg": ("failed", "is a link to a file that does not exist"),
        "DCIM/no-entry/behind.jpg": ("failed", "cannot be read: Permission denied"),
        "DCIM/no-listing/": ("failed", closed),
        "DCIM/nothing/": ("failed", closed),
        "DCIM/self.jpg": ("failed", "is a link that leads to itself"),
        "DCIM/rotated.jpg": ("done", None),
        "DCIM/text.jpg": ("failed", "is text, not a picture or a video"),
        "DCIM/truncated.jpg": (
            "done",
            "file is truncated: the part that is left is used",
        ),
        "DCIM/truncated.mp4": (
            "failed",
            "damaged MP4: Invalid data found when processing input; its index is missing when the "
            "camera lost power while recording",
        ),
        "DCIM/two\nlines\x07.jpg": ("done", None),
        "DCIM/zero.jpg": ("failed", "file is empty"),
        "DCIM/zeros.jpg": (
            "failed",
            "is all zeros, as a failing card writes, not a picture or a video",
        ),
        "DCIM/Ærfugl i snø.jpg": ("done", None),
        "DCIM/新しい.jpg": ("done", None),
    }


def test_the_command_prints_how_many_media_could_not_be_used(run: Run) -> None:
    lines = run.ended.err.splitlines()
    failed = "card: 12 of 24 media could not be used; the reasons are in stage3/report.json, "
    assert any(line.startswith(f"{failed}failed_by_reason (") for line in lines)
    assert any("truncated, and used as far as they go" in line for line in lines)
    assert not run.ended.errors


def test_an_animal_is_found_in_cmyk_greyscale_rotated_and_truncated_pictures(run: Run) -> None:
    boxes = pl.read_parquet(run.output / "tables" / "detections.parquet")
    found = {path: box for path, *box in boxes.select("path", "x", "y", "w", "h").rows()}
    cat = found["DCIM/cat.jpg"]
    for name in ("cmyk.jpg", "rotated.jpg", "jpeg.png"):
        assert found[f"DCIM/{name}"] == pytest.approx(cat, abs=0.05)
    assert {"DCIM/grey.jpg", "DCIM/truncated.jpg"} <= found.keys()


def test_unlisted_folders_are_counted_in_the_report(run: Run) -> None:
    report = json.loads((run.output / "stage3" / "report.json").read_text())
    # The files of the third folder can be listed; that they cannot be read is said of each.
    assert report["media_by_kind_and_status"]["folder"]["failed"] == 2
    failed = pl.read_parquet(run.output / "tables" / "processed.parquet").filter(status="failed")
    kinds = dict(failed.select("path", "kind").iter_rows())
    assert kinds["DCIM/no-entry/behind.jpg"] == kinds["DCIM/gone.jpg"] == "image"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The values of the placeholders in the commands below."""
    root = tmp_path_factory.mktemp("places")
    still = write_picture(root / "card" / "IMG_0001.JPG")
    write_picture(root / "..." / "IMG_0001.JPG")
    return {"root": root, "card": still.parent, "still": still, "out": root / "out"}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Munin:
    """A command whose every call is refused."""
    return MuninInProcess(tmp_path_factory.mktemp("refused"))


WRONG_USE = {
    "batch {still} {out}": "INPUT {still}: is a file; name a folder of footage",
    "batch {root}/nowhere {out}": "INPUT {root}/nowhere: does not exist; name a folder of footage",
    "batch": "INPUT is missing; see munin batch --help",
    "batch {card} {out} --input {card}": "INPUT is given twice, as {card} and {card}; give it once",
    "batch {card} {card}/results": "OUTPUT {card}/results and INPUT {card} contain one another; "
    "choose an OUTPUT outside of the footage",
    "batch {card} {root}": "OUTPUT {root} and INPUT {card} contain one another; choose an "
    "OUTPUT outside of the footage",
    "batch {card} {out} --camera a/b": "camera id 'a/b' is not allowed: a letter or digit, then "
    "letters, digits, - and _, 63 characters at most; use a-b",
    "batch {card} {out} --camera ...": "camera id '...' is not allowed: a letter or digit, then "
    "letters, digits, - and _, 63 characters at most",
    "batch {card} {out} --camera bell\a": "camera id 'bell\\x07' is not allowed: a letter or "
    "digit, then letters, digits, - and _, 63 characters at most; use bell",
    "batch {card} {out} --camera=": "camera id '' is not allowed: a letter or digit, then letters, "
    "digits, - and _, 63 characters at most",
    "batch {root}/... {out}": "{root}/...: no camera id can be derived from the folder name "
    "'...'; set one with --camera",
    "batch {card} {out} --cameras": "{card}: 1 media files (such as IMG_0001.JPG) are outside of "
    "camera folders; move them into one, or run {card} as one camera",
    "batch https://cards/1 {out}": "https://cards/1: cannot be opened; use a path or a file:// URL",
    "batch {card} {out} --conf-threshold 2": "command line: pipeline.stage1.conf_threshold: 2.0 is "
    "not allowed: input should be less than or equal to 1",
    "stage2 {out}": "OUTPUT {out}: holds no results of a camera; `munin status` lists "
    "the known ones",
    "stage3 {out}": "OUTPUT {out}: holds no results of a camera; `munin status` lists "
    "the known ones",
}


@pytest.mark.parametrize("words", WRONG_USE)
def test_wrong_use_is_an_error_before_any_work(
    refused: Munin, places: dict[str, Path], words: str
) -> None:
    ended = refused(*(word.format(**places) for word in words.split(" ")))
    assert ended.code == 2
    assert ended.err == f"error: {WRONG_USE[words].format(**places)}\n"
    assert not ended.out
    assert not places["out"].exists()


PROFILES = {
    "pipeline: {stage3: {min_confidnce: 0.6}}": "pipeline.stage3.min_confidnce: unknown key; did "
    "you mean min_confidence? known keys: burst_gap, compression_window, min_confidence, "
    "min_duration, mode, repeat_days, repeat_media, repeat_overlap, review_below, roll_up, "
    "vote_share",
    "pipeline: {stage3: {min_confidence: high}}": "pipeline.stage3.min_confidence: 'high' is not "
    "allowed: input should be a valid number, unable to parse string as a number",
}


@pytest.mark.parametrize("text", PROFILES)
def test_a_mistake_in_a_profile_is_an_error_with_its_file_and_key(
    tmp_path: Path, places: dict[str, Path], text: str
) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text(text)
    ended = MuninInProcess(tmp_path / "munin", str(profile))("batch", places["card"], places["out"])
    assert ended.code == 2
    assert ended.errors == [f"error: profile {profile}: {PROFILES[text]}"]


def test_an_unknown_profile_is_an_error_with_the_known_ones(
    tmp_path: Path, places: dict[str, Path]
) -> None:
    ended = MuninInProcess(tmp_path, "locale")("batch", places["card"], places["out"])
    assert ended.code == 2
    assert ended.errors[0].startswith("error: profile locale: not known; name one of cloud, ")


def test_an_unknown_key_in_the_environment_is_an_error(
    tmp_path: Path, places: dict[str, Path]
) -> None:
    munin = MuninInProcess(tmp_path, environment={"MUNIN_PIPELINE__STAGE9__X": "1"})
    ended = munin("batch", places["card"], places["out"])
    assert ended.code == 2
    assert ended.errors[0].startswith(
        "error: environment MUNIN_PIPELINE__STAGE9__X: pipeline.stage9: unknown key; "
    )


def test_a_dagster_home_that_cannot_be_created_is_an_error(
    tmp_path: Path, places: dict[str, Path]
) -> None:
    (tmp_path / "file").touch()
    munin = MuninInProcess(tmp_path, environment={"DAGSTER_HOME": str(tmp_path / "file" / "home")})
    ended = munin("batch", places["card"], places["out"])
    assert ended.code == 2
    assert ended.errors == [
        f"error: DAGSTER_HOME {tmp_path}/file/home: cannot be created (Not a directory); set it to "
        "a writable folder"
    ]


@contextmanager
def unmounted(card: Path) -> Iterator[None]:
    """Replace the card by an empty folder, as an empty mount point is."""
    away = card.rename(card.parent / "away")
    card.mkdir()
    yield
    card.rmdir()
    away.rename(card)


def test_a_folder_without_media_is_refused_and_earlier_results_stay(
    munin: Munin, demo: Run
) -> None:
    before = results(demo.output)
    with unmounted(demo.card):
        ended = munin("batch", demo.card, demo.output)
    assert ended.code == 1
    assert ended.errors == [
        f"error: camera card: {demo.card}: holds no pictures or videos; name the folder "
        "with the footage, and see that its card or disk is mounted"
    ]
    assert results(demo.output) == before


def test_results_of_another_camera_are_not_replaced_even_by_another_machine(
    demo: Run, tmp_path: Path
) -> None:
    write_picture(tmp_path / "south" / "IMG_0001.JPG")
    before = results(demo.output)
    ended = MuninInProcess(tmp_path / "other machine")("batch", tmp_path / "south", demo.output)
    assert ended.code == 2
    assert ended.errors == [
        f"error: OUTPUT {demo.output}: holds the results of camera card; add --camera card if "
        f"{tmp_path / 'south'} is its next card, or name another OUTPUT for camera south"
    ]
    assert results(demo.output) == before


def test_the_name_of_a_footage_folder_need_not_be_utf_8_but_that_of_results_must(
    munin: Munin, tmp_path: Path
) -> None:
    not_utf_8 = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    write_picture(not_utf_8 / "IMG_0001.JPG")
    assert munin("batch", not_utf_8, tmp_path / "out").code == 0
    assert processed(tmp_path / "out") == {"IMG_0001.JPG": ("done", None)}
    ended = munin("batch", tmp_path / "out", not_utf_8)
    assert ended.code == 2
    assert ended.errors == [
        f"error: OUTPUT {tmp_path}/caf\\udce9: has a name that is not valid UTF-8, so tables "
        "cannot be written there; choose another"
    ]


def own_model(folder: Path, name: str) -> Path:
    """Copy a shipped model, to be damaged."""
    folder.mkdir()
    for file in SHIPPED_MODELS.iterdir():
        shutil.copy(file, folder)
    return folder / f"{name}.toml"


def test_an_unknown_model_is_an_error_with_the_known_ones(
    munin: Munin, places: dict[str, Path]
) -> None:
    ended = munin("batch", places["card"], places["out"], "--model", "megadetektor")
    assert ended.code == 1
    assert ended.errors == [
        "error: camera card: model megadetektor: unknown; use one of efficientnet-lite3, "
        "megadetector-lite, ssd-mobilenet-v2-cam16, lite-ensemble, the path of a .toml manifest, "
        "or install it: munin models catalogue, munin models add NAME"
    ]


def test_a_damaged_model_is_an_error_before_any_work_even_if_of_a_later_stage(
    munin: Munin, tmp_path: Path, places: dict[str, Path]
) -> None:
    manifest = own_model(tmp_path / "models", "efficientnet-lite3")
    network = manifest.parent / "efflite3_w8mul.onnx"
    with network.open("ab") as file:
        file.write(b"\0")
    profile = tmp_path / "mine.yaml"
    profile.write_text(f"models: {{classifier: {manifest}}}")
    output = tmp_path / "out"
    ended = dataclasses.replace(munin, profile=str(profile))("batch", places["card"], output)
    assert ended.code == 1
    (error,) = ended.errors
    assert error.startswith(
        f"error: camera card: model efficientnet-lite3: {network}: does not match "
        "the manifest: sha256 expected "
    )
    assert error.endswith(
        "; download the file again, or set the new sha256 if you changed it on purpose (cameras "
        "with results then need --update)"
    )
    assert not (output / "journal").exists()


def test_a_model_without_its_file_is_an_error(
    munin: Munin, tmp_path: Path, places: dict[str, Path]
) -> None:
    manifest = own_model(tmp_path / "models", "ssd-mobilenet-v2-cam16")
    network = manifest.parent / "ssd_mnv2_cam16_h.onnx"
    network.unlink()
    ended = munin("batch", places["card"], tmp_path / "out", "--model", manifest)
    assert ended.code == 1
    assert ended.errors == [
        f"error: camera card: model ssd-mobilenet-v2-cam16: {network}: no such file; add it "
        "or correct the manifest"
    ]


def test_an_output_that_cannot_be_written_is_an_error(
    obedient: Munin, tmp_path: Path, places: dict[str, Path]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    ended = obedient("batch", places["card"], closed / "out")
    assert ended.code == 1
    assert ended.errors == [
        f"error: camera card: {closed}/out: cannot write .lock: Permission denied"
    ]


def test_results_are_complete_when_their_download_fails(
    munin: Munin, demo: Run, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.touch()
    ended = munin("batch", demo.card, demo.output, "--local-output", target)
    assert ended.code == 1
    (error,) = ended.errors
    assert error.startswith(f"error: {target}/card/")
    assert ": cannot write " in error
    assert error.endswith(": Not a directory")
    assert (demo.output / "stage3" / "report.json").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 KB, until `resize`."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root on Linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


# The disk is full at the media table, at the journal's crops, and at the tables after the journal.
@pytest.mark.parametrize("size", ["4k", "300k", "640k"])
def test_a_full_disk_is_an_error_and_the_run_continues_with_more_space(
    small_disk: Path, demo: Run, munin: Munin, size: str
) -> None:
    output = small_disk / "out"
    resize(small_disk, size)
    ended = munin("batch", demo.card, output)
    assert ended.code == 1
    (error,) = ended.errors
    assert error.startswith(f"error: camera card: {output}: no space left to write ")
    assert error.endswith("; free some space and run again: finished work is saved")
    finished = journal_hashes(output)
    resize(small_disk, "8m")
    again = munin("batch", demo.card, output)
    assert again.code == 0
    assert results(output) == results(demo.output)
    assert set(finished) <= set(journal_hashes(output))
    assert len(journal_hashes(output)) == len(set(journal_hashes(output)))
    assert ("detecting" in again.err) == (not finished)
