"""`download`: ranges, changed files, redirects, addresses."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from model_server import ModelServer, model_server

from odins_ravne_assets.model_library import download as module
from odins_ravne_assets.model_library.download import check_address, download, fetch_json
from resources.errors import StoreError, UsageError

CONTENT = bytes(range(256)) * 1000
LIMIT = len(CONTENT)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    with model_server() as running:
        yield running


def get(url: str, partial: Path) -> list[tuple[int, int | None]]:
    """Download, and return the progress."""
    progress: list[tuple[int, int | None]] = []
    download(url, partial, LIMIT, lambda have, total: progress.append((have, total)))
    return progress


def test_progress_ends_at_the_total(server: ModelServer, tmp_path: Path) -> None:
    progress = get(server.serve("/a", CONTENT), tmp_path / "a.part")
    assert (tmp_path / "a.part").read_bytes() == CONTENT
    assert progress[0] == (0, LIMIT)
    assert progress[-1] == (LIMIT, LIMIT)


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', None])
def test_a_broken_transfer_continues(server: ModelServer, tmp_path: Path, etag: str | None) -> None:
    get(server.serve("/a", CONTENT, etag=etag, break_after=[1000, 10]), tmp_path / "a.part")
    assert (tmp_path / "a.part").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-", "bytes=1010-"]


def test_a_server_without_ranges_starts_anew(server: ModelServer, tmp_path: Path) -> None:
    get(server.serve("/a", CONTENT, ranges=False, break_after=[1000]), tmp_path / "a.part")
    assert (tmp_path / "a.part").read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ['"2"', None])
def test_a_changed_file_starts_anew(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, etag: str | None
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    partial = tmp_path / "a.part"
    url = server.serve("/a", b"old" * 1000, etag='"1"' if etag else None, break_after=[700])
    with pytest.raises(StoreError):
        get(url, partial)
    monkeypatch.undo()
    server.serve("/a", CONTENT, etag=etag)
    get(url, partial)
    assert partial.read_bytes() == CONTENT


def test_the_partial_file_of_another_address_is_not_continued(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    partial = tmp_path / "a.part"
    with pytest.raises(StoreError):
        get(server.serve("/other", b"x" * 1000, break_after=[700]), partial)
    server.requests.clear()
    get(server.serve("/a", CONTENT), partial)
    assert server.ranges == [None]
    assert partial.read_bytes() == CONTENT


def test_a_complete_partial_file_is_not_downloaded_again(
    server: ModelServer, tmp_path: Path
) -> None:
    url = server.serve("/a", CONTENT)
    get(url, tmp_path / "a.part")
    get(url, tmp_path / "a.part")
    assert server.ranges == [None, f"bytes={LIMIT}-"]
    assert (tmp_path / "a.part").read_bytes() == CONTENT


def test_a_passing_failure_of_the_server_is_tried_again(
    server: ModelServer, tmp_path: Path
) -> None:
    get(server.serve("/a", CONTENT, status=[503, 429]), tmp_path / "a.part")
    assert len(server.requests) == 3


def test_a_missing_file_is_not_tried_again(server: ModelServer, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"HTTP 404.*--from FILE"):
        get(f"{server.url}/none", tmp_path / "a.part")
    assert len(server.requests) == 1


def test_a_file_that_grows_beyond_the_limit_is_refused(server: ModelServer, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="catalogue entry"):
        get(server.serve("/a", CONTENT + b"x"), tmp_path / "a.part")


def test_redirects_are_followed_on_this_machine_but_not_to_plain_http_elsewhere(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = server.serve("/b", CONTENT)
    get(server.serve("/a", b"", location=target), tmp_path / "a.part")
    assert (tmp_path / "a.part").read_bytes() == CONTENT
    loop = server.serve("/loop", b"", location="/loop")
    with pytest.raises(StoreError, match="redirects"):
        get(loop, tmp_path / "loop.part")


@pytest.mark.parametrize(
    "rest",
    [
        (416, {}),
        (206, {"Content-Range": f"bytes 5-{LIMIT - 1}/{LIMIT}"}),
        (206, {"Content-Range": f"bytes 100-{LIMIT}/{LIMIT + 1}"}),
        (206, {"Content-Range": "bytes 100-/" + "9" * 5000}),
        (503, {}),
    ],
)
def test_bytes_that_are_fetched_again_and_again_are_no_progress(
    server: ModelServer, tmp_path: Path, rest: tuple[int, dict[str, str]]
) -> None:
    url = server.serve("/a", CONTENT, rest=rest, break_after=[100] * 50)
    with pytest.raises(StoreError, match="download failed"):
        get(url, tmp_path / "a.part")
    assert len(server.requests) <= 2 * module.ATTEMPTS


def test_a_server_that_always_breaks_and_knows_no_ranges_is_given_up(
    server: ModelServer, tmp_path: Path
) -> None:
    url = server.serve("/a", CONTENT, ranges=False, break_after=[100, 50] * 50)
    with pytest.raises(StoreError, match="download failed"):
        get(url, tmp_path / "a.part")
    assert len(server.requests) == module.ATTEMPTS


def test_what_another_address_left_is_no_measure_of_progress(
    server: ModelServer, tmp_path: Path
) -> None:
    (tmp_path / "a.part").write_bytes(b"x" * (LIMIT - 1))
    (tmp_path / "a.part.json").write_text('{"url": "https://other", "etag": null, "length": 9}')
    get(server.serve("/a", CONTENT, break_after=[100] * 8), tmp_path / "a.part")
    assert (tmp_path / "a.part").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "location",
    ["/loop", "http://[bad/x", "https:///nohost", "file:///etc/passwd", "http://127.0.0.1:99999/x",
     "http://" + "a" * 70 + ".org/", "//user@[::1/"],
)  # fmt: skip
def test_a_redirect_that_cannot_be_followed_is_not_tried_again(
    server: ModelServer, tmp_path: Path, location: str
) -> None:
    url = server.serve("/loop", b"", location=location)
    with pytest.raises(StoreError, match="redirect"):
        get(url, tmp_path / "a.part")
    assert len(server.requests) <= module.MAX_REDIRECTS
    with pytest.raises(StoreError, match="redirect"):
        fetch_json(url)


@pytest.mark.parametrize(
    "url",
    ["https://[::1/x", "http://127.0.0.1:99999/x", "https://[bad]/x", "https://a..org/x",
     "https://" + "a" * 70 + ".org/x", "https://x:port/y"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    for named_by_user in (False, True):
        with pytest.raises(UsageError, match="is not an address"):
            check_address(url, named_by_user)
    with pytest.raises(UsageError, match="is not an address"):
        fetch_json(url)


def test_a_record_comes_from_an_allowed_address() -> None:
    with pytest.raises(UsageError, match="https:// addresses only"):
        fetch_json("http://example.org/record")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"9" * 5000, b'{"a"', b"\xff"])
def test_a_record_that_is_no_json_is_an_error(server: ModelServer, content: bytes) -> None:
    with pytest.raises(StoreError, match="is not JSON"):
        fetch_json(server.serve("/record", content))


@pytest.mark.parametrize("says_its_length", [True, False])
def test_a_file_that_is_too_large_leaves_nothing(
    server: ModelServer, tmp_path: Path, says_its_length: bool
) -> None:
    url = server.serve("/a", CONTENT + b"x", says_its_length=says_its_length)
    with pytest.raises(StoreError, match="catalogue entry"):
        get(url, tmp_path / "a.part")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "ftp://example.org/a", "file:///etc/passwd", "https:///a", "a"]
)
def test_other_addresses_than_https_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="https:// addresses only"):
        check_address(url)


def test_an_address_that_the_user_names_may_be_http() -> None:
    check_address("http://fileserver.institute.org/a", named_by_user=True)
    check_address("http://localhost:8000/a")
    with pytest.raises(UsageError):
        check_address("ftp://fileserver.institute.org/a", named_by_user=True)


def test_a_server_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    with model_server() as server:
        url = server.url
    lines: list[str] = []
    instead = "download it elsewhere"
    with pytest.raises(StoreError) as error:
        download(f"{url}/a", tmp_path / "a.part", LIMIT, lambda *_: None, instead, lines.append)
    assert str(error.value) == "127.0.0.1 cannot be reached; download it elsewhere"
    assert lines == ["127.0.0.1 cannot be reached; trying again"]
    with pytest.raises(StoreError, match=r"^127.0.0.1 cannot be reached; download it elsewhere$"):
        fetch_json(f"{url}/a", instead)


def test_a_connection_that_is_lost_is_continued_later(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    url = server.serve("/a", CONTENT, break_after=[1000, 0])
    with pytest.raises(StoreError, match=r"the connection broke; run the same command again"):
        get(url, tmp_path / "a.part")
    with model_server() as other:
        gone = other.url
    (tmp_path / "b.part").write_bytes(b"x" * 500)
    (tmp_path / "b.part.json").write_text(f'{{"url": "{gone}/b", "etag": null, "length": 900}}')
    with pytest.raises(StoreError, match=r"cannot be reached; run the same command again"):
        get(f"{gone}/b", tmp_path / "b.part")


def test_a_proxy_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    with model_server() as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
    with pytest.raises(StoreError, match=r"^zoo.invalid cannot be reached through the proxy"):
        get("https://zoo.invalid/a", tmp_path / "a.part")
