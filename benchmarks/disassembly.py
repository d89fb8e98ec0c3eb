"""Disassemble a compiled kernel, and find the execution paths of a thread through it."""

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


class PathSignature(NamedTuple):
    """Memory operations on an execution path, which identify the case of a kernel for pictures."""

    loads: int  # of a byte
    chroma: int  # of these, Cb and Cr: 128 is subtracted from each
    stores: int


class BasicBlock(NamedTuple):
    """Instructions without a branch in between, and the blocks that may follow."""

    code: list[str]
    successors: list[int]

    def signature(self) -> PathSignature:
        text = "\n".join(self.code)
        return PathSignature(text.count("LDG.E.U8"), text.count(", -128"), text.count("STG"))


def find_nvdisasm(given: str | None) -> str:
    """Return the program: the given one, or the one in PATH, or the one installed by pip."""
    installed = Path(sysconfig.get_path("purelib"), "nvidia", "cu13", "bin", "nvdisasm")
    found = shutil.which(given) if given else shutil.which("nvdisasm") or shutil.which(installed)
    if found is None:
        missing = f"{given} is not a program" if given else "nvdisasm is not installed"
        sys.exit(f"error: {missing}; pip install {WHEEL}, or name it with --nvdisasm")
    return str(found)


def disassemble(arch: str, program: str) -> dict[str, str]:
    """Return the kernels for pictures as text, by name, for an architecture such as sm_75."""
    with tempfile.TemporaryDirectory() as folder:
        cubin, *_ = compile_cubins(arch, Path(folder))
        command = [program, "--print-code", str(cubin)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sections = re.split(r"^//-+ \.text\.(\w+) -+$", text, flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))


def basic_blocks(text: str) -> list[BasicBlock]:
    """Return a kernel's blocks, in their order in memory, without the functions that it calls."""
    body = re.split(r"^\s+\.type\s+\$", text, flags=re.MULTILINE)[0]
    blocks = [BasicBlock([], [])]
    labels: dict[str, int] = {}
    targets: dict[int, str] = {}
    for line in body.splitlines():
        if label := re.match(r"(\.L_\w+):", line):
            blocks.append(BasicBlock([], []))
            labels[label[1]] = len(blocks) - 1
        elif found := re.search(r"/\*[0-9a-f]{4,}\*/\s+(.+?) ?;", line):
            blocks[-1].code.append(found[1])
            if re.search(r"\b(BRA|EXIT)\b|CALL\S* `\(\.L_", found[1]):  # such a call is a branch
                target = re.search(r"\.L_\w+", found[1])
                targets[len(blocks) - 1] = target[0] if target else ""
                blocks.append(BasicBlock([], []))
    for index, block in enumerate(blocks):
        if index + 1 < len(blocks) and (index not in targets or block.code[-1].startswith("@")):
            block.successors.append(index + 1)
        if targets.get(index) in labels:
            block.successors.append(labels[targets[index]])
    return blocks


def innermost_loop(blocks: list[BasicBlock]) -> range:
    """Return the innermost loop around the loads of bytes, as blocks; empty if there is none."""
    found = range(0)
    for index, block in enumerate(blocks):
        for target in (each for each in block.successors if each < index):
            loop = range(target, index + 1)
            loads = sum(blocks[each].signature().loads for each in loop)
            if loads and (not found or len(loop) < len(found)):
                found = loop
    return found


def shortest_paths(blocks: list[BasicBlock]) -> dict[PathSignature, list[BasicBlock]]:
    """Return the shortest path of each signature, with one iteration of each loop.

    Blocks that call a function are not entered: these are for rare numbers.
    """
    known: list[dict[PathSignature, list[BasicBlock]]] = [{} for _ in blocks]
    for index in reversed(range(len(blocks))):
        block = blocks[index]
        if any("`($" in each for each in block.code):
            continue
        following = [
            path for each in block.successors if each > index for path in known[each].items()
        ]
        if not any(each > index for each in block.successors):
            following = [(PathSignature(0, 0, 0), [])]
        for signature, after in following:
            total = PathSignature(*map(sum, zip(signature, block.signature(), strict=True)))
            path = [block, *after]
            if total not in known[index] or instruction_count(path) < instruction_count(
                known[index][total]
            ):
                known[index][total] = path
    return known[0]


def instruction_count(path: list[BasicBlock]) -> int:
    return sum(len(each.code) for each in path)
