"""Roofline of the fitting kernel, by its instructions: `python benchmarks/kernel_roofline.py`.

Compiles the kernels for each architecture, disassembles them, counts the instructions of a thread
of `fit_regions` (float16), and compares their time with that of the memory traffic. Runs and
measures nothing. The result is an upper bound: it ignores latency, cache misses, and lower clocks
of a warm GPU. Needs nvdisasm, no GPU.
"""

import argparse
import re
from dataclasses import dataclass

from disassembly import (
    PathSignature,
    basic_blocks,
    disassemble,
    find_nvdisasm,
    innermost_loop,
    instruction_count,
    shortest_paths,
)
from memory_traffic import Fit, bytes_moved, source_rows

from gpu_kernels.device import picture_kernels
from gpu_kernels.models.manifest import load_manifest
from gpu_kernels.models.manifest_sections import InputSpec
from gpu_kernels.preprocessing.letterbox import placement


@dataclass(frozen=True)
class GpuSpec:
    """A GPU at its boost clock, from NVIDIA's data sheet (A10G: from AWS's page on g5).

    The bandwidth is also the data sheet's: a copy is slower, so the share of a copy is larger.
    """

    arch: str
    sms: int  # streaming multiprocessors
    ghz: float
    gb_per_second: float


GPUS = {
    "T4": GpuSpec("sm_75", 40, 1.59, 320),
    "A10G": GpuSpec("sm_86", 80, 1.71, 600),
    "L4": GpuSpec("sm_89", 58, 2.04, 300),
    "H100": GpuSpec("sm_90", 132, 1.98, 3350),
    "H200": GpuSpec("sm_90", 132, 1.98, 4800),
}

# Threads per clock of a multiprocessor: table "Throughput of Native Arithmetic Instructions" of
# NVIDIA's CUDA C++ Programming Guide; for memory the load/store units in the architecture's white
# paper. Issue: instructions of any kind, four schedulers of 32.
THREADS_PER_CLOCK = {
    "sm_75": {"issue": 128, "float": 64, "integer": 64, "conversion": 16, "memory": 16},
    "sm_86": {"issue": 128, "float": 128, "integer": 64, "conversion": 16, "memory": 16},
    "sm_89": {"issue": 128, "float": 128, "integer": 64, "conversion": 16, "memory": 16},
    "sm_90": {"issue": 128, "float": 128, "integer": 64, "conversion": 16, "memory": 32},
}
UNITS = {  # by the beginning of the instruction, after its predicate
    unit: re.compile(rf"(@\S+ +)?({names})")
    for unit, names in {
        "float": "FADD|FMUL|FFMA|HFMA2",
        "integer": r"I(ADD|MAD|SETP|MNMX|2FP)|VI|LOP3|LEA|SHF|PRMT|SEL|MOV|CS2R|F(MNMX|SE[LT]|2FP)",
        "conversion": r"FRND|F2[IF]\b|I2F\b|MUFU",
        "memory": "LD[GLSC]|ST[GLS]|S2R",
    }.items()
}


# The cases of a pixel: between two source rows, or exactly on one.
CASES = {
    "NV12, between rows": PathSignature(12, 8, 3),
    "NV12, on a row": PathSignature(6, 4, 3),
    "BGR, between rows": PathSignature(12, 0, 3),
    "BGR, on a row": PathSignature(6, 0, 3),
    "padding": PathSignature(0, 0, 3),
}
Counts = dict[str, dict[str, float]]  # instructions per pixel, by case and unit


def count_instructions(text: str) -> Counts:
    """Count the instructions of `fit_regions` per pixel.

    Those of a thread before the loop over its rows are divided among the rows.
    """
    blocks = basic_blocks(text)
    loop = [id(blocks[each]) for each in innermost_loop(blocks)]
    paths = shortest_paths(blocks)
    counts: Counts = {}
    for name, signature in CASES.items():
        counts[name] = dict.fromkeys(UNITS, 0.0) | {"issue": 0.0}
        for block in paths[signature]:
            share = 1.0 if id(block) in loop else 1 / picture_kernels.ROWS
            counts[name]["issue"] += share * len(block.code)
            for unit, names in UNITS.items():
                counts[name][unit] += share * sum(bool(names.match(each)) for each in block.code)
    return counts


