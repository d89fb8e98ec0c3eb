"""The fitting kernel is memory-bound on g4dn, g5 and g6, by its instructions."""

import subprocess
import sys

import pytest
from disassembly import disassemble, find_nvdisasm
from kernel_roofline import (
    FITS,
    GPUS,
    UNITS,
    Counts,
    bandwidth_share,
    count_instructions,
    describe_kernel,
)
from memory_traffic import Fit, bytes_moved, source_rows
from paths import ROOT

from gpu_kernels.device import picture_kernels
from gpu_kernels.models.manifest import load_manifest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pip has no nvdisasm")

COMMAND = ROOT / "benchmarks" / "kernel_roofline.py"
SPEC = load_manifest("megadetector-lite").input
MIN_SHARE, MARGIN = 0.7, 1.5  # of the memory bandwidth


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Disassemble for the T4, the closest of g4dn, g5 and g6 to being compute-bound."""
    return disassemble("sm_75", find_nvdisasm(None))


@pytest.fixture(scope="module")
def counts(texts: dict[str, str]) -> Counts:
    (fp16_kernel,) = (t for name, t in texts.items() if "fit_regions" in name and "STG.E.U16" in t)
    return count_instructions(fp16_kernel)


@pytest.mark.parametrize("name", FITS)
def test_the_kernel_is_memory_bound_on_a_t4(counts: Counts, name: str) -> None:
    assert bandwidth_share(GPUS["T4"], FITS[name], SPEC, counts) > MIN_SHARE * MARGIN


def test_no_kernel_spills_registers(texts: dict[str, str]) -> None:
    assert len(texts) == 6  # three of them fit_regions, by the type of the input
    assert not [each for each in map(describe_kernel, texts, texts.values()) if "spills" in each]


def test_instructions_increase_with_the_sources_of_a_pixel(counts: Counts) -> None:
    issued = {name: units["issue"] for name, units in counts.items()}
    assert issued["padding"] < issued["BGR, on a row"] < issued["BGR, between rows"]
    assert issued["BGR, on a row"] < issued["NV12, on a row"] < issued["NV12, between rows"]
    for units in counts.values():  # no instruction belongs to two units
        assert sum(units[unit] for unit in UNITS) <= units["issue"]


def test_only_source_rows_that_a_sample_needs_count() -> None:
    written = 3 * 640 * 640 * 2
    # One of three rows, and its chroma, which two rows share: 360 of 1080 and of 540.
    assert bytes_moved(Fit(1080, 1920, "NV12"), SPEC) == 360 * 1920 * 2 + written
    # All rows, in NV12 and in BGR.
    assert bytes_moved(Fit(720, 1280, "NV12"), SPEC) == 720 * 1280 * 3 // 2 + written
    assert bytes_moved(Fit(720, 1280, "BGR"), SPEC) == 720 * 1280 * 3 + written
    upper, both = source_rows(Fit(1080, 1920, "NV12"), SPEC)
    assert upper[:3].tolist() == [1, 4, 7] and not both.any()


def test_the_error_for_a_missing_disassembler_has_the_command_to_install_it() -> None:
    ended = subprocess.run(
        [sys.executable, str(COMMAND), "--nvdisasm", "/no/such"], capture_output=True, text=True
    )
    assert ended.returncode == 1
    *_, message = ended.stderr.splitlines()
    assert message == (
        "error: /no/such is not a program; pip install nvidia-cuda-nvdisasm==13.5.37, "
        "or name it with --nvdisasm"
    )


def test_the_command_prints_the_counts(counts: Counts) -> None:
    ended = subprocess.run([sys.executable, str(COMMAND)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    tables = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in ended.stdout.splitlines()
        if line.startswith("| ") and "|---" not in line
    ]
    printed = {row[0].partition(": ")[0]: row[1] for row in tables if "loads" in row[0]}
    assert printed == {name: f"{units['issue']:.0f}" for name, units in counts.items()}
    share = bandwidth_share(GPUS["T4"], FITS["720p video"], SPEC, counts)
    (of_720p,) = (row for row in tables if row[0].startswith("720p video, 3.8 MB"))
    assert of_720p[1] == f"{share:.2f} memory" and len(of_720p) == 1 + len(GPUS)


def test_a_thread_computes_the_counted_number_of_rows() -> None:
    assert picture_kernels.fit_threads(2, picture_kernels.ROWS + 1, 5) == 2 * 2 * 5
