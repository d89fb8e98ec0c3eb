"""Times and camera notes that Stage 0 reads, compared with those that ExifTool reads.

    python benchmarks/exiftool_differences.py FOLDER ... [--markdown FILE]

Needs the command `exiftool`. Prints every difference with its explanation, and fails (exit code 1)
if one has none. The values of ExifTool are those of its best tag, by TIME_TAGS.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TextIO

from odins_ravne_assets.munin.media.media_files import is_medium
from odins_ravne_assets.munin.media.picture_tags import MALFORMED
from odins_ravne_assets.munin.media.probe import Probe
from odins_ravne_assets.munin.media.probe_process import probe_media
from odins_ravne_assets.munin.media.tags.exif_block import WRONG_ORDER
from odins_ravne_assets.munin.media.tags.maker_notes import MOON_PHASES
from resources.errors import MediaError
from resources.settings.profile import Stage0

# ExifTool's tags with a time of capture, the best first.
TIME_TAGS = (
    *("ExifIFD:DateTimeOriginal", "IFD0:DateTimeOriginal", "ExifIFD:CreateDate", "IFD0:ModifyDate"),
    "Reconyx:DateTimeOriginal",
    *("XMP-exif:DateTimeOriginal", "XMP-photoshop:DateCreated", "XMP-exif:DateTimeDigitized"),
    *("PNG:CreationTime", "RIFF:DateTimeOriginal", "H264:DateTimeOriginal", "Keys:CreationDate"),
    *("QuickTime:CreateDate", "UserData:ContentCreateDate"),
    *("Matroska:DateTimeOriginal", "ASF:CreationDate", "RIFF:DateCreated"),
    *("XMP-xmp:CreateDate", "Composite:DateTimeCreated", "Composite:DigitalCreationDateTime"),
    "Composite:GPSDateTime",
)
OFFSET_TAGS = {
    "ExifIFD:DateTimeOriginal": "ExifIFD:OffsetTimeOriginal",
    "ExifIFD:CreateDate": "ExifIFD:OffsetTimeDigitized",
    "IFD0:ModifyDate": "ExifIFD:OffsetTime",
}
TRIGGERS = {"M": "motion", "T": "time_lapse", "E": "external", "P": "manual"}
# Containers whose times ExifTool gives without a zone, or as UTC, because their formats say so.
UTC_TAGS = frozenset({"QuickTime:CreateDate", "Matroska:DateTimeOriginal", "ASF:CreationDate"})

_TIME = re.compile(
    r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)?(?: DST)?"
)
_OFFSET = re.compile(r"([+-])(\d{1,2}):(\d\d)")
BATCH = 500  # files for one run of ExifTool

Tags = Mapping[str, object]


class Read(NamedTuple):
    """What one of the two reads of a file; None: nothing.

    Attributes:
        text: ExifTool's text of the time, or ours.
        at: as "2021-05-28 09:30:11".
        offset: minutes.
        notes: sequence number and length, trigger, temperature, moon.
    """

    text: str | None = None
    tag: str | None = None
    at: str | None = None
    offset: int | None = None
    notes: tuple[object, ...] = (None,) * 5


class Difference(NamedTuple):
    path: str
    field: str  # time | offset | notes | file
    ours: object
    exiftool: object
    explanation: str | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--markdown", type=Path, help="write the table to this file too")
    arguments = parser.parse_args()
    found: list[Difference] = []
    compared = 0
    for folder in arguments.folders:
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        tags = exiftool_tags(paths)
        for path in paths:
            name = str(path.relative_to(folder))
            compared += 1
            found += differences(name, path, tags.get(str(path), {}))
    print_table(found, sys.stdout)
    unexplained = sum(each.explanation is None for each in found)
    summary = f"{compared} files, {len(found)} differences, {unexplained} unexplained"
    print(summary)
    if arguments.markdown:
        with arguments.markdown.open("w", encoding="utf-8", errors="replace") as file:
            print_table(found, file)
            print(f"\n{summary}", file=file)
    return 1 if unexplained else 0


def exiftool_tags(paths: list[Path]) -> dict[str, Tags]:
    """Return ExifTool's tags of each file by its path."""
    command = ["exiftool", "-json", "-n", "-G1", "-time:all", "-Reconyx:all", "-charset"]
    command += ["filename=utf8", "-OffsetTime*", "-TimeZoneOffset", "-@", "-"]
    found: dict[str, Tags] = {}
    for start in range(0, len(paths), BATCH):
        names = b"\n".join(
            str(path.absolute()).encode("utf-8", "surrogateescape")
            for path in paths[start : start + BATCH]
            if "\n" not in str(path)
        )
        done = subprocess.run(command, input=names, capture_output=True, check=False)
        for row in json.loads(done.stdout.decode("utf-8", "replace") or "[]"):
            found[row["SourceFile"]] = row
    return {str(path): found.get(str(path.absolute()), {}) for path in paths}


