"""Download a file over HTTP into a partial file, which the next attempt continues.

A partial file has a note beside it: the address, and the ETag and length that the server gave. It
is continued with a Range request if the server still gives the same, else started anew.
"""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from odins_ravne_assets.model_library.write_errors import write_error
from resources.errors import StoreError, UsageError

# Called with the bytes that are there, and the total if it is known.
OnBytes = Callable[[int, int | None], None]

ATTEMPTS = 6  # without a new byte in between
UNREACHED_ATTEMPTS = 3  # if there is no connection from the beginning
FIRST_PAUSE = 0.5  # seconds; doubled after each attempt without a new byte
TIMEOUTS = (20.0, 60.0)  # seconds to connect, and between two reads
CHUNK = 256 * 1024
MAX_REDIRECTS = 10
MAX_DOCUMENT = 16 * 1024 * 1024  # bytes of a record
OWN_MACHINE = {"localhost", "127.0.0.1", "::1"}
# Failures that the next attempt would meet again.
LASTING = (
    requests.TooManyRedirects,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
)
# Failures of the server that may pass: https://httpwg.org/specs/rfc9110.html#status.codes
PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class PartialNote:
    """What the server said about a file that is partly there."""

    url: str
    etag: str | None
    length: int | None


class _PassingError(Exception):
    """A failure that a further attempt may overcome."""


class _UnreachableError(_PassingError):
    """There is no connection to the server."""


def download(
    url: str,
    partial: Path,
    max_bytes: int,
    on_bytes: OnBytes,
    elsewhere: str = "pass the file with --from FILE",
    log: Callable[[str], None] = lambda line: None,
) -> None:
    """Download a file into `partial`, continuing what an earlier attempt left there.

    Args:
        partial: complete when this returns; kept when it raises StoreError for a passing reason.
        max_bytes: a larger file is refused.
        elsewhere: what to do if there is no connection.
        log: takes a line before the first of further attempts.

    Raises:
        UsageError: the address is not allowed.
        StoreError: the server does not give the file, or it cannot be written.
    """
    failures, pause, reached = 0, FIRST_PAUSE, False
    # The most bytes that there were: fetching bytes again, after a new start, is no progress.
    most = _size(partial) if _is_of(url, partial) else 0
    with requests.Session() as session:
        while True:
            try:
                _continue(session, url, partial, max_bytes, on_bytes)
                return
            except LASTING as error:
                raise StoreError(f"{url}: download failed: {_reason(error)}") from None
            except (_PassingError, requests.RequestException) as error:
                if _size(partial) > most:
                    most = _size(partial)
                    failures, pause, reached = 0, FIRST_PAUSE, True
                failures += 1
                lost = reached or not isinstance(error, _UnreachableError)
                if failures >= (ATTEMPTS if lost else min(ATTEMPTS, UNREACHED_ATTEMPTS)):
                    raise _failed(url, error, _size(partial), elsewhere) from None
                if failures == 1:
                    log(f"{_reason(error)}; trying again")
                time.sleep(pause)
                pause *= 2
            except OSError as error:
                raise write_error(partial.parent, error) from None


def _failed(url: str, error: Exception, have: int, elsewhere: str) -> StoreError:
    again = f"run the same command again to continue after {have / 1e6:.1f} MB"
    if not isinstance(error, _UnreachableError):
        return StoreError(f"{url}: download failed: {_reason(error)}; {again}")
    return StoreError(f"{_reason(error)}; {again if have else elsewhere}")


def fetch_json(url: str, elsewhere: str = "try again later") -> Any:
    """Fetch a JSON document.

    Args:
        elsewhere: what to do if there is no connection.

    Raises:
        UsageError: the address is not allowed.
        StoreError: the server does not give it.
    """
    check_address(url)
    try:
        with requests.Session() as session, _get(session, url, {}) as response:
            if response.status_code != requests.codes.ok:
                raise StoreError(f"{url}: HTTP {response.status_code} {response.reason}")
            text = response.raw.read(MAX_DOCUMENT + 1, decode_content=True)
    except _UnreachableError as error:
        raise StoreError(f"{_reason(error)}; {elsewhere}") from None
    except (requests.RequestException, HTTPError) as error:
        raise StoreError(f"{url}: cannot be read: {_reason(error)}") from None
    if len(text) > MAX_DOCUMENT:
        raise StoreError(f"{url}: is larger than {MAX_DOCUMENT // 2**20} MiB")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise StoreError(f"{url}: is not JSON") from None


