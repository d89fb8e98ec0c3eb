"""What the fitting kernel costs a GPU, counted: `python benchmarks/kernel_roofline.py`.

Compiles the kernels for each architecture, disassembles them, follows one thread of `fit_regions`
(float16) through them, and compares the time that its instructions take with the time that the
memory takes. Nothing is run and nothing is timed. The answer is an upper bound: it leaves out
waiting, caches that miss, and clocks that fall when a GPU is warm. Needs nvdisasm, no GPU.
"""

import argparse
import re
from dataclasses import dataclass

from disassembly import Way, blocks_of, disassembled, length, loop_of, nvdisasm, ways_of
from memory_traffic import Fit, bytes_moved, source_rows

from gpu_kernels.device import picture_kernels
from gpu_kernels.models.manifest import InputSpec, load_manifest
from gpu_kernels.preprocessing.letterbox import placement


@dataclass(frozen=True)
class Card:
    """A GPU at its highest clock, by NVIDIA's data sheet (of an A10G: AWS's page on g5). The
    bandwidth is the data sheet's too: a copy reaches less, so the share of a copy is larger."""

    arch: str
    sms: int  # streaming multiprocessors
    ghz: float
    gb_per_second: float


CARDS = {
    "T4": Card("sm_75", 40, 1.59, 320),
    "A10G": Card("sm_86", 80, 1.71, 600),
    "L4": Card("sm_89", 58, 2.04, 300),
    "H100": Card("sm_90", 132, 1.98, 3350),
    "H200": Card("sm_90", 132, 1.98, 4800),
}

# Threads that a multiprocessor serves in a clock: table "Throughput of Native Arithmetic
# Instructions" of NVIDIA's CUDA C++ Programming Guide; of memory the units for loads and stores
# in the architecture's white paper. Issue: any of them, four schedulers of 32.
SERVED = {
    "sm_75": {"issue": 128, "float": 64, "whole": 64, "conversion": 16, "memory": 16},
    "sm_86": {"issue": 128, "float": 128, "whole": 64, "conversion": 16, "memory": 16},
    "sm_89": {"issue": 128, "float": 128, "whole": 64, "conversion": 16, "memory": 16},
    "sm_90": {"issue": 128, "float": 128, "whole": 64, "conversion": 16, "memory": 32},
}
UNITS = {  # by how the instruction begins, after its condition; all take a turn of a scheduler
    unit: re.compile(rf"(@\S+ +)?({names})")
    for unit, names in {
        "float": "FADD|FMUL|FFMA|HFMA2",
        "whole": r"I(ADD|MAD|SETP|MNMX|2FP)|VI|LOP3|LEA|SHF|PRMT|SEL|MOV|CS2R|F(MNMX|SE[LT]|2FP)",
        "conversion": r"FRND|F2[IF]\b|I2F\b|MUFU",
        "memory": "LD[GLSC]|ST[GLS]|S2R",
    }.items()
}


WAYS = {
    "NV12, between rows": Way(12, 8, 3),
    "NV12, on a row": Way(6, 4, 3),
    "BGR, between rows": Way(12, 0, 3),
    "BGR, on a row": Way(6, 0, 3),
    "padding": Way(0, 0, 3),
}
Counts = dict[str, dict[str, float]]  # of each of WAYS, instructions of each unit for a pixel


def counts_of(text: str) -> Counts:
    """Of `fit_regions`. What a thread does before its rows is shared by them."""
    blocks = blocks_of(text)
    rows = [id(blocks[each]) for each in loop_of(blocks)]
    found = ways_of(blocks)
    told: Counts = {}
    for name, way in WAYS.items():
        told[name] = dict.fromkeys(UNITS, 0.0) | {"issue": 0.0}
        for block in found[way]:
            share = 1.0 if id(block) in rows else 1 / picture_kernels.ROWS
            told[name]["issue"] += share * len(block.code)
            for unit, names in UNITS.items():
                told[name][unit] += share * sum(bool(names.match(each)) for each in block.code)
    return told