def differences(name: str, path: Path, tags: Tags) -> Iterator[Difference]:
    """Yield the differences of one file."""
    theirs = read_by_exiftool(tags)
    if not is_medium(name):
        if theirs.text:
            why = "no medium of a run: a system's folder, or a kind that is not processed"
            yield Difference(name, "file", None, theirs.text, why)
        return
    if not name.isprintable():
        yield Difference(name, "file", None, None, "its name cannot be given to ExifTool")
        return
    try:
        probe = probe_media(path, Stage0())
    except (MediaError, *MALFORMED) as error:
        if theirs.text:
            yield Difference(name, "file", str(error), theirs.text, f"fails: {error}")
        return
    ours = read_by_us(probe)
    for field, mine, other in (
        ("time", ours.at, theirs.at or theirs.text),
        ("offset", ours.offset, theirs.offset),
        ("notes", ours.notes, theirs.notes),
    ):
        if mine != other:
            why = explain(field, ours, theirs, probe, tags)
            yield Difference(name, field, mine, other, why)


def read_by_us(probe: Probe) -> Read:
    notes = (
        *(probe.sequence_number, probe.sequence_length, probe.trigger),
        *(probe.temperature, probe.moon_phase),
    )
    if probe.recorded_at is None:
        return Read(notes=notes)
    at = f"{probe.recorded_at:%Y-%m-%d %H:%M:%S}"
    return Read(at, probe.time_source, at, probe.utc_offset_minutes, notes)


def read_by_exiftool(tags: Tags) -> Read:
    notes = _notes(tags)
    for tag in TIME_TAGS:
        text = str(tags.get(tag, "")).strip()
        if not text:
            continue
        match = _TIME.fullmatch(text)
        at = _plausible(match) if match else None
        if at is None and any(_TIME.fullmatch(str(tags.get(other, ""))) for other in _after(tag)):
            continue
        offset = match[7] if match else None
        own = str(tags.get(OFFSET_TAGS.get(tag, ""), "")).strip()
        return Read(text, tag, at, _minutes(offset or own), notes)
    return Read(notes=notes)


def _after(tag: str) -> tuple[str, ...]:
    return TIME_TAGS[TIME_TAGS.index(tag) + 1 :]


def _plausible(match: re.Match[str]) -> str | None:
    try:
        at = datetime(*(int(match[group]) for group in range(1, 7)))  # type: ignore[arg-type]
    except ValueError:
        return None
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _minutes(text: str) -> int | None:
    if text == "Z":
        return 0
    match = _OFFSET.fullmatch(text)
    if not match:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    return -minutes if match[1] == "-" else minutes


def _notes(tags: Tags) -> tuple[object, ...]:
    sequence = str(tags.get("Reconyx:Sequence", "")).split()
    moon = tags.get("Reconyx:MoonPhase")
    return (
        int(sequence[0]) if len(sequence) == 2 else None,
        int(sequence[1]) if len(sequence) == 2 else None,
        TRIGGERS.get(str(tags.get("Reconyx:TriggerMode", "")).strip("\0 ")),
        tags.get("Reconyx:AmbientTemperature"),
        MOON_PHASES[moon] if isinstance(moon, int) and moon < len(MOON_PHASES) else None,
    )


def explain(field: str, ours: Read, theirs: Read, probe: Probe, tags: Tags) -> str | None:
    """Return why two values differ; None if there is no known reason."""
    remark = probe.remark or ""
    for applies, why in EXPLANATIONS:
        if applies(field, ours, theirs, remark, tags):
            return why
    return None


