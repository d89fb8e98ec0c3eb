"""Visit the folders below `uploads.url`: list those that have changed, with one stat per file.

A folder's dates change when a file is added, renamed or deleted. Its files may change without them:
a copy in progress, a file that is written in place. And some file systems update them late, in
steps of two seconds (FAT), or not at all. So a folder is listed in each round until neither its
dates nor its content have changed for `quiet_minutes`, then every `listing_hours`. Where files have
changed and the dates have not, the dates are no longer relied on, and all folders are listed.

A round visits each folder once, in as many scans as it takes.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from odins_ravne_assets.arrivals.folder_index import (
    FolderContent,
    FolderIndex,
    ListedFolder,
    RoundProgress,
)
from odins_ravne_assets.arrivals.routing import CameraMedium, QuarantinedUpload, camera_of_key
from odins_ravne_assets.munin.media.media_files import is_hidden, looks_like_medium, path_in_table
from odins_ravne_assets.munin.media.raw_pairs import Stretch, without_raw_copies
from resources.settings.profile import Uploads
from resources.storage.local_store import named_entries
from resources.storage.object_store import is_internal_file, modified_ns

HOUR_SECONDS, MINUTE_SECONDS = 3600.0, 60.0
# FAT stores dates in steps of two seconds, and network file systems cache them for some: dates that
# are younger than this prove nothing.
DATES_SETTLE_SECONDS = 10.0
SUM_BITS = 64


@dataclass
class FolderWalk:
    """One scan's part of a round; see the module.

    Args:
        known: the folders of the index, by path; changed by the walk.
        now: seconds since 1970 UTC.
        enough: returns True when time is up. One folder, or the files of one name, are read in any
            case.
        listed: the paths of the folders whose listing this scan has completed.
        remarks: what an operator should know.
    """

    root: Path
    uploads: Uploads
    index: FolderIndex
    progress: RoundProgress
    known: dict[str, ListedFolder]
    now: float
    enough: Callable[[], bool]
    listed: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    _reached: set[str] = field(default_factory=set)
    _identities: set[str] = field(default_factory=set)
    _visited: int = 0

    def run(self) -> bool:
        """Continue the round; return True if it is complete.

        Raises:
            OSError: the uploads' folder itself cannot be read.
        """
        self.root.stat()
        folders = [("", "")]
        while folders:
            key, path = folders.pop()
            if self._is_visited(key):  # a folder that is new since then waits for the next round
                known = self.known.get(path)
                is_new = known is not None and self._add_identity(known.identity)
            elif self._visited and self.enough():
                return False
            else:
                is_new = self._visit(key, path)
                if self.progress.partial is not None:
                    return False
            if is_new:
                self._reached.add(path)
                folders += reversed(list(self._folders_in(key, path)))
        gone = self.known.keys() - self._reached
        self.index.delete_folders(gone)
        for path in gone:
            del self.known[path]
        return True

    def _is_visited(self, key: str) -> bool:
        after = self.progress.after
        return after is not None and _order(key) <= _order(after)

    def _folders_in(self, key: str, path: str) -> Iterator[tuple[str, str]]:
        for name, on_disk in self.known[path].content.children.items():
            yield _below(key, name), _below(path, on_disk)

    def _add_identity(self, identity: str) -> bool:
        """Return False if the folder was reached under another name: by a link."""
        is_new = identity not in self._identities
        self._identities.add(identity)
        return is_new

    def _visit(self, key: str, path: str) -> bool:
        """Visit a folder; return False if it is gone, or was visited under another name."""
        self._visited += 1
        try:
            found = (self.root / path).stat()
        except OSError:
            self._finish(key)
            return False  # deleted meanwhile
        if not self._add_identity(identity := f"{found.st_dev}:{found.st_ino}"):
            self._finish(key)
            return False
        dates, known = _dates(found), self.known.get(path)
        if known is None or known.identity != identity or not self._is_current(known, dates):
            self._list(key, path, identity, dates)
        if self.progress.partial is None:
            self._finish(key)
        return path in self.known

    def _finish(self, key: str) -> None:
        if not self._is_visited(key):
            self.progress.after = key

    def _is_current(self, known: ListedFolder, dates: str) -> bool:
        """Return True if the dates of a folder show that its content is as it was listed."""
        quiet = max(self.uploads.quiet_minutes * MINUTE_SECONDS, DATES_SETTLE_SECONDS)
        return (
            known.dates == dates
            and not self.progress.dates_unreliable
            and known.listed_at >= max(known.changed_at, known.dates_since) + quiet
            # Below 0: the time was set back.
            and 0 <= self.now - known.listed_at < self.uploads.listing_hours * HOUR_SECONDS
        )

    def _list(self, key: str, path: str, identity: str, dates: str) -> None:
        """List a folder, or continue its listing; store it if that is complete."""
        progress = self.progress
        if progress.partial is None or progress.partial_path != path:
            progress.partial, progress.partial_path, progress.after_name = None, path, ""
            progress.dates, progress.listed_at = dates, self.now
        content = progress.partial or FolderContent()
        try:
            is_complete = self._read_entries(key, path, content)
            after = _dates((self.root / path).stat())
        except FileNotFoundError:  # deleted meanwhile
            progress.partial = None
            return
        except OSError as error:
            is_complete, after = True, ""
            # With a slash at its end: the folder of a camera that is refused has none.
            folder = f"{path_in_table(key)}/" if key else "."
            content = FolderContent(
                refused={folder: f"cannot be listed: {error.strerror or error}"}
            )
        if not is_complete:
            progress.partial = content
            return
        # Dates of before the listing: a file that arrived during it is found by the next one.
        dates = progress.dates if after == progress.dates else ""
        self._store(path, ListedFolder(key, identity, dates, 0, 0, progress.listed_at, content))
        progress.partial, progress.after_name = None, ""

    def _store(self, path: str, folder: ListedFolder) -> None:
        before, content = self.known.get(path), folder.content
        is_same = before is not None and before.dates == folder.dates != ""
        if before is not None and is_same and content.names != before.content.names:
            self._doubt_dates(before)
        began = folder.listed_at
        folder.dates_since = min(before.dates_since, began) if before and is_same else began
        is_unchanged = before is not None and (
            (content.sums, content.names) == (before.content.sums, before.content.names)
        )
        folder.changed_at = min(before.changed_at, began) if before and is_unchanged else began
        self.index.put_folder(path, folder)
        self.known[path] = folder
        content.media = {}
        self.listed.append(path)

    def _doubt_dates(self, before: ListedFolder) -> None:
        """Rely on no dates of folders, if a folder's files have changed and its dates have not."""
        if self.progress.dates_unreliable:
            return
        if before.listed_at >= before.dates_since + DATES_SETTLE_SECONDS:
            self.progress.dates_unreliable = True
            self.remarks.append(
                f"{self.root}: the dates of its folders do not change with their files, so that "
                "every scan lists all folders; see docs/new-footage.md"
            )

    def _read_entries(self, key: str, path: str, content: FolderContent) -> bool:
        """Add a folder's entries to its content; return False if time is up."""
        named = Stretch(
            _media_entries(self.root / path, self.progress.after_name, content),
            lambda each: each[0],
            self.enough,
        )
        for name, found in without_raw_copies(_files(named), lambda each: each[0]):
            _add_file(content, _below(key, name), found, self.uploads.camera_pattern)
        self.progress.after_name = named.after or self.progress.after_name
        return named.is_complete