def about(name: str, text: str) -> str:
    """A kernel's registers, its instructions, and whether it spills."""
    registers = 1 + max(int(each) for each in re.findall(r"\bR(\d+)", text))
    spills = ", spills" if re.search(r"\b(LDL|STL)", text) else ""
    long = length(blocks_of(text))
    return f"{name.rsplit('_', 4)[0]} {registers} registers, {long} instructions{spills}"


FITS = {
    "1080p video": Fit(1080, 1920, "NV12"),
    "1296p video": Fit(1296, 2304, "NV12"),
    "720p video": Fit(720, 1280, "NV12"),
    "12 MP still": Fit(3000, 4000, "BGR"),
}


def clocks(fit: Fit, spec: InputSpec, ways: Counts, arch: str) -> dict[str, float]:
    """Clocks of one multiprocessor for a picture, by what limits it, were each the only limit."""
    place = placement(fit.height, fit.width, spec)
    _, both = source_rows(fit, spec)
    between = int(both.sum()) * place.width
    pixels = {
        f"{fit.form}, between rows": between,
        f"{fit.form}, on a row": place.height * place.width - between,
        "padding": spec.height * spec.width - place.height * place.width,
    }
    return {
        unit: sum(ways[way][unit] * count for way, count in pixels.items()) / served
        for unit, served in SERVED[arch].items()
    }


def share_allowed(card: Card, fit: Fit, spec: InputSpec, ways: Counts) -> float:
    """Of the memory's bandwidth, that the instructions leave time for; above 1 the memory is the
    limit."""
    computing = max(clocks(fit, spec, ways, card.arch).values()) / card.sms / card.ghz
    return bytes_moved(fit, spec) / card.gb_per_second / computing


def bound(card: Card, fit: Fit, spec: InputSpec, ways: Counts) -> str:
    """The share, and what is the limit: memory, or which instructions."""
    share, each = share_allowed(card, fit, spec, ways), clocks(fit, spec, ways, card.arch)
    return f"{share:.2f} {'memory' if share > 1 else max(each, key=lambda unit: each[unit])}"


def described(fit: Fit, spec: InputSpec, ways: Counts) -> str:
    """Bytes to be moved, and instructions for each of them."""
    moved = bytes_moved(fit, spec)
    instructions = clocks(fit, spec, ways, "sm_75")["issue"] * SERVED["sm_75"]["issue"]
    return f"{moved / 1e6:.1f} MB, {instructions / moved:.0f} instructions a byte"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nvdisasm", help="the program, if it is not found by itself")
    program = nvdisasm(parser.parse_args().nvdisasm)
    spec = load_manifest("megadetector-lite").input
    counted: dict[str, Counts] = {}
    for arch in SERVED:
        texts = disassembled(arch, program)
        print(f"{arch}: {'; '.join(sorted(about(*each) for each in texts.items()))}")
        (fitting,) = (t for n, t in texts.items() if "fit_regions" in n and "STG.E.U16" in t)
        counted[arch] = counts_of(fitting)
    print("\n| instructions for a pixel | " + " | ".join(SERVED) + " |")
    print("|---" * (len(SERVED) + 1) + "|")
    for way, does in WAYS.items():
        print(
            f"| {way}: {does.loads} loads, {does.stores} stores | "
            + " | ".join(f"{counted[a][way]['issue']:.0f}" for a in SERVED)
            + " |"
        )
    print("\n| the bandwidth that they leave time for | " + " | ".join(CARDS) + " |")
    print("|---" * (len(CARDS) + 1) + "|")
    for name, fit in FITS.items():
        bounds = (bound(card, fit, spec, counted[card.arch]) for card in CARDS.values())
        print(f"| {name}, {described(fit, spec, counted['sm_75'])} | {' | '.join(bounds)} |")


if __name__ == "__main__":
    main()
