"""All that is shared of a camera's results, searched for coordinates."""

import base64
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from zipfile import ZipFile

import polars as pl


def coordinate_pattern(degrees: float) -> re.Pattern[str]:
    """A pattern that finds a coordinate with four or more of its decimals, in any notation."""
    whole, _, decimals = f"{abs(degrees):.6f}".partition(".")
    return re.compile(rf"(?<!\d){whole}[.,]{decimals[:4]}")


def leaks(
    folder: Path, metadata: Mapping[str, object], secrets: Iterable[str | re.Pattern[str]]
) -> list[str]:
    """Return each file or metadata key, with the secret that it holds.

    Args:
        folder: searched whole: text, the values of Parquet tables, the parts of workbooks, and the
            bytes of pictures.
        metadata: of assets.
        secrets: texts and patterns.
    """
    texts = {str(file.relative_to(folder)): _text(file) for file in _files(folder)}
    texts |= {key: str(value) for key, value in metadata.items()}
    patterns = [re.compile(re.escape(each)) if isinstance(each, str) else each for each in secrets]
    return [
        f"{name}: {each.pattern}"
        for name, text in texts.items()
        for each in patterns
        if each.search(text)
    ]


def _files(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.rglob("*") if file.is_file())
    assert found, f"{folder}: nothing is shared"
    return found


def _text(file: Path) -> str:
    data = file.read_bytes()
    if file.suffix == ".parquet":
        rows = pl.read_parquet(file, glob=False).to_dicts()
        return f"{rows}{data.decode('latin-1')}"
    if file.suffix == ".xlsx":
        with ZipFile(file) as archive:
            return "".join(archive.read(name).decode() for name in archive.namelist())
    text = data.decode("utf-8", errors="replace")
    # Pictures of a page are base64: their EXIF would not be seen otherwise.
    pictures = re.findall(r"[A-Za-z0-9+/]{400,}={0,2}", text)
    return text + "".join(base64.b64decode(each + "==").decode("latin-1") for each in pictures)
