"""Pagination of responses, as in AWS's APIs."""

from typing import Any


def page(
    request: dict[str, Any], key: str, entries: list[Any], page_size: int = 100
) -> dict[str, Any]:
    """Return a page of entries under `key`, with the token of the next page.

    Args:
        request: with maxResults and nextToken.
        page_size: maximum of entries, if maxResults is not smaller.
    """
    start = int(request.get("nextToken") or 0)
    size = min(request.get("maxResults") or page_size, page_size)
    content: dict[str, Any] = {key: entries[start : start + size]}
    if start + size < len(entries):
        content["nextToken"] = str(start + size)
    return content
