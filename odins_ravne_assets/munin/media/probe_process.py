"""The probing process: reads the headers of media files, one after the other.

Run by `probing.Prober` as a child, because the libraries that read headers crash and hang on
damaged files. It is told `probe` (a path) and tells `probe` or `failed`.
"""

import sys
from contextlib import suppress
from pathlib import Path

import av

from odins_ravne_assets.munin.media.child_process import ParentLine, live_and_die_with_parent
from odins_ravne_assets.munin.media.probe import probe_media
from resources.errors import MediaError
from resources.settings.profile import Stage0


def main() -> None:
    live_and_die_with_parent()
    av.logging.set_level(av.logging.FATAL)  # what is wrong with a file is told in its row
    line = ParentLine(int(sys.argv[1]))
    with suppress(EOFError, ConnectionError):
        settings = Stage0.model_validate(line.receive()["settings"])
        for message in line.messages():
            try:
                found = probe_media(Path(message["probe"]), settings)
                line.send({"probe": found.as_message()})
            except (MediaError, OSError, MemoryError) as error:
                line.send({"failed": str(error) or type(error).__name__})


if __name__ == "__main__":
    main()
