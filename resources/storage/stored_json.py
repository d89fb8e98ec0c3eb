"""Read JSON objects of a store; a damaged one is named."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from resources.errors import StoreError
from resources.storage.object_store import ObjectStore

# For stage3/report.json.
REPORT_REMEDY = "run munin stage3 to write it again"


@contextmanager
def reading_json_object(store: ObjectStore, key: str, rebuild: str) -> Iterator[dict[str, Any]]:
    """Open a stored JSON object for code that reads its values.

    Args:
        rebuild: as in `read_json_object`.

    Raises:
        StoreError: it is missing or damaged, or that code finds a value missing or of another kind.
    """
    content = read_json_object(store, key, rebuild)
    try:
        yield content
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{store.url}/{key}: is damaged or of another version ({error!r}); {rebuild}"
        ) from None


def read_json_object(store: ObjectStore, key: str, rebuild: str, *names: str) -> dict[str, Any]:
    """Return a stored JSON object.

    Args:
        rebuild: what makes the object again, for the message.
        names: the keys that it must have.

    Raises:
        StoreError: it is missing, damaged, or lacks a key.
    """
    data = store.read_bytes(key)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{store.url}/{key}: is damaged ({error}); {rebuild}") from None
    if not isinstance(found, dict) or any(name not in found for name in names):
        raise StoreError(f"{store.url}/{key}: is damaged or of another version; {rebuild}")
    return found
