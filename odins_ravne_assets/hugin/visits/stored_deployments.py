"""The deployments of a camera, stored with its tables: for reports on machines without the table.

They have exact coordinates, and are private like all tables.
"""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from resources.errors import StoreError
from resources.settings.deployments import Deployment
from resources.storage.layout import DEPLOYMENTS_JSON
from resources.storage.object_store import ObjectStore
from resources.storage.stored_json import REPORT_REMEDY, read_json_object


def store_deployments(store: ObjectStore, deployments: Sequence[Deployment]) -> None:
    """Write the deployments of a camera, or delete those of an earlier run."""
    if not deployments:
        store.delete(DEPLOYMENTS_JSON)
        return
    rows = [row.model_dump(exclude_defaults=True) for row in deployments]
    content = json.dumps({"deployments": rows}, ensure_ascii=False, indent=2)
    store.write_bytes(DEPLOYMENTS_JSON, content.encode())


def read_deployments(store: ObjectStore) -> tuple[Deployment, ...]:
    """Read the deployments of a camera; none if there are none, or in results of before.

    Keys that a newer version added are ignored.

    Raises:
        StoreError: they are damaged.
    """
    if not store.exists(DEPLOYMENTS_JSON):
        return ()
    rows = read_json_object(store, DEPLOYMENTS_JSON, REPORT_REMEDY, "deployments")["deployments"]
    try:
        return tuple(Deployment.model_validate(_known_keys(row)) for row in rows)
    except (ValidationError, TypeError, AttributeError):
        raise StoreError(
            f"{store.url}/{DEPLOYMENTS_JSON}: is damaged or of another version; {REPORT_REMEDY}"
        ) from None


def _known_keys(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name in Deployment.model_fields}
