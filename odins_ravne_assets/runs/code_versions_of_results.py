"""The code versions that the stored results of an asset were made with."""

import dagster as dg
from dagster import DagsterEventType

# Dagster's tag of a materialization.
CODE_VERSION_TAG = "dagster/code_version"


def latest_code_versions(instance: dg.DagsterInstance, asset: dg.AssetKey) -> dict[str, str | None]:
    """Return the code version of each partition's newest materialization; None: it has none.

    Two queries for all partitions; Dagster has no public one.
    """
    storage = instance.event_log_storage
    kind = DagsterEventType.ASSET_MATERIALIZATION
    tags = storage.get_latest_tags_by_partition(asset, kind, [CODE_VERSION_TAG])
    return {
        partition: tags.get(partition, {}).get(CODE_VERSION_TAG)
        for partition in storage.get_materialized_partitions(asset)
    }
