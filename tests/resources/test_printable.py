"""Control characters of names, labels and EXIF reach no terminal, log, CSV file or page."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from camera_tables import NIGHT, Camera
from hypothesis import given
from hypothesis import strategies as st
from report_rig import CameraOutput, LabelledBox, stage3
from rich.console import Console
from rich.table import Table

from odins_ravne_assets.cli import terminal
from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.worker.pipes_worker import PipesReporter, _typed
from resources.errors import MediaError, StoreError, UsageError
from resources.printable import escaped_json, printable, printable_values
from resources.settings.profile import Privacy, Stage3
from resources.settings.project import Project

HOSTILE = "red\x1b]0;owned\x07\x1b[2J fox\r\x00\x7f\x9b31m\u202egpj\u2066\u2028"
# Every control character but line breaks.
CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def test_a_control_character_is_shown_as_its_escape() -> None:
    assert printable("a\x1b[2Jb\x9b\u202e") == r"a\x1b[2Jb\x9b\u202e"
    assert printable("a\nb\tc") == r"a\x0ab\x09c"
    assert printable("a\nb\tc\r", lines=True) == "a\nb\tc\\x0d"
    assert printable("\udcff.jpg") == r"\udcff.jpg"


def test_other_text_is_unchanged() -> None:
    text = "Grävling 木 🦊 👩‍🔬 \\x1b 'quoted' a\u00a0b"
    assert printable(text) == text


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    shown = printable(text)
    assert all(
        unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"} for character in shown
    )
    assert printable(shown) == shown
    shown.encode()


def test_values_of_json_are_printable_with_their_keys() -> None:
    assert printable_values({"a\x1b": ["b\x07", ("c", 1, None)]}) == {
        r"a\x1b": [r"b\x07", ["c", 1, None]]
    }


@given(st.text())
def test_json_has_the_same_values_and_no_control_character(text: str) -> None:
    shown = escaped_json(json.dumps({text: [text]}, ensure_ascii=False, indent=1))
    assert json.loads(shown) == {text: [text]}
    assert printable(shown, lines=True) == shown
    shown.encode()


@pytest.mark.parametrize("kind", [StoreError, UsageError, MediaError])
def test_errors_are_printable_and_one_line(kind: type[Exception]) -> None:
    shown = str(kind(f"{HOSTILE}\nsecond.jpg: is damaged"))
    assert not CONTROL.search(shown)
    assert "\n" not in shown


def on_terminal(*renderables: Any, **options: Any) -> str:
    file = io.StringIO()
    console = terminal.PrintableConsole(file=file, force_terminal=True, width=200, highlight=False)
    console.print(*renderables, **options)
    return file.getvalue()


def test_the_terminal_gets_no_escape_but_its_own() -> None:
    table = Table("species")
    table.add_row(HOSTILE)
    shown = on_terminal(table, HOSTILE, f"[bold red]error:[/] {HOSTILE}")
    assert "\x1b[1;31merror:" in shown  # its own colors
    own = re.sub("\x1b\\[[0-9;]*m", "", shown)
    assert not CONTROL.search(own)
    assert "owned" in own


def test_every_console_of_the_commands_is_printable() -> None:
    assert isinstance(terminal.out, terminal.PrintableConsole)
    assert isinstance(terminal.err, terminal.PrintableConsole)
    sources = Path(terminal.__file__).parents[1].rglob("*.py")
    for source in sources:
        calls = re.findall(r"(?<!Printable)\bConsole\(", source.read_text("utf-8"))
        assert not [call for call in calls if source.name != "terminal.py"], source


class Pipes:
    """Keeps what a worker reports."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.log = self

    def info(self, text: str) -> None:
        self.said.append(text)

    warning = info

    def report_custom_message(self, message: Mapping[str, Any]) -> None:
        self.said += map(str, message.values())


def test_a_worker_logs_and_reports_no_control_character() -> None:
    pipes = Pipes()
    reporter = PipesReporter(pipes, None)  # type: ignore[arg-type]
    reporter.info(HOSTILE)
    reporter.warning(HOSTILE)
    assert len(pipes.said) == 3
    assert not any(CONTROL.search(text) for text in pipes.said)
    name, value = _typed("md:failures", f"| {HOSTILE} |\n| 1 |")
    assert name == "failures"
    assert not CONTROL.search(value["raw_value"])
    assert "\n" in value["raw_value"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exports of a camera with hostile names, labels and reviewers."""
    folder = tmp_path_factory.mktemp("hostile")
    camera = Camera()
    label = {"label": HOSTILE, "scientific_name": None}
    camera.medium(f"DCIM/{HOSTILE}.jpg", NIGHT, [label])
    camera.medium(f"{HOSTILE}.mp4", NIGHT, [], "failed", reason=f"says {HOSTILE}")
    store = camera.store(folder)
    run_stage3(store, Stage3(), {}, Privacy())
    place = {"cameraID": "camera7", "latitude": 1, "longitude": 1, "locationName": HOSTILE}
    project = Project(utc_offset="+01:00", deployments=(place,))  # type: ignore[arg-type]
    assert export_camera(store, "camera7", project, Privacy()).camtrap_dp
    return folder / "stage3"


@pytest.mark.parametrize(
    "name",
    [
        "observations.csv",
        *(f"camtrap-dp/{t}.csv" for t in ("deployments", "observations", "media")),
    ],
)
def test_csv_files_hold_no_control_character(name: str, shared: Path) -> None:
    text = (shared / name).read_bytes().decode()
    assert not CONTROL.search(text)
    assert r"\x1b" in text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows
    assert not any("\n" in cell for row in rows for cell in row.values())


def test_the_workbook_holds_no_control_character(shared: Path) -> None:
    with ZipFile(shared / "observations.xlsx") as archive:
        text = archive.read("xl/worksheets/sheet1.xml").decode()
    assert not CONTROL.search(text.replace("\n", ""))
    assert r"\x1b" in text


def test_json_files_hold_control_characters_as_escapes_only(shared: Path) -> None:
    names = ("report.json", "megadetector.json", "camtrap-dp/datapackage.json")
    for name in (*names, "compressed_observations.json"):
        assert not re.search("[\x00-\x08\x0b-\x1f]", (shared / name).read_text("utf-8")), name


def test_a_page_holds_no_control_character(tmp_path: Path) -> None:
    fox = LabelledBox(HOSTILE, None)
    output = CameraOutput(tmp_path).still(f"{HOSTILE}.jpg", NIGHT, fox)
    page = stage3(output.still("2.jpg", NIGHT, reason=f"says {HOSTILE}").write())
    assert not CONTROL.search(page)
    assert not re.search(r"\\u00(0[0-8bcef]|1[0-9a-f]|7f|9b)", page.partition("<script>")[0])
    assert "owned" in page


def test_the_console_is_needed() -> None:
    """A console without it passes the escape on."""
    file = io.StringIO()
    Console(file=file).print(HOSTILE)
    assert "\x1b" in file.getvalue()
