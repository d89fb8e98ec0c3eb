"""A compiled kernel as text, and the ways that a thread can take through it."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

from gpu_kernels.device.cubins import compile_cubins

WHEEL = "nvidia-cuda-nvdisasm==13.5.37"  # as in requirements-checks.txt


class Way(NamedTuple):
    """What a thread does on its way; that tells the ways of a kernel of pictures apart."""

    loads: int  # of a byte
    chroma: int  # of these, Cb and Cr: 128 is taken from each
    stores: int


class Block(NamedTuple):
    """Instructions that are run one after the other, and the blocks that may follow."""

    code: list[str]
    onward: list[int]

    def does(self) -> Way:
        text = "\n".join(self.code)
        return Way(text.count("LDG.E.U8"), text.count(", -128"), text.count("STG"))


def nvdisasm(given: str | None) -> str:
    """The program; it may be named, in the PATH, or installed by pip."""
    installed = Path(sysconfig.get_path("purelib"), "nvidia", "cu13", "bin", "nvdisasm")
    found = shutil.which(given) if given else shutil.which("nvdisasm") or shutil.which(installed)
    if found is None:
        missing = f"{given} is no program" if given else "nvdisasm is not here"
        sys.exit(f"error: {missing}; pip install {WHEEL}, or name it with --nvdisasm")
    return str(found)


def disassembled(arch: str, program: str) -> dict[str, str]:
    """The kernels of pictures, as text by their names; of an architecture, as sm_75."""
    with tempfile.TemporaryDirectory() as folder:
        cubin, *_ = compile_cubins(arch, Path(folder))
        command = [program, "--print-code", str(cubin)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sections = re.split(r"^//-+ \.text\.(\w+) -+$", text, flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))


def blocks_of(text: str) -> list[Block]:
    """A kernel's blocks, in their order in memory, without the functions that it calls."""
    body = re.split(r"^\s+\.type\s+\$", text, flags=re.MULTILINE)[0]
    blocks = [Block([], [])]
    labels: dict[str, int] = {}
    targets: dict[int, str] = {}
    for line in body.splitlines():
        if label := re.match(r"(\.L_\w+):", line):
            blocks.append(Block([], []))
            labels[label[1]] = len(blocks) - 1
        elif found := re.search(r"/\*[0-9a-f]{4,}\*/\s+(.+?) ?;", line):
            blocks[-1].code.append(found[1])
            if re.search(r"\b(BRA|EXIT)\b|CALL\S* `\(\.L_", found[1]):  # such a call is a branch
                target = re.search(r"\.L_\w+", found[1])
                targets[len(blocks) - 1] = target[0] if target else ""
                blocks.append(Block([], []))
    for place, block in enumerate(blocks):
        if place + 1 < len(blocks) and (place not in targets or block.code[-1].startswith("@")):
            block.onward.append(place + 1)
        if targets.get(place) in labels:
            block.onward.append(labels[targets[place]])
    return blocks


def loop_of(blocks: list[Block]) -> range:
    """The innermost loop around the loads of bytes, as blocks; empty if there is none."""
    found = range(0)
    for place, block in enumerate(blocks):
        for target in (each for each in block.onward if each < place):
            loop = range(target, place + 1)
            loads = sum(blocks[each].does().loads for each in loop)
            if loads and (not found or len(loop) < len(found)):
                found = loop
    return found


def ways_of(blocks: list[Block]) -> dict[Way, list[Block]]:
    """The shortest way for each thing that can be done, each loop gone through once.

    Blocks that call a function are not entered: these are for rare numbers.
    """
    known: list[dict[Way, list[Block]]] = [{} for _ in blocks]
    for place in reversed(range(len(blocks))):
        block = blocks[place]
        if any("`($" in each for each in block.code):
            continue
        ahead = [way for each in block.onward if each > place for way in known[each].items()]
        if not any(each > place for each in block.onward):
            ahead = [(Way(0, 0, 0), [])]
        for way, after in ahead:
            total = Way(*map(sum, zip(way, block.does(), strict=True)))
            taken = [block, *after]
            if total not in known[place] or length(taken) < length(known[place][total]):
                known[place][total] = taken
    return known[0]


def length(way: list[Block]) -> int:
    return sum(len(each.code) for each in way)
