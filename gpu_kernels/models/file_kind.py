"""What a file is, if it is not the ONNX file that it should be: by its first bytes.

An ONNX file is a protobuf message without a signature. Its first field is usually the version of
the format, byte 0x08 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from pathlib import Path

BEGINNING = 512  # bytes that are read
ONNX_BEGIN = 0x08
# Signatures of common formats: https://en.wikipedia.org/wiki/List_of_file_signatures
_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "is a PNG picture"),
    (0, b"\xff\xd8\xff", "is a JPEG picture"),
    (0, b"GIF8", "is a GIF picture"),
    (0, b"II*\0", "is a TIFF picture"),
    (0, b"MM\0*", "is a TIFF picture"),
    (0, b"%PDF-", "is a PDF document"),
    (0, b"PK\x03\x04", "is a zip archive (a PyTorch checkpoint is one, too)"),
    (0, b"\x1f\x8b", "is compressed with gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
    (0, b"Rar!", "is a RAR archive"),
    (257, b"ustar", "is a tar archive"),
    (0, b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras writes"),
    (4, b"TFL3", "is a TensorFlow Lite model"),
    (4, b"ftyp", "is a video"),
    (0, b"\x80\x02", "is a pickle, as PyTorch writes"),
    (0, b"version https://git-lfs", "is a pointer of Git LFS in place of the file"),
)
CONVERT = "an ONNX file is needed"


def other_kind(path: Path) -> str | None:
    """Return what a file is, if it is clearly no ONNX file, and what to do; else None.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        begin = stream.read(BEGINNING)
    if not begin:
        return "is empty; copy or download it again"
    for offset, signature, kind in _SIGNATURES:
        if begin.startswith(signature, offset):
            return f"{kind}; {CONVERT}"
    if begin.lstrip()[:1] == b"<" and _is_text(begin):
        return f"is a web page or XML; {CONVERT}"
    if _is_text(begin):
        kind = "is a TOML file" if path.suffix == ".toml" else "is a text file"
        return f"{kind}; {CONVERT}"
    return None


def not_loadable(path: Path) -> str:
    """Return what is wrong with a file that cannot be parsed as an ONNX file, and what to do."""
    return other_kind(path) or "is incomplete or not an ONNX file; copy or download it again"


def _is_text(data: bytes) -> bool:
    """Return True for printable ASCII or UTF-8; a character may be cut at the end."""
    text = data.decode("utf-8", errors="ignore")
    cut = len(data) - len(text.encode()) > 3
    return not cut and all(each.isprintable() or each in "\t\r\n" for each in text)
