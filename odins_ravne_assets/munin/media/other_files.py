"""Files of a camera's footage that are not media: counted by kind, with examples.

Every file below a camera's footage is a row of the media table or is counted here. Imports no
polars, since the command's terminal output uses it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from odins_ravne_assets.munin.media.media_files import extension_of

MAX_EXAMPLES = 3
RAW_COPY = "raw file beside its JPEG"
OTHER = "other file"
_EXTENSIONS = {
    "sidecar file": ".aae .ctg .dop .idx .ind .lrv .pp3 .sbv .srt .thm .vtt .xmp",
    "sound file": ".aac .aif .aiff .amr .flac .m4a .mp3 .ogg .opus .wav .wma",
    "table": ".csv .ddb .json .numbers .ods .parquet .tdb .tsv .xls .xlsm .xlsx",
    "track": ".fit .gpx .kml .kmz .nmea",
    "document": ".doc .docx .htm .html .log .md .odt .pdf .rtf .txt",
    "archive": ".7z .bz2 .gz .rar .tar .tgz .xz .zip",
    "picture of an editor": ".ai .eps .psd .svg .xcf",
    "program or setting": ".apk .app .bat .bin .cfg .conf .dat .dll .exe .inf .ini .url",
}
_KINDS = {extension: kind for kind, each in _EXTENSIONS.items() for extension in each.split()}


@dataclass
class FileGroup:
    """Files of one kind: their number, and the first keys in the order of the listing."""

    files: int = 0
    examples: list[str] = field(default_factory=list)


class OtherFiles:
    """Counts of files that are not media, by kind."""

    def __init__(self) -> None:
        self.groups: dict[str, FileGroup] = {}

    def add(self, key: str, kind: str | None = None) -> None:
        """Count a file.

        Args:
            kind: what it is; None: by its extension.
        """
        group = self.groups.setdefault(kind or kind_of_other(key), FileGroup())
        group.files += 1
        if len(group.examples) < MAX_EXAMPLES:
            group.examples.append(key)

    @property
    def total(self) -> int:
        return sum(group.files for group in self.groups.values())

    def rows(self) -> list[dict[str, Any]]:
        """Return rows of `schemas.OTHER_FILES`, the most frequent kind first."""
        in_order = sorted(self.groups.items(), key=lambda item: (-item[1].files, item[0]))
        return [
            {"kind": kind, "files": group.files, "examples": group.examples}
            for kind, group in in_order
        ]


def kind_of_other(key: str) -> str:
    """Return what a file that is not a medium is, by its extension."""
    extension = extension_of(key)
    return _KINDS.get(extension, f"{OTHER} ({extension})" if extension else OTHER)


def describe_other_files(rows: Iterable[dict[str, Any]]) -> str | None:
    """Return one line on files that are not media; None if there are none.

    Args:
        rows: of `schemas.OTHER_FILES`.
    """
    parts = [
        f"{row['files']:,} {plural_kind(row['kind'], row['files'])} "
        f"({', '.join(row['examples'])}{', …' if row['files'] > len(row['examples']) else ''})"
        for row in rows
    ]
    return "; ".join(parts) or None


def plural_kind(kind: str, files: int) -> str:
    """Return a kind of files in the plural if there are several."""
    if files == 1:
        return kind
    noun, bracket, rest = kind.partition(" (")
    for singular, plural in (
        ("raw file", "raw files"),
        ("picture of an editor", "pictures of an editor"),
        ("program or setting", "programs or settings"),
    ):
        if noun.startswith(singular):
            return noun.replace(singular, plural)
    return f"{noun}s{bracket}{rest}"
