"""The examples of docs/models.md: the transcript, the manifest, the error of `models verify`."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from constant_graphs import boxes, scores, write_graph
from in_process import MuninInProcess
from model_files import DETECTOR
from paths import ROOT

from gpu_kernels.inspection.description import describe
from gpu_kernels.inspection.verification import verify_model
from gpu_kernels.models.catalogue.entry import catalogue
from gpu_kernels.models.manifest import load_manifest
from odins_ravne_assets.demo.footage import read_sample
from odins_ravne_assets.model_library.sparrow_package import (
    DECODINGS,
    SparrowManifest,
)
from resources.errors import ModelError

TEXT = (ROOT / "docs" / "models.md").read_text("utf-8")


def test_the_transcript_of_describe_is_what_the_command_prints(tmp_path: Path) -> None:
    command, *expected = re.search(r"```console\n\$ munin (.*?)```", TEXT, re.S)[1].splitlines()
    munin = MuninInProcess(tmp_path)
    shipped = load_manifest(DETECTOR).path
    (munin.folder / shipped.name).write_bytes(shipped.read_bytes())
    done = munin(*command.split())
    assert done.code == 0, done.err
    assert done.out.replace(str(munin.folder), "/home/me").splitlines() == expected


def test_the_manifest_is_valid(tmp_path: Path) -> None:
    (text,) = (each for each in re.findall(r"```toml\n(.*?)```", TEXT, re.S) if "mine.onnx" in each)
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("…", "0" * 64), "utf-8")
    assert load_manifest(str(path)).output.decoding == "boxes-and-logits"
    assert tomllib.loads(text)["output"]["outputs"] == ["boxes", "cls_logits"]


def test_the_keys_of_a_package_are_those_that_are_read() -> None:
    """Also the layout of the archive: one folder with a manifest, the labels, and the network."""
    table = TEXT.split("Read of `manifest.toml`")[1].split("\n\n")[1]
    rows = [re.findall(r"`([a-z0-9_.]+)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    documented = {
        first.split(".")[0] + "." + key.split(".")[-1]
        for first, *more in rows
        for key in (first, *more)
    }
    sections = SparrowManifest.model_json_schema()["$defs"]
    read = {
        f"{name.strip('_').lower()}.{key}"
        for name in sections
        for key in sections[name]["properties"]
    }
    assert documented == read
    assert all(f"`{each}`" in table for each in DECODINGS)
    members = {each.download.member for each in catalogue().values() if each.download.package}
    assert all(re.fullmatch(r"[^/]+/1/model\.onnx", each or "") for each in members)


def test_the_error_of_verify_is_what_the_command_prints(tmp_path: Path) -> None:
    rows = [boxes(300, 640, True), scores(300, 1), np.ones((1, 300, 1), np.float32)]
    graph = write_graph(
        tmp_path / "mine.onnx", {"output0": np.concatenate(rows, axis=2)}, (1, 3, 640, 640)
    )
    cat = read_sample("cat", (1280, 960))
    text = describe(graph, cat).text
    path = graph.with_suffix(".toml")
    wrong = 'decoding = "yolo-anchor-free"\nnms_iou = 0.5'
    path.write_text(text.replace('decoding = "end2end"', wrong), "utf-8")
    with pytest.raises(ModelError) as caught:
        verify_model(load_manifest(str(path)), cat)
    assert f"error: {caught.value}" in re.sub(r"\s*\n", " ", TEXT)
