"""A file server for downloads of models: ranges, ETags, interruptions; and packages to serve."""

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from gpu_kernels.models.catalogue.entry import CatalogueEntry

SIDE = 64
UNIT = [0.00392156862745098] * 3


@dataclass
class ServedFile:
    """A file of the server.

    Attributes:
        break_after: bytes after which the connection ends, once for each number.
        status: an HTTP status to answer with, once for each number.
        location: the address of a redirect.
        says_its_length: False to end the content with the connection.
        rest: status and headers of every answer to a Range, without content.
    """

    content: bytes
    etag: str | None = '"1"'
    ranges: bool = True
    break_after: list[int] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    location: str = ""
    says_its_length: bool = True
    rest: tuple[int, dict[str, str]] | None = None


@dataclass
class ModelServer:
    """A running server: its files by path, and the requests that it got."""

    url: str
    files: dict[str, ServedFile] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range

    def serve(self, path: str, content: bytes, **options: Any) -> str:
        """Serve a file, and return its address."""
        self.files[path] = ServedFile(content, **options)
        return f"{self.url}{path}"

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of each request."""
        return [each[1] for each in self.requests]


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """Run a server on this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.requests.append((self.path, self.headers.get("Range")))
            file = server.files.get(self.path)
            self.close_connection = True
            if file is None:
                return self._answer(404, {}, b"")
            if file.status:
                return self._answer(file.status.pop(0), {}, b"")
            if file.location:
                return self._answer(302, {"Location": file.location}, b"")
            self._send_file(file)
            return None

        def _send_file(self, file: ServedFile) -> None:
            start, size = 0, len(file.content)
            headers = {"ETag": file.etag} if file.etag else {}
            wanted = self.headers.get("Range")
            if wanted and file.rest:
                return self._answer(*file.rest, b"")
            condition = self.headers.get("If-Range")
            if wanted and file.ranges and condition in {None, file.etag}:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= size:
                    return self._answer(416, {"Content-Range": f"bytes */{size}"}, b"")
                headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            body = file.content[start:]
            sent = body[: file.break_after.pop(0)] if file.break_after else body
            length = len(body) if file.says_its_length else -1
            self._answer(206 if start else 200, headers, sent, length)
            return None

        def _answer(
            self, status: int, headers: Mapping[str, str], body: bytes, length: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if length != -1:
                self.send_header("Content-Length", str(len(body) if length is None else length))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = ModelServer(f"http://127.0.0.1:{listener.server_port}")
    thread = Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def end2end_network(rows: int = 3) -> bytes:
    """Return a detector [1, 3, 64, 64] -> [1, rows, 6] that finds one animal in every picture."""
    found = np.zeros((1, rows, 6), np.float32)
    found[0, 0] = (8.0, 8.0, 40.0, 40.0, 0.9, 0.0)
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, rows, 6])
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["found", "nothing"], ["output"]),
    ]
    constants = [
        numpy_helper.from_array(found, "found"),
        numpy_helper.from_array(np.float32(0), "zero"),
    ]
    return _network(nodes, picture, output, constants)


def classifier_network(classes: int, side: int = SIDE) -> bytes:
    """Return a classifier [1, 3, side, side] -> logits [1, classes] that prefers class 0."""
    logits = np.zeros((1, classes), np.float32)
    logits[0, 0] = 6.0
    picture = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes])
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["preferred", "nothing"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(logits, "preferred"),
        numpy_helper.from_array(np.float32(0), "zero"),
    ]
    return _network(nodes, picture, output, constants)


def _network(nodes: list[Any], picture: Any, output: Any, constants: list[Any]) -> bytes:
    graph = helper.make_graph(nodes, "test", [picture], [output], constants)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def zip_of(members: Mapping[str, bytes]) -> bytes:
    """Return a zip archive with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def sparrow_detector(network: bytes, **changes: str) -> dict[str, bytes]:
    """Return the members of a package of the Sparrow zoo.

    Args:
        changes: keys of the package's manifest and their TOML values, in place of ours.
    """
    keys = {
        "method": '"letterbox"',
        "input_size": f"[{SIDE}, {SIDE}]",
        "normalization": '"unit"',
        "post": '"yolo_e2e"',
        "confidence_threshold": "0.2",
        "onnx_sha256": f'"{hashlib.sha256(network).hexdigest()}"',
    } | changes
    manifest = f"""
        [model]
        id = "Zoo"
        format = "onnx"
        file = "1/model.onnx"
        onnx_sha256 = {keys["onnx_sha256"]}
        [preprocessing]
        method = {keys["method"]}
        input_size = {keys["input_size"]}
        layout = "nchw"
        normalization = {keys["normalization"]}
        [inference]
        strategy = "single"
        [postprocessing]
        method = {keys["post"]}
        confidence_threshold = {keys["confidence_threshold"]}
        [labels]
        file = "labels.txt"
        format = "name_index_csv"
    """
    return {
        "Zoo/manifest.toml": manifest.encode(),
        "Zoo/labels.txt": b"animal,0\nperson,1\nvehicle,2\n",
        "Zoo/1/model.onnx": network,
        "Zoo/LICENSE.md": b"MIT",
    }


def detector_entry(url: str, **changes: Any) -> CatalogueEntry:
    """Return a catalogue entry of a detector in a package.

    Args:
        changes: keys of the entry; those of its [download] section begin with `download_`.
    """
    download = {
        key.removeprefix("download_"): value
        for key, value in changes.items()
        if key.startswith("download_")
    }
    tree = {
        "name": "test-detector",
        "task": "detector",
        "finds": "animals",
        "region": "world",
        "licence": "MIT",
        "input": "64 x 64",
        "speed": "fast",
        "description": "A detector of the tests.",
        "limitations": "Finds one animal in every picture.",
        "home": "https://example.org/detector",
        "download": {
            "url": url,
            "max_mb": 8,
            "member": "Zoo/1/model.onnx",
            "package": "sparrow",
        }
        | download,
        "manifest": {
            "input": {
                "height": SIDE,
                "width": SIDE,
                "layout": "nchw",
                "colour": "rgb",
                "multiply": UNIT,
                "add": [0.0, 0.0, 0.0],
                "fit": "letterbox-centre",
                "pad": 114,
            },
            "output": {
                "decoding": "end2end",
                "threshold": 0.2,
                "classes": [
                    {"name": name, "category": name} for name in ("animal", "person", "vehicle")
                ],
            },
        },
        "facts": [{"what": "all", "source": "https://example.org", "date": "2026-11-28"}],
    } | {key: value for key, value in changes.items() if not key.startswith("download_")}
    tree["download"] = {key: value for key, value in tree["download"].items() if value is not None}
    return CatalogueEntry.model_validate(tree)


def sha256_of(content: bytes | Path) -> str:
    """Return the SHA-256 of a content or a file."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha256(data).hexdigest()
