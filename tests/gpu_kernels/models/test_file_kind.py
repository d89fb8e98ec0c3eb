"""What is said of a file that is no ONNX file."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from gpu_kernels.models.file_kind import not_loadable, other_kind
from gpu_kernels.models.manifest import load_manifest, shipped_models


def picture(kind: str) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (8, 8)).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.onnx", b"", "is empty; copy or download it again"),
        ("m.onnx", picture("PNG"), "is a PNG picture; an ONNX file is needed"),
        ("m.onnx", picture("JPEG"), "is a JPEG picture; an ONNX file is needed"),
        ("m.onnx", picture("TIFF"), "is a TIFF picture; an ONNX file is needed"),
        ("m.onnx", b"PK\x03\x04..", "is a zip archive (a PyTorch checkpoint is one, too); "),
        ("m.onnx", b"\x1c\0\0\0TFL3", "is a TensorFlow Lite model; an ONNX file is needed"),
        ("m.onnx", b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        ("m.onnx", b"\n<!DOCTYPE html><html>", "is a web page or XML; an ONNX file is needed"),
        ("m.toml", 'name = "räv"\n'.encode() * 60, "is a TOML file; an ONNX file is needed"),
        ("m.onnx", b"just text\n", "is a text file; an ONNX file is needed"),
        ("m.onnx", bytes(range(128, 256)), "is incomplete or not an ONNX file; copy or download"),
    ],
)
def test_the_kind_of_a_file_is_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert not_loadable(path).startswith(message)


@pytest.mark.parametrize("name", shipped_models())
def test_an_onnx_file_is_none_of_them(name: str) -> None:
    assert other_kind(load_manifest(name).path) is None


def test_fixtures_of_exporters_are_none_of_them() -> None:
    graphs = sorted((Path(__file__).parents[2] / "support" / "exported_models").glob("*.onnx"))
    assert graphs
    assert [other_kind(each) for each in graphs] == [None] * len(graphs)
