"""The fitting kernel leaves the memory its time on the fleet's GPUs: counted, not measured."""

import subprocess
import sys

import pytest
from disassembly import disassembled, nvdisasm
from kernel_roofline import CARDS, FITS, UNITS, Counts, about, counts_of, share_allowed
from memory_traffic import Fit, bytes_moved, source_rows
from paths import ROOT

from gpu_kernels.device import picture_kernels
from gpu_kernels.models.manifest import load_manifest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no nvdisasm from pip there")

COMMAND = ROOT / "benchmarks" / "kernel_roofline.py"
SPEC = load_manifest("megadetector-lite").input
AIM, MARGIN = 0.7, 1.5  # of the memory's bandwidth


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Of the T4, which has the least room for instructions of g4dn, g5 and g6."""
    return disassembled("sm_75", nvdisasm(None))


@pytest.fixture(scope="module")
def counts(texts: dict[str, str]) -> Counts:
    (half,) = (t for name, t in texts.items() if "fit_regions" in name and "STG.E.U16" in t)
    return counts_of(half)


@pytest.mark.parametrize("name", FITS)
def test_instructions_leave_time_for_the_memory_on_a_t4(counts: Counts, name: str) -> None:
    assert share_allowed(CARDS["T4"], FITS[name], SPEC, counts) > AIM * MARGIN


def test_no_kernel_keeps_numbers_in_memory_for_want_of_registers(texts: dict[str, str]) -> None:
    assert len(texts) == 5
    assert not [each for each in map(about, texts, texts.values()) if "spills" in each]


def test_a_pixel_costs_more_the_more_it_is_made_of(counts: Counts) -> None:
    whole = {name: units["issue"] for name, units in counts.items()}
    assert whole["padding"] < whole["BGR, on a row"] < whole["BGR, between rows"]
    assert whole["BGR, on a row"] < whole["NV12, on a row"] < whole["NV12, between rows"]
    for units in counts.values():  # no instruction is two units'
        assert sum(units[unit] for unit in UNITS) <= units["issue"]


def test_bytes_of_rows_that_no_sample_needs_are_not_counted() -> None:
    written = 3 * 640 * 640 * 2
    # Of three rows one, and its chroma, which two rows share: 360 of 1080 and of 540.
    assert bytes_moved(Fit(1080, 1920, "NV12"), SPEC) == 360 * 1920 * 2 + written
    # All rows; all of them in BGR.
    assert bytes_moved(Fit(720, 1280, "NV12"), SPEC) == 720 * 1280 * 3 // 2 + written
    assert bytes_moved(Fit(720, 1280, "BGR"), SPEC) == 720 * 1280 * 3 + written
    upper, both = source_rows(Fit(1080, 1920, "NV12"), SPEC)
    assert upper[:3].tolist() == [1, 4, 7] and not both.any()


def test_without_the_disassembler_the_command_says_what_to_do() -> None:
    ended = subprocess.run(
        [sys.executable, str(COMMAND), "--nvdisasm", "/no/such"], capture_output=True, text=True
    )
    assert ended.returncode == 1
    *_, said = ended.stderr.splitlines()
    assert said == (
        "error: /no/such is no program; pip install nvidia-cuda-nvdisasm==13.5.37, "
        "or name it with --nvdisasm"
    )


def test_the_command_tells_what_was_counted(counts: Counts) -> None:
    ended = subprocess.run([sys.executable, str(COMMAND)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    tables = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in ended.stdout.splitlines()
        if line.startswith("| ") and "|---" not in line
    ]
    told = {row[0].partition(": ")[0]: row[1] for row in tables if "loads" in row[0]}
    assert told == {name: f"{units['issue']:.0f}" for name, units in counts.items()}
    share = share_allowed(CARDS["T4"], FITS["720p video"], SPEC, counts)
    (of_720p,) = (row for row in tables if row[0].startswith("720p video, 3.8 MB"))
    assert of_720p[1] == f"{share:.2f} memory" and len(of_720p) == 1 + len(CARDS)


def test_a_thread_has_as_many_rows_as_are_counted() -> None:
    assert picture_kernels.fit_threads(2, picture_kernels.ROWS + 1, 5) == 2 * 2 * 5
