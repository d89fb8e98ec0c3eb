"""The code versions that the stored results of an asset were made with."""

from collections.abc import Collection

import dagster as dg
from dagster import DagsterEventType

# Dagster's tag of a materialization.
CODE_VERSION_TAG = "dagster/code_version"
# Events of one query: SQLite limits its parameters.
EVENTS_AT_A_TIME = 500


def latest_code_versions(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Collection[str]
) -> dict[str, str | None]:
    """Return the code version of each partition's newest materialization; None: it has none.

    Dagster's public methods need a query for each partition.
    """
    storage = instance.event_log_storage
    newest = storage.get_latest_storage_id_by_partition(
        asset, DagsterEventType.ASSET_MATERIALIZATION, set(partitions)
    )
    ids = sorted(newest.values())
    versions: dict[str, str | None] = {}
    for start in range(0, len(ids), EVENTS_AT_A_TIME):
        some = dg.AssetRecordsFilter(asset, storage_ids=ids[start : start + EVENTS_AT_A_TIME])
        for record in instance.fetch_materializations(some, limit=EVENTS_AT_A_TIME).records:
            event = record.asset_materialization
            if event is not None and event.partition is not None:
                versions[event.partition] = (event.tags or {}).get(CODE_VERSION_TAG)
    return versions
