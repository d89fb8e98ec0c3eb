"""OUTPUT, DAGSTER_HOME and TMPDIR may have any characters: `[`, `]`, `*`, `?`, spaces."""

import struct
from pathlib import Path

from command_line import Munin, processed
from media_files import write_picture, write_video


def test_all_stages_run_in_folders_with_wildcards(tmp_path: Path) -> None:
    """With a clip whose second frame is dated millennia after the first."""
    footage = tmp_path / "card [2]*?" / "ridge"
    write_picture(footage / "a[b]?.jpg", exif={"DateTimeOriginal": "2026:05:01 10:00:00"})
    clip = write_video(footage / "20260501_100500.avi", frames=3)
    data = bytearray(clip.read_bytes())
    struct.pack_into("<II", data, data.index(b"strh") + 28, 2**31 - 1, 1)
    clip.write_bytes(data)
    folder = tmp_path / "site [3]*?"
    munin = Munin(folder, environment={"HOME": str(tmp_path)})
    command = munin("batch", footage, folder / "out", timeout=300)
    assert command.code == 0, command.err
    rows = processed(folder / "out")
    assert {path: status for path, (status, _) in rows.items()} == {
        "20260501_100500.avi": "done",
        "a[b]?.jpg": "done",
    }
    assert (folder / "out" / "stage3" / "report.html").is_file()
    assert munin("status").code == 0
    assert list(munin.temporary.glob("munin-*")) == []
