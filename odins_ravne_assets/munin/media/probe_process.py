"""The probe process: reads the headers of media files, one after the other.

`probe_client.Prober` runs it as a child process, because the libraries that read headers crash and
hang on damaged files. It receives `probe` (a path) and sends `probe` (the header) or `failed`.
"""

import sys
from contextlib import suppress
from pathlib import Path

from odins_ravne_assets.munin.media.child_process import (
    MemoryLimit,
    Message,
    ParentConnection,
    exit_with_parent,
    failure_reason,
)
from odins_ravne_assets.munin.media.media_files import (
    EXPECTED_FORMATS,
    HEAD_BYTES,
    UNSUPPORTED,
    UNSUPPORTED_NAMES,
    describe_foreign,
    extension_of,
    kind_of_format,
    sniff,
)
from odins_ravne_assets.munin.media.picture_header import read_picture_header
from odins_ravne_assets.munin.media.probe import Probe, join_remarks
from odins_ravne_assets.munin.media.video_header import read_video_header
from resources.errors import MediaError
from resources.settings.profile import Stage0

# Headers of 64 MiB, and one frame of a large video.
MEMORY_BYTES = 2 * 2**30


def probe_media(path: Path, settings: Stage0) -> Probe:
    """Read the header of a local media file.

    The content decides on the format; the name decides only if the content is inconclusive. A name
    that does not match the content is a remark.

    Raises:
        MediaError: the file cannot be used, with the reason.
    """
    head = _read_head(path)
    expected = EXPECTED_FORMATS.get(extension_of(path.name), ())
    found = sniff(head)
    if found == "tiff" and expected == ("raw",):
        found = "raw"  # most raw files are TIFFs in form
    if found is None:
        foreign = describe_foreign(head)
        _, unsupported = UNSUPPORTED.get(extension_of(path.name), (None, None))
        if foreign in UNSUPPORTED_NAMES or (unsupported and not foreign):
            raise MediaError(f"is {foreign or unsupported}, which is not read: convert it")
        if foreign or not expected:
            raise MediaError(f"is {foreign or 'of no known format'}, not a picture or a video")
    media_format = found or expected[0]
    if kind_of_format(media_format) == "image":
        probe = read_picture_header(path, media_format, settings.max_megapixels)
    else:
        probe = read_video_header(path, media_format, settings)
    if media_format in expected or not expected:
        return probe
    mismatch = f"named {extension_of(path.name)}, is {media_format.upper()}"
    return probe.model_copy(update={"remark": join_remarks([mismatch, probe.remark])})


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise MediaError(f"cannot be opened: {error.strerror or error}") from None
    if not head:
        raise MediaError("file is empty")
    return head


def main() -> None:
    exit_with_parent()
    MemoryLimit().allow(MEMORY_BYTES)
    line = ParentConnection(int(sys.argv[1]))
    with suppress(EOFError, ConnectionError):
        settings = Stage0.model_validate(line.receive()["settings"])
        for message in line.messages():
            try:
                found = probe_media(Path(message["probe"]), settings)
                answer: Message = {"probe": found.as_message()}
            except Exception as error:  # noqa: BLE001 (the file fails, whatever a reader raises)
                answer = {"failed": failure_reason(error)}
            line.send(answer)


if __name__ == "__main__":
    main()