def _media_entries(
    folder: Path, after: str, content: FolderContent
) -> "Iterator[tuple[str, os.DirEntry[str]]]":
    """Yield the entries with names of media in order, without a stat; add the folders."""
    for name, entry in named_entries(folder):
        if name <= after or is_hidden(name) or is_internal_file(name):
            continue
        try:
            if entry.is_dir():
                if name not in content.children:
                    content.children[name] = entry.name
                    content.names = (content.names + _number(name)) % 2**SUM_BITS
                continue
        except OSError:
            continue  # a link to nothing, or deleted meanwhile
        if looks_like_medium(name):
            yield name, entry


def _files(
    entries: "Iterable[tuple[str, os.DirEntry[str]]]",
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files among the entries, with one stat each."""
    for name, entry in entries:
        try:
            found = entry.stat()
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode):
            yield name, found


def _add_file(content: FolderContent, on_disk: str, found: os.stat_result, pattern: str) -> None:
    # As the table has it: invalid UTF-8 in a name would be new in every scan.
    key = path_in_table(on_disk)
    content.names = (content.names + _number(key)) % 2**SUM_BITS
    owner = camera_of_key(key, pattern)
    if isinstance(owner, QuarantinedUpload):
        content.refused[owner.path] = owner.reason
    elif isinstance(owner, CameraMedium):
        medium = (key, found.st_size, modified_ns(found))
        content.cameras.setdefault(owner.footage, owner.camera_id)
        # The time of the last change too: a copy in progress may preserve size and date.
        number = _number(medium, found.st_ctime_ns)
        content.sums[owner.footage] = (content.sums.get(owner.footage, 0) + number) % 2**SUM_BITS
        below = key[len(owner.footage) + 1 :] if owner.footage else key
        content.media.setdefault(owner.footage, []).append((below, *medium[1:]))


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest())


def _dates(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns}:{found.st_ctime_ns}"


def _order(key: str) -> list[str]:
    return key.split("/") if key else []


def _below(key: str, name: str) -> str:
    return f"{key}/{name}" if key else name