def describe_kernel(name: str, text: str) -> str:
    """Return a kernel's registers and instructions, and if it spills registers."""
    registers = 1 + max(int(each) for each in re.findall(r"\bR(\d+)", text))
    spills = ", spills" if re.search(r"\b(LDL|STL)", text) else ""
    instructions = instruction_count(basic_blocks(text))
    return f"{name.rsplit('_', 4)[0]} {registers} registers, {instructions} instructions{spills}"


FITS = {
    "1080p video": Fit(1080, 1920, "NV12"),
    "1296p video": Fit(1296, 2304, "NV12"),
    "720p video": Fit(720, 1280, "NV12"),
    "12 MP still": Fit(3000, 4000, "BGR"),
}


def clocks_by_unit(fit: Fit, spec: InputSpec, counts: Counts, arch: str) -> dict[str, float]:
    """Return the clocks of one multiprocessor for a picture, if only one unit were the limit."""
    place = placement(fit.height, fit.width, spec)
    _, both = source_rows(fit, spec)
    between = int(both.sum()) * place.width
    pixels = {
        f"{fit.form}, between rows": between,
        f"{fit.form}, on a row": place.height * place.width - between,
        "padding": spec.height * spec.width - place.height * place.width,
    }
    return {
        unit: sum(counts[case][unit] * count for case, count in pixels.items()) / threads
        for unit, threads in THREADS_PER_CLOCK[arch].items()
    }


def bandwidth_share(gpu: GpuSpec, fit: Fit, spec: InputSpec, counts: Counts) -> float:
    """Return the share of the memory bandwidth that the instructions allow.

    Above 1 the kernel is memory-bound, below it is compute-bound.
    """
    computing = max(clocks_by_unit(fit, spec, counts, gpu.arch).values()) / gpu.sms / gpu.ghz
    return bytes_moved(fit, spec) / gpu.gb_per_second / computing


def describe_bound(gpu: GpuSpec, fit: Fit, spec: InputSpec, counts: Counts) -> str:
    """Return the share and the limit: memory, or a unit."""
    share = bandwidth_share(gpu, fit, spec, counts)
    clocks = clocks_by_unit(fit, spec, counts, gpu.arch)
    return f"{share:.2f} {'memory' if share > 1 else max(clocks, key=lambda unit: clocks[unit])}"


def describe_traffic(fit: Fit, spec: InputSpec, counts: Counts) -> str:
    """Return the memory traffic, and the instructions per byte."""
    moved = bytes_moved(fit, spec)
    issued = clocks_by_unit(fit, spec, counts, "sm_75")["issue"]
    instructions = issued * THREADS_PER_CLOCK["sm_75"]["issue"]
    return f"{moved / 1e6:.1f} MB, {instructions / moved:.0f} instructions per byte"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nvdisasm", help="path of nvdisasm, if it is not found")
    program = find_nvdisasm(parser.parse_args().nvdisasm)
    spec = load_manifest("megadetector-lite").input
    by_arch: dict[str, Counts] = {}
    for arch in THREADS_PER_CLOCK:
        texts = disassemble(arch, program)
        print(f"{arch}: {'; '.join(sorted(describe_kernel(*each) for each in texts.items()))}")
        (fitting,) = (t for n, t in texts.items() if "fit_regions" in n and "STG.E.U16" in t)
        by_arch[arch] = count_instructions(fitting)
    print("\n| instructions per pixel | " + " | ".join(THREADS_PER_CLOCK) + " |")
    print("|---" * (len(THREADS_PER_CLOCK) + 1) + "|")
    for case, signature in CASES.items():
        print(
            f"| {case}: {signature.loads} loads, {signature.stores} stores | "
            + " | ".join(f"{by_arch[a][case]['issue']:.0f}" for a in THREADS_PER_CLOCK)
            + " |"
        )
    print("\n| share of the memory bandwidth that they allow | " + " | ".join(GPUS) + " |")
    print("|---" * (len(GPUS) + 1) + "|")
    for name, fit in FITS.items():
        bounds = (describe_bound(gpu, fit, spec, by_arch[gpu.arch]) for gpu in GPUS.values())
        print(f"| {name}, {describe_traffic(fit, spec, by_arch['sm_75'])} | {' | '.join(bounds)} |")


if __name__ == "__main__":
    main()