def discard(partial: Path) -> None:
    """Delete a partial file and its note."""
    partial.unlink(missing_ok=True)
    _note_path(partial).unlink(missing_ok=True)


def check_address(url: str, named_by_user: bool = False) -> None:
    """Check that an address may be read: https; http for this machine, or if the user named it.

    Raises:
        UsageError: it may not, or is not an address.
    """
    try:
        parts = urlsplit(url)
        # Reading a port checks it; a host that has no IDNA form cannot be looked up.
        _ = parts.port, (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise UsageError(f"{url}: is not an address: {error}") from None
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and (parts.hostname in OWN_MACHINE or named_by_user):
        return
    raise UsageError(f"{url}: is refused: models are downloaded from https:// addresses only")


def _continue(
    session: requests.Session, url: str, partial: Path, max_bytes: int, on_bytes: OnBytes
) -> None:
    """Request what is missing of the file, and append it.

    Raises:
        _PassingError, requests.RequestException: the transfer broke.
        StoreError: the server refuses, or the file is too large.
        OSError: it cannot be written.
    """
    if not _is_of(url, partial):
        discard(partial)
    have, note = _size(partial), _read_note(partial)
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and note and note.etag:
        headers["If-Range"] = note.etag
    with _get(session, url, headers) as response:
        if have and response.status_code == requests.codes.requested_range_not_satisfiable:
            if note and note.length == have:
                return  # it was complete
            discard(partial)
            raise _PassingError("the file on the server has changed")
        _check_status(url, response)
        length = _length(response, have)
        new = PartialNote(url, _strong_etag(response), length)
        if have and not _is_continued(response, have, note, new):
            discard(partial)
            if response.status_code == requests.codes.partial_content:
                raise _PassingError("the file on the server has changed")
            have = 0
        if length is not None and length > max_bytes:
            discard(partial)
            raise StoreError(
                f"{url}: has {length / 1e6:.0f} MB, more than the {max_bytes / 1e6:.0f} MB of its "
                "catalogue entry"
            )
        _write_note(partial, new)
        _append(response, partial, have, new, max_bytes, on_bytes)


def _append(
    response: requests.Response,
    partial: Path,
    have: int,
    note: PartialNote,
    max_bytes: int,
    on_bytes: OnBytes,
) -> None:
    with partial.open("ab") as stream:
        on_bytes(have, note.length)
        while chunk := _read(response):
            have += len(chunk)
            if have > max_bytes:
                discard(partial)
                raise StoreError(
                    f"{note.url}: is larger than the {max_bytes / 1e6:.0f} MB of its catalogue "
                    "entry"
                )
            stream.write(chunk)
            on_bytes(have, note.length)
        stream.flush()
        os.fsync(stream.fileno())
    if note.length is not None and have != note.length:
        raise _PassingError(f"the connection ended after {have} of {note.length} bytes")


def _read(response: requests.Response) -> bytes:
    """Return the next bytes, as they arrive: `iter_content` loses those before an interruption."""
    try:
        return bytes(response.raw.read1(CHUNK))
    except HTTPError as error:
        raise _PassingError(_reason(error)) from None


def _get(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """Request an address. Redirects are followed, but from https to https only.

    Raises:
        UsageError: the address is not allowed.
        StoreError: a redirect leads to an address that may not be read.
        _UnreachableError: there is no connection.
        requests.RequestException: the server does not answer as it should.
    """
    secure = urlsplit(url).scheme == "https"
    for _ in range(MAX_REDIRECTS):
        try:
            response = session.get(
                url,
                # Compression would make the ranges those of another file.
                headers={"Accept-Encoding": "identity", **headers},
                stream=True,
                timeout=TIMEOUTS,
                allow_redirects=False,
            )
        except requests.ConnectionError as error:
            raise _UnreachableError(_no_connection(url, error)) from None
        except requests.RequestException:
            raise
        except ValueError as error:  # requests parses the address of a redirect here
            raise requests.exceptions.InvalidURL(
                f"it is not a valid address, or redirects to one that is not: {error}"
            ) from None
        if not response.is_redirect:
            return response
        response.close()
        url = _redirected(url, response.headers["Location"], secure)
    raise requests.TooManyRedirects(f"more than {MAX_REDIRECTS} redirects")


def _redirected(url: str, location: str, secure: bool) -> str:
    """Return the address that a redirect leads to.

    Raises:
        StoreError: it may not be read: the fault is the server's.
    """
    try:
        target = urljoin(url, location)
        check_address(target, named_by_user=not secure)
    except (ValueError, UsageError) as error:
        raise StoreError(f"{url}: redirects to {location[:200]!r}: {error}") from None
    return target


def _check_status(url: str, response: requests.Response) -> None:
    status = response.status_code
    if status in {requests.codes.ok, requests.codes.partial_content}:
        return
    if status in PASSING_STATUS:
        raise _PassingError(f"HTTP {status} {response.reason}")
    raise StoreError(
        f"{url}: HTTP {status} {response.reason}; the file is not there (any more); get it "
        "elsewhere and pass it with --from FILE"
    )


def _is_continued(
    response: requests.Response, have: int, old: PartialNote | None, new: PartialNote
) -> bool:
    """Return True if the response is the rest of the same file."""
    if response.status_code != requests.codes.partial_content or old is None:
        return False
    starts = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    return starts and old.length == new.length and old.etag == new.etag


def _length(response: requests.Response, have: int) -> int | None:
    """Return the length of the whole file, if the server says it."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    if response.status_code == requests.codes.partial_content:
        return _number(total)
    return _number(response.headers.get("Content-Length", ""))


def _number(text: str) -> int | None:
    """Return a number of bytes; None for what is none, as the `*` of an unknown length."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _strong_etag(response: requests.Response) -> str | None:
    """Return the ETag, unless it is weak: a weak one does not say that the bytes are the same.

    Nor one that cannot be sent back: https://httpwg.org/specs/rfc9110.html#field.etag
    """
    etag = response.headers.get("ETag", "")
    return etag if re.fullmatch(r'"[\x21\x23-\x7e\x80-\xff]*"', etag) else None


def _is_of(url: str, partial: Path) -> bool:
    """Return True if a partial file has bytes of this address, as its note says."""
    note = _read_note(partial)
    return note is not None and note.url == url and _size(partial) > 0


def _note_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _read_note(partial: Path) -> PartialNote | None:
    try:
        return PartialNote(**json.loads(_note_path(partial).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _write_note(partial: Path, note: PartialNote) -> None:
    _note_path(partial).write_text(json.dumps(asdict(note)), encoding="utf-8")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _no_connection(url: str, error: requests.ConnectionError) -> str:
    """Return that a host cannot be reached, and why as far as the user can change it."""
    unreachable = f"{urlsplit(url).hostname} cannot be reached"
    if isinstance(error, requests.exceptions.ProxyError):
        return f"{unreachable} through the proxy of HTTPS_PROXY or HTTP_PROXY"
    if isinstance(error, requests.exceptions.SSLError):
        return (
            f"{unreachable}: its certificate is not valid here (REQUESTS_CA_BUNDLE names the "
            "certificates of an institute's proxy)"
        )
    return unreachable


def _reason(error: Exception) -> str:
    """Return the reason of a failure, in one line."""
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    if isinstance(error, HTTPError | requests.ConnectionError):
        return "the connection broke"
    return str(error).replace("\n", " ") or type(error).__name__
