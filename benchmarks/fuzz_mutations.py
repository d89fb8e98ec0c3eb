"""Mutated media for `fuzz_media.py`: every file is made from a seed."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import av
import cv2
from PIL import Image
from synthetic_media import synthetic_still

# No output may hold the first as HTML, or the second on a terminal or in a table.
MARKUP = "<script>munin-fuzz</script>"
ESCAPE = "\x1b]0;munin-fuzz\x07"

# Name ending, container and codec of FFmpeg.
CONTAINERS = (
    (".mp4", "mp4", "libx264"),
    (".mov", "mov", "mpeg4"),
    (".avi", "avi", "mjpeg"),
    (".mkv", "matroska", "libx264"),
    (".mpg", "mpeg", "mpeg2video"),
    (".mts", "mpegts", "mpeg2video"),
    (".asf", "asf", "wmv2"),
)
PICTURES = ((".jpg", "JPEG"), (".png", "PNG"), (".tif", "TIFF"), (".webp", "WEBP"))
ODD_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def write_good(folder: Path, number: int) -> Path:
    """Write an undamaged still, every tenth time a clip."""
    folder.mkdir(parents=True, exist_ok=True)
    if number % 10 == 9:
        path = folder / f"20260501_{number:06d}.mp4"
        path.write_bytes(clip(number, "mp4", "libx264"))
    else:
        path = folder / f"good{number}.jpg"
        path.write_bytes(picture(number, "JPEG"))
    return path


def picture(seed: int, kind: str, text: str | None = None) -> bytes:
    """Return a picture of a lawn, with EXIF that holds `text` where cameras write names."""
    still = cv2.cvtColor(synthetic_still(240, 320, seed), cv2.COLOR_BGR2RGB)
    exif = Image.Exif()
    exif[0x0132] = f"2026:05:01 10:{seed // 60 % 60:02d}:{seed % 60:02d}"
    if text:
        for tag in (0x010F, 0x0110, 0x010E, 0x013B):
            exif[tag] = text
    data = io.BytesIO()
    Image.fromarray(still).save(data, kind, exif=exif)
    return data.getvalue()


def clip(seed: int, container: str, codec: str, text: str | None = None) -> bytes:
    """Return a clip of 3 s."""
    data = io.BytesIO()
    with av.open(data, "w", format=container) as output:
        if text:
            output.metadata.update({"title": text, "comment": text, "make": text})
        stream = output.add_stream(codec, rate=10)
        stream.width, stream.height = 160, 120
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(30):
            still = synthetic_still(120, 160, seed + number // 10)
            frame = av.VideoFrame.from_ndarray(still, format="bgr24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return data.getvalue()


def any_medium(random: Random, text: str | None = None) -> tuple[str, bytes]:
    """Return the name ending and the content of an undamaged medium of a random kind."""
    seed = random.randrange(10**6)
    if random.random() < 0.5:
        ending, kind = random.choice(PICTURES)
        return ending, picture(seed, kind, text)
    ending, container, codec = random.choice(CONTAINERS)
    return ending, clip(seed, container, codec, text)


def flipped(random: Random, folder: Path, name: str) -> Path:
    """Flip bits, everywhere or in the header."""
    ending, content = any_medium(random)
    data = bytearray(content)
    end = min(len(data), random.choice((64, 512, len(data))))
    for _ in range(random.choice((1, 5, 40, 400))):
        data[random.randrange(end)] ^= 1 << random.randrange(8)
    return _write(folder / f"{name}{ending}", bytes(data))


def truncated(random: Random, folder: Path, name: str) -> Path:
    ending, content = any_medium(random)
    return _write(folder / f"{name}{ending}", content[: random.randrange(len(content))])


def odd_numbers(random: Random, folder: Path, name: str) -> Path:
    """Overwrite numbers of the header with extremes."""
    ending, content = any_medium(random)
    data = bytearray(content)
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(min(len(data) - 4, 2048))
        order = random.choice("<>")
        struct.pack_into(f"{order}I", data, at, random.choice(ODD_NUMBERS))
    return _write(folder / f"{name}{ending}", bytes(data))


def spliced(random: Random, folder: Path, name: str) -> Path:
    """A polyglot: the beginning of one medium and the rest of another."""
    ending, content = any_medium(random)
    _, other = any_medium(random)
    cut = random.randrange(min(len(content), 4096))
    return _write(folder / f"{name}{ending}", content[:cut] + other)


def repeated(random: Random, folder: Path, name: str) -> Path:
    """Repeat a piece, as a failing card does."""
    ending, content = any_medium(random)
    at, size = random.randrange(len(content)), random.randrange(1, 5000)
    piece = content[at : at + size] * random.choice((2, 100))
    return _write(folder / f"{name}{ending}", content[:at] + piece + content[at:])


def misnamed(random: Random, folder: Path, name: str) -> Path:
    _, content = any_medium(random)
    return _write(folder / f"{name}{random.choice((*PICTURES, *CONTAINERS))[0]}", content)


def foreign(random: Random, folder: Path, name: str) -> Path:
    """Something else under the name of a medium: text, playlists, archives, nothing, noise."""
    contents = (
        b"",
        bytes(3000),
        b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"PK\x03\x04" + bytes(100),
        MARKUP.encode() * 20,
        random.randbytes(5000),
        b"GIF89a" + random.randbytes(200),
    )
    ending = random.choice((*PICTURES, *CONTAINERS))[0]
    return _write(folder / f"{name}{ending}", random.choice(contents))


def bomb(random: Random, folder: Path, name: str) -> Path:
    """A header with a huge size, or a file with a sparse tail."""
    if random.random() < 0.4:
        path = _write(folder / f"{name}.jpg", picture(random.randrange(99), "JPEG"))
        os.truncate(path, random.choice((2**28, 2**31, 2**40)))
        return path
    side = random.choice((10_000, 14_000, 60_000, 2**31 - 1))
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(bytes(10**6))
    chunks = (struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one))
              for one in (header, pixels, b"IEND"))  # fmt: skip
    return _write(folder / f"{name}.png", b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def exif_bomb(random: Random, folder: Path, name: str) -> Path:
    """Many tags that point to the same megabytes."""
    size, tags = random.choice((10_000, 10**6, 2 * 10**7)), random.choice((8, 900, 60_000))
    entries = b"".join(
        struct.pack("<HHII", tag, 5, size // 8, 8) for tag in range(0x100, 0x100 + tags)
    )
    block = (b"II*\0\x08\0\0\0" + struct.pack("<H", tags) + entries + bytes(4)).ljust(size, b"\1")
    segments = (b"Exif\0\0" + block[at : at + 65_000] for at in range(0, len(block), 65_000))
    headers = b"".join(b"\xff\xe1" + struct.pack(">H", len(one) + 2) + one for one in segments)
    content = picture(random.randrange(10**6), "JPEG")
    return _write(folder / f"{name}.jpg", content[:2] + headers + content[2:])


def far_frames(random: Random, folder: Path, name: str) -> Path:
    """An AVI whose frames have an extreme distance."""
    content = bytearray(clip(random.randrange(10**6), "avi", "mjpeg"))
    at = content.index(b"strh") + 8 + 20
    struct.pack_into("<II", content, at, random.choice(ODD_NUMBERS), random.choice(ODD_NUMBERS))
    return _write(folder / f"{name}.avi", bytes(content))


def injected(random: Random, folder: Path, name: str) -> Path:
    """Markup and control characters in the name and in the metadata."""
    text = random.choice((MARKUP, ESCAPE))
    ending, content = any_medium(random, text)
    return _write(folder / f"{name}{text.replace('/', '')}{ending}", content)


def odd_entry(random: Random, folder: Path, name: str) -> Path:
    """A pipe, or a link to nowhere, to itself, to a device, into git-annex."""
    path = folder / f"{name}{random.choice(('.jpg', '.mp4'))}"
    path.parent.mkdir(parents=True, exist_ok=True)
    target = random.choice(
        (None, "nowhere.jpg", path.name, "/dev/zero", ".git/annex/objects/ab/one.jpg")
    )
    if target is None:
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    return path


def odd_date(random: Random, folder: Path, name: str) -> Path:
    ending, content = any_medium(random)
    path = _write(folder / f"{name}{ending}", content)
    seconds = random.choice((-(2**31), 0, 2**31, 2**33, 2**34 - 1))
    os.utime(path, (seconds, seconds))
    return path


def deep(random: Random, folder: Path, name: str) -> Path:
    """A medium below many folders, with odd names."""
    ending, content = any_medium(random)
    for _ in range(random.choice((5, 200))):
        folder /= random.choice(("d", "å", "[x]", "a*b?", "-"))
    return _write(folder / f"{name}{ending}", content)


MUTATIONS: tuple[Callable[[Random, Path, str], Path], ...] = (
    flipped,
    flipped,
    flipped,
    truncated,
    odd_numbers,
    odd_numbers,
    spliced,
    repeated,
    misnamed,
    foreign,
    bomb,
    exif_bomb,
    far_frames,
    injected,
    odd_entry,
    odd_date,
    deep,
)


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
