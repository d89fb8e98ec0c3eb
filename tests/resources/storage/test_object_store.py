"""Object stores: keys, atomic writes, locks. Tests of the protocol run on every implementation."""

import os
import socket
import string
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from s3_rig import S3Rig, s3_clients, s3_server  # noqa: F401 (fixtures)

from resources.aws.clients import AwsClients
from resources.clock import ScaledClock
from resources.errors import StoreError, UsageError
from resources.storage.layout import LOCK_FILE, PARTIAL_PREFIX, UPLOAD_MANIFEST
from resources.storage.local_store import LocalStore, local_path
from resources.storage.object_store import EDGE_BYTES, ObjectStore, key_order
from resources.storage.open_store import open_store
from resources.storage.s3.listing import S3Listing
from resources.storage.s3.store import S3Store

MakeStore = Callable[[], ObjectStore]


@pytest.fixture(params=["local", "s3"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """A factory of empty stores of one kind."""
    numbers = count()
    if request.param == "local":
        return lambda: LocalStore(tmp_path / "stores" / str(next(numbers)))
    server: S3Rig = request.getfixturevalue("s3_server")
    clients: AwsClients = request.getfixturevalue("s3_clients")
    bucket = server.bucket(clients)
    clock = ScaledClock(10)  # the lease is polled every few seconds
    return lambda: S3Store(
        f"s3://{bucket}/stores/{next(numbers)}", clients, tmp_path / "staging", clock
    )


@pytest.fixture
def any_store(make_store: MakeStore) -> ObjectStore:
    return make_store()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [stored.key for stored in store.list(prefix)]


@pytest.mark.parametrize("size", [1, EDGE_BYTES, EDGE_BYTES + 5, 2 * EDGE_BYTES + 1, 10**6])
def test_edges_are_read_with_the_object_s_size(any_store: ObjectStore, size: int) -> None:
    data = bytes(number % 251 + 1 for number in range(size))
    any_store.write_bytes("clip.mp4", data)
    with any_store.reading_edges("clip.mp4") as path:
        read = path.read_bytes()
    assert len(read) == size
    assert read[:EDGE_BYTES] == data[:EDGE_BYTES]
    assert read[-EDGE_BYTES:] == data[-EDGE_BYTES:]
    assert not any_store.url.startswith("s3") or path.suffix == ".mp4"


def test_written_objects_are_read_and_listed(any_store: ObjectStore) -> None:
    any_store.write_bytes("b/two", b"22")
    any_store.write_bytes("a", b"1")
    assert any_store.read_bytes("b/two") == b"22"
    assert [(stored.key, stored.size) for stored in any_store.list()] == [("a", 1), ("b/two", 2)]
    assert keys(any_store, "b") == ["b/two"]
    assert any_store.exists("b/two") and not any_store.exists("b")
    any_store.delete("a")
    any_store.delete("a")
    assert not any_store.exists("a")


def test_an_empty_store_lists_nothing(any_store: ObjectStore) -> None:
    assert keys(any_store) == keys(any_store, "folder") == []


def test_files_are_written_atomically(any_store: ObjectStore) -> None:
    with any_store.writing("tables/a.parquet") as path:
        path.write_bytes(b"rows")
        assert path.suffix == ".parquet"
        assert not any_store.exists("tables/a.parquet")
    with any_store.reading("tables/a.parquet") as path:
        assert path.read_bytes() == b"rows"
        assert path.suffix == ".parquet"


def test_an_object_can_be_empty(any_store: ObjectStore) -> None:
    any_store.write_bytes("empty", b"")
    assert any_store.read_bytes("empty") == b""
    with any_store.reading("empty") as path:
        assert path.read_bytes() == b""
    assert [(stored.key, stored.size) for stored in any_store.list()] == [("empty", 0)]


def test_a_write_replaces_the_object_and_its_time(any_store: ObjectStore) -> None:
    any_store.write_bytes("key", b"old")
    any_store.write_bytes("key", b"newer")
    assert any_store.read_bytes("key") == b"newer"
    (stored,) = any_store.list()
    assert stored.size == 5
    assert abs(stored.modified_ns / 1e9 - time.time()) < 600


def test_a_write_that_fails_leaves_the_old_object(any_store: ObjectStore) -> None:
    any_store.write_bytes("key", b"old")
    with pytest.raises(ZeroDivisionError), any_store.writing("key") as path:
        path.write_bytes(b"part of the n")
        _ = 1 / 0
    assert any_store.read_bytes("key") == b"old"
    assert keys(any_store) == ["key"]
    assert not path.exists()


INVALID_KEYS = ["../outside", "/etc/passwd", "a/../../b", "", "a//b", "a/", "a/./b", ".", "a\0b"]


@pytest.mark.parametrize("key", INVALID_KEYS)
def test_keys_outside_the_store_and_aliases_are_refused(any_store: ObjectStore, key: str) -> None:
    for use in (
        lambda: any_store.write_bytes(key, b""),
        lambda: any_store.read_bytes(key),
        lambda: any_store.exists(key),
        lambda: any_store.delete(key),
        lambda: any_store.reading(key).__enter__(),
        lambda: any_store.writing(key).__enter__(),
    ):
        with pytest.raises(StoreError, match="is not a key"):
            use()


@pytest.mark.parametrize(
    "key", ["a b", "50%", "a%2Fb", "#1?x=y&z", "a+b", "é", "e\u0301", "日本/🦊.jpg", "'\"<>|:*\\"]
)
def test_any_file_name_is_a_key(any_store: ObjectStore, key: str) -> None:
    any_store.write_bytes(key, key.encode())
    # A key on S3 is bytes; a file system may store a name in either form.
    is_local = isinstance(any_store, LocalStore)
    assert keys(any_store) == [unicodedata.normalize("NFC", key) if is_local else key]
    assert any_store.read_bytes(key) == key.encode()
    with any_store.reading(key) as path:
        assert path.read_bytes() == key.encode()
    any_store.delete(key)
    assert keys(any_store) == []


def test_the_error_names_the_missing_object(any_store: ObjectStore) -> None:
    with pytest.raises(StoreError, match="nothing-here"):
        any_store.read_bytes("nothing-here")
    with pytest.raises(StoreError, match="nothing-here"), any_store.reading("nothing-here"):
        pass


def test_internal_files_are_not_listed(any_store: ObjectStore) -> None:
    for key in (LOCK_FILE, f"a/{UPLOAD_MANIFEST}", f"a/{PARTIAL_PREFIX}x", "a/b"):
        any_store.write_bytes(key, b"")
    assert keys(any_store) == ["a/b"]


def test_a_second_writer_waits_for_the_first(any_store: ObjectStore) -> None:
    order, waiting = [], threading.Event()

    def second() -> None:
        with any_store.exclusive(waiting.set):
            order.append("second")

    with any_store.exclusive(lambda: None):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(60)
        order.append("first")
        any_store.write_bytes("key", b"1")
    thread.join(60)
    assert order == ["first", "second"]


# The order of S3's bytes differs from that of names where these meet; U+FFFD and the fox, where
# code points differ from UTF-16.
NAMES = st.text(st.sampled_from("ab-./! \ufffd🦊é" + string.digits[:2]), min_size=1, max_size=4)
KEYS = st.lists(NAMES.filter(lambda name: not set(name.split("/")) & {"", ".", ".."}), max_size=14)


def without_folders_named_like_files(found: list[str]) -> list[str]:
    folders = {key[:end] for key in found for end, letter in enumerate(key) if letter == "/"}
    return sorted(set(found) - folders)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(KEYS)
def test_listings_are_sorted_by_name_folder_by_folder(
    make_store: MakeStore, found: list[str]
) -> None:
    store = make_store()
    if isinstance(store, S3Store):
        store.listing = S3Listing(store.location, page=2)
    wanted = without_folders_named_like_files(found)
    for key in wanted:
        store.write_bytes(key, b"")
    assert keys(store) == sorted(wanted, key=key_order)


def test_links_are_followed_and_each_folder_is_listed_once(store: LocalStore) -> None:
    store.write_bytes("real/file", b"1")
    (store.root / "real" / "up").symlink_to(store.root)
    (store.root / "linked").symlink_to(store.root / "real")
    assert [stored.key for stored in store.list()] == ["linked/file"]


def test_folders_that_link_to_each_other_are_listed_once_each(store: LocalStore) -> None:
    names = [f"folder{number}" for number in range(7)]
    for name in names:
        store.write_bytes(f"{name}/file", b"1")
        for other in names:
            (store.root / name / f"to-{other}").symlink_to(store.root / other)
    assert len(list(store.list())) == 7


def test_a_thousand_nested_folders_are_listed(store: LocalStore) -> None:
    folder = store.root
    for _ in range(1100):  # not by mkdir(parents=True), which is recursive
        folder.mkdir()
        folder /= "d"
    folder.mkdir()
    (folder / "é.jpg").write_bytes(b"1")
    (found,) = store.list()
    assert store.read_bytes(found.key) == b"1"
    assert not store.exists(found.key.replace("é", "è"))
    for parent in (folder, *folder.parents[:1100]):  # pytest's own clean-up is recursive
        for path in parent.glob("*.jpg"):
            path.unlink()
        parent.rmdir()


def test_entries_that_are_not_files_are_reported(store: LocalStore, tmp_path: Path) -> None:
    store.root.mkdir(exist_ok=True)
    os.mkfifo(store.root / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(store.root / "socket.jpg"))
    links = {
        "annex.jpg": ".git/annex/objects/X1/SHA256E-s1--1.jpg/SHA256E-s1--1.jpg",
        "missing.jpg": "nowhere.jpg",
        "self.jpg": "self.jpg",
        "device.jpg": "/dev/zero",
    }
    for name, target in links.items():
        (store.root / name).symlink_to(target)
    reported: dict[str, str] = {}
    assert list(store.list("", reported.__setitem__)) == []
    assert reported == {
        "annex.jpg": "is a link of git-annex whose content is not here: run git annex get",
        "device.jpg": "is a device",
        "missing.jpg": "is a link to a file that does not exist",
        "pipe.jpg": "is a named pipe",
        "self.jpg": "is a link that leads to itself",
        "socket.jpg": "is a socket",
    }
    assert list(store.list()) == []  # no errors of the store
    with pytest.raises(StoreError, match="is a named pipe"), store.reading("pipe.jpg"):
        pass


def test_a_date_beyond_the_tables_is_the_last_one(store: LocalStore) -> None:
    store.write_bytes("a", b"1")
    os.utime(store.root / "a", (2**34, 2**34))  # the year 2514
    assert [found.modified_ns for found in store.list()] == [2**63 - 1]


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_either_unicode_form_have_the_same_keys(store: LocalStore, form: str) -> None:
    names = ["Forêt é/zébra.jpg", "Forêt é/zoo.jpg", "Z/a.jpg", "été.jpg"]
    for name in names:
        path = store.root / unicodedata.normalize(form, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert keys(store) == sorted(names, key=key_order)
    assert keys(store, "Forêt é") == [
        name for name in sorted(names, key=key_order) if name.startswith("Forêt")
    ]
    for name in names:
        assert store.exists(name)
        assert store.read_bytes(name).decode() == name
        with store.reading(name) as path, store.reading_edges(nfd(name)) as same:
            assert path.name == unicodedata.normalize(form, path.name)
            assert path.samefile(same)
        store.write_bytes(name, b"again")
    assert len([path for path in store.root.rglob("*") if path.is_file()]) == len(names)
    store.delete(names[0])
    assert keys(store) == sorted(names[1:], key=key_order)


def test_a_name_that_mixes_both_forms_is_found(store: LocalStore) -> None:
    mixed = f"é{nfd('é')}.jpg"
    store.root.mkdir()
    (store.root / mixed).touch()
    assert keys(store) == ["éé.jpg"]
    with store.reading("éé.jpg") as path:
        assert path.name == mixed


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has one file of both names")
def test_two_files_with_the_same_name_in_both_forms_are_not_merged(store: LocalStore) -> None:
    store.root.mkdir()
    for name in ("é.jpg", nfd("é.jpg")):
        (store.root / name).write_text(repr(name))
    assert sorted(keys(store)) == sorted(["é.jpg", nfd("é.jpg")])
    for key in keys(store):
        assert store.read_bytes(key).decode() == repr(key)


def test_a_root_in_another_unicode_form_is_the_same_store(tmp_path: Path) -> None:
    LocalStore(tmp_path / nfd("Forêt") / "é").write_bytes("key", b"1")
    other = LocalStore(tmp_path / "Forêt" / "é")
    assert other.read_bytes("key") == b"1"
    assert [path.name for path in tmp_path.iterdir()] == [nfd("Forêt")]


def test_urls_and_paths_name_the_same_store(tmp_path: Path) -> None:
    folder = tmp_path / "cam é 1"
    assert open_store(folder.as_uri()).url == open_store(str(folder)).url == folder.as_uri()
    assert local_path(folder.as_uri()) == folder


@pytest.mark.parametrize("url", ["http://host/x", "file://other-host/x"])
def test_unknown_schemes_and_other_hosts_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="://"):
        open_store(url)


def test_a_store_on_s3_needs_a_cloud_profile() -> None:
    with pytest.raises(UsageError, match=r"s3://bucket/x: .* use --profile cloud"):
        open_store("s3://bucket/x")


def test_a_local_store_needs_no_boto3(tmp_path: Path) -> None:
    code = (
        "import sys; from resources.storage.open_store import open_store\n"
        "open_store(sys.argv[1]).write_bytes('key', b'')\n"
        "assert not {'boto3', 'botocore'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_an_s3_url_opens_an_s3_store(s3_clients: AwsClients) -> None:  # noqa: F811
    assert open_store("s3://bucket/a b%20c/", s3_clients).url == "s3://bucket/a b%20c"


HOLD = """
import sys, time
from pathlib import Path
from resources.storage.local_store import LocalStore
with LocalStore(Path(sys.argv[1])).exclusive(lambda: print("waiting", flush=True)):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_a_killed_writer_releases_the_lock(store: LocalStore) -> None:
    def hold(seconds: float) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", HOLD, str(store.root), str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )

    with hold(60) as first:
        assert first.stdout and first.stdout.readline() == "held\n"
        with hold(0) as second:
            assert second.stdout and second.stdout.readline() == "waiting\n"
            first.kill()
            assert "held\n" in second.stdout


def test_partial_files_of_a_killed_writer_are_deleted(store: LocalStore) -> None:
    store.write_bytes("tables/a", b"1")
    left = store.root / "tables" / f"{PARTIAL_PREFIX}left"
    left.write_bytes(b"half")
    assert [stored.key for stored in store.list()] == ["tables/a"]
    with store.exclusive(lambda: None):
        assert not left.exists()


def test_partial_files_of_a_nested_store_are_not_deleted(store: LocalStore) -> None:
    below = LocalStore(store.root / "below")
    with below.exclusive(lambda: None), below.writing("key") as path:
        path.write_bytes(b"1")
        with store.exclusive(lambda: None):
            assert path.exists()
    assert below.read_bytes("key") == b"1"


def test_an_exception_in_on_wait_ends_the_wait(store: LocalStore) -> None:
    def give_up() -> None:
        raise TimeoutError

    with (
        store.exclusive(lambda: None),
        pytest.raises(TimeoutError),
        store.exclusive(give_up),
    ):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="mounting a small disk needs Linux")
def test_a_full_disk_is_reported_and_loses_nothing(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    try:
        store = LocalStore(disk)
        store.write_bytes("small", b"saved")
        full = "no space left to write big; free some space and run again"
        with pytest.raises(StoreError, match=full):
            store.write_bytes("big", b"x" * 200_000)
        assert store.read_bytes("small") == b"saved"
        assert not store.exists("big")
    finally:
        subprocess.run(["umount", disk], check=True)