Rule = Callable[[str, Read, Read, str, Tags], bool]


def _same_but_seconds_and_pm(ours: Read, theirs: Read) -> bool:
    if not (ours.at and theirs.at):
        return False
    apart = datetime.fromisoformat(ours.at) - datetime.fromisoformat(theirs.at)
    return theirs.at.endswith(":00") and apart.total_seconds() % 43_200 < 60


EXPLANATIONS: tuple[tuple[Rule, str], ...] = (
    (
        lambda field, ours, theirs, remark, tags: (
            field == "time" and not ours.at and bool(theirs.text) and "blank or zeros" in remark
        ),
        "blank or zeros: ExifTool gives the text, we give no time and a remark",
    ),
    (
        lambda field, ours, theirs, remark, tags: (
            field == "time" and not ours.at and str(theirs.text).startswith("0000:00:00")
        ),
        "zeros: ExifTool gives the text, we give no time",
    ),
    (
        lambda field, ours, theirs, remark, tags: (
            field == "time" and not ours.at and "is not plausible" in remark
        ),
        "ExifTool gives the text of an impossible time, we give a remark",
    ),
    (
        lambda field, ours, theirs, remark, tags: (
            field == "time" and not ours.at and not theirs.at and "is not a time" in remark
        ),
        "day first, or no time: ExifTool gives the text, we give a remark",
    ),
    (
        lambda field, ours, theirs, remark, tags: (
            field == "time" and bool(ours.at) and bool(theirs.text) and not theirs.at
        ),
        "ExifTool gives the text as it is; we read its time (am and pm, no seconds, other signs)",
    ),
    (
        lambda field, ours, theirs, remark, tags: (
            field == "time" and WRONG_ORDER in remark and not theirs.text
        ),
        "wrong byte-order mark: ExifTool reads no tag, we read them in the other order",
    ),
    (
        lambda field, ours, theirs, remark, tags: (
            field == "time"
            and theirs.tag == "RIFF:DateTimeOriginal"
            and _same_but_seconds_and_pm(ours, theirs)
        ),
        "ExifTool drops the seconds, and pm behind them, of a date with slashes",
    ),
    (
        lambda field, ours, theirs, remark, tags: (
            field == "offset"
            and ours.offset is None
            and theirs.offset == 0
            and theirs.tag in UTC_TAGS
            and bool(theirs.text)
        ),
        "the format marks UTC, cameras write their wall clock: container_time decides",
    ),
    (
        lambda field, ours, theirs, remark, tags: (
            field == "offset"
            and theirs.tag == "H264:DateTimeOriginal"
            and (
                "DST" in (theirs.text or "")
                or (ours.offset is None and abs(theirs.offset or 0) > 840)
            )
        ),
        "AVCHD: summer time is part of the offset; a zone of 15.5 hours (all bits set) is none",
    ),
    (
        lambda field, ours, theirs, remark, tags: (
            field == "offset"
            and ours.offset is not None
            and "ExifIFD:OffsetTime" in tags
            and tags.get("IFD0:ModifyDate") == tags.get("ExifIFD:DateTimeOriginal")
        ),
        "OffsetTime is that of ModifyDate, which equals DateTimeOriginal",
    ),
    (
        lambda field, ours, theirs, remark, tags: (
            field == "offset" and ours.offset is not None and "ExifIFD:TimeZoneOffset" in tags
        ),
        "TimeZoneOffset (TIFF/EP) is used, which ExifTool gives as a tag of its own",
    ),
    (
        lambda field, ours, theirs, remark, tags: (
            field == "offset" and ours.offset is not None and not theirs.at and bool(theirs.text)
        ),
        "the offset is in the text that ExifTool gives as it is",
    ),
)


def print_table(found: Iterable[Difference], file: TextIO) -> None:
    print("| file | field | ours | ExifTool | explanation |", file=file)
    print("|---|---|---|---|---|", file=file)
    for each in found:
        why = each.explanation or "UNEXPLAINED"
        cells = (each.path[-60:], each.field, each.ours, each.exiftool, why)
        text = " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells)
        print(f"| {text} |".encode("utf-8", "replace").decode(), file=file)


if __name__ == "__main__":
    sys.exit(main())
