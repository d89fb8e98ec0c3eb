"""Answers in pages, as AWS gives them."""

from typing import Any


def page(request: dict[str, Any], key: str, entries: list[Any], most: int = 100) -> dict[str, Any]:
    """One page of entries under `key`, and where the next one begins.

    Args:
        request: its maxResults and nextToken.
        most: entries of a page when maxResults does not ask for fewer.
    """
    start = int(request.get("nextToken") or 0)
    size = min(request.get("maxResults") or most, most)
    answer: dict[str, Any] = {key: entries[start : start + size]}
    if start + size < len(entries):
        answer["nextToken"] = str(start + size)
    return answer
