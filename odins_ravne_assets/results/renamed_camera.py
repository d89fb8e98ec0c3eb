"""Results of a camera under another id: their place, their tables, and their earlier ids.

Media are identified by their content, and journal keys do not depend on the camera: nothing is
analysed again. The `camera_id` of tables, of ledgers and of plans is replaced. Ids of observations
are hashes of the camera's id, so that they change; tables that reviewers filled before still fit,
since `tables/earlier_ids.json` lists the ids by which their rows are found. Corrections hold no id.
"""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl

from odins_ravne_assets.cameras.results_store import OpenStore
from odins_ravne_assets.munin.media.media_table import CHUNK_ROWS
from odins_ravne_assets.munin.media.sources import load_sources, save_sources
from odins_ravne_assets.munin.tables.parquet_io import writing_table
from resources.errors import StoreError, UsageError
from resources.storage import layout
from resources.storage.local_store import local_path
from resources.storage.object_store import S3_SCHEME, ObjectStore
from resources.storage.parquet_files import scan_parquet
from resources.storage.stored_json import read_json_object

# Arrow's own description of the schema, which is written anew.
ARROW_SCHEMA = "ARROW:schema"
FOLDERS = (layout.TABLES_FOLDER, layout.LEDGER_FOLDER, layout.STAGE3_FOLDER)
EARLIER_IDS = "earlier_ids"
REMEDY = "delete it; tables that were filled before the camera was renamed no longer fit then"


def renamed_place(output_url: str, old: str, new: str) -> str:
    """Return the URL of the results after a rename: a local folder of the old id gets the new one.

    On S3 they stay, since each object would be copied.

    Raises:
        UsageError: the folder of the new id is in use.
    """
    parent, slash, name = output_url.rstrip("/").rpartition("/")
    if output_url.startswith(S3_SCHEME) or name != old:
        return output_url
    target = f"{parent}{slash}{new}"
    if local_path(output_url).exists() and local_path(target).exists():
        raise UsageError(f"{local_path(target)}: exists already; move it, or choose another id")
    return target


def move_results(output_url: str, target_url: str) -> None:
    """Rename the folder of local results, unless that was done before."""
    if output_url == target_url:
        return
    before, after = local_path(output_url), local_path(target_url)
    if before.exists() and not after.exists():
        before.rename(after)


def rename_results(
    results: ObjectStore, old: tuple[str, ...], new: str, on_wait: Callable[[], None]
) -> None:
    """Replace the camera's id in results; called again, it completes what was interrupted.

    Args:
        old: the ids before, the first one first.
        on_wait: called while another run uses the results.

    Raises:
        StoreError: the results cannot be read or written.
    """
    with results.exclusive(on_wait):
        content = json.dumps({EARLIER_IDS: list(old)}).encode()
        results.write_bytes(layout.EARLIER_IDS_JSON, content)
        if listed := load_sources(results):
            save_sources(results, new, listed.sources)
        for folder in FOLDERS:
            for found in list(results.list(folder)):
                if found.key.endswith(".parquet"):
                    _rename_in_table(results, found.key, old, new)
        for found in list(results.list(layout.PLANS_FOLDER)):
            if found.key.endswith(".json"):
                _rename_in_plan(results, found.key, old, new)


def load_earlier_ids(results: ObjectStore) -> tuple[str, ...]:
    """Return the ids of the camera before it was renamed, the first one first.

    Raises:
        StoreError: the list is damaged.
    """
    if not results.exists(layout.EARLIER_IDS_JSON):
        return ()
    tree = read_json_object(results, layout.EARLIER_IDS_JSON, REMEDY, EARLIER_IDS)
    return tuple(map(str, tree[EARLIER_IDS]))


def delete_results(open_store: OpenStore, output_url: str, on_wait: Callable[[], None]) -> int:
    """Delete all objects of results; return their number. Called again, it deletes the rest.

    Raises:
        StoreError: the store refuses.
    """
    results = open_store(output_url)
    with results.exclusive(on_wait):
        keys = [found.key for found in results.list()]
        for key in keys:
            results.delete(key)
    return len(keys)


def _rename_in_table(results: ObjectStore, key: str, old: tuple[str, ...], new: str) -> None:
    """Replace the id in a table. A damaged one stays: whoever reads it names it."""
    with results.reading(key) as path:
        try:
            table = scan_parquet(path)
            if "camera_id" not in table.collect_schema():
                return
            earlier = pl.col("camera_id").is_in(old)
            if not table.select(earlier.any()).collect().item():
                return
            metadata = _own_metadata(path)
        except (StoreError, pl.exceptions.PolarsError, OSError):
            return
        renamed = pl.when(earlier).then(pl.lit(new)).otherwise("camera_id").alias("camera_id")
        with writing_table(results, key) as target:
            table.with_columns(renamed).sink_parquet(
                target, metadata=metadata, row_group_size=CHUNK_ROWS
            )


def _own_metadata(path: Path) -> dict[str, str]:
    return {
        name: value
        for name, value in pl.read_parquet_metadata(path).items()
        if name != ARROW_SCHEMA
    }


def _rename_in_plan(results: ObjectStore, key: str, old: tuple[str, ...], new: str) -> None:
    try:
        plan = json.loads(results.read_bytes(key))
        if plan["camera_id"] not in old:
            return
    except (ValueError, TypeError, KeyError):
        return  # damaged: the cost report names it
    plan["camera_id"] = new
    results.write_bytes(key, json.dumps(plan, indent=1).encode() + b"\n")
