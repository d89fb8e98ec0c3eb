"""Media of Stage 1 whose source is not available: their results stay, and new ones wait."""

from collections import Counter
from collections.abc import Container, Iterable

import polars as pl

from odins_ravne_assets.munin.detection.decode_pool import Medium
from odins_ravne_assets.munin.media.source_store import Footage, SourceFootage, is_remote, locate
from odins_ravne_assets.worker.context import StepContext
from resources.errors import StoreError
from resources.storage.layout import PROCESSED_TABLE
from resources.storage.parquet_files import scan_parquet

# Files of a source that are looked for before it counts as not available.
TRIES = 3


def missing_prefixes(
    context: StepContext, media: Iterable[Medium], finished: Container[str]
) -> tuple[str, ...]:
    """Return what the paths of media begin with that cannot be read now; warn of those that wait.

    Args:
        media: the usable media of the step.
        finished: the contents that need not be read.

    Raises:
        StoreError: some of these media have results of other models or settings, which would be
            lost.
    """
    footage = context.footage
    if not isinstance(footage, SourceFootage):
        return ()
    tried: Counter[str] = Counter()
    found: set[str] = set()
    waiting: Counter[str] = Counter()
    prefixes = {footage.prefix(each.source): each.source.name for each in footage.sources}
    if set(prefixes) == {""}:
        return ()  # the files of an only source are reported one by one
    for medium in media:
        if medium.content_hash in finished:
            continue
        prefix = f"{medium.path.partition('/')[0]}/"
        waiting[prefix] += 1
        if prefix not in found and tried[prefix] < TRIES:
            tried[prefix] += 1
            if _is_there(footage, medium):
                found.add(prefix)
    missing = tuple(prefix for prefix in waiting if prefix not in found)
    for prefix in missing:
        name = prefixes.get(prefix, prefix)
        _refuse_to_lose(context, prefix, name, finished)
        context.reporter.warning(
            f"source {name} is not available: {waiting[prefix]} of its media are not analysed yet, "
            "and wait for the next run with it"
        )
    return missing


def _is_there(footage: Footage, medium: Medium) -> bool:
    try:
        store, key = locate(footage, medium.path)
        if is_remote(store):
            return store.exists(key)
        with store.reading(key) as path:
            return medium.is_at(path, is_copy=False)
    except StoreError:
        return False


def _refuse_to_lose(context: StepContext, prefix: str, name: str, finished: Container[str]) -> None:
    if not context.output.exists(PROCESSED_TABLE):
        return
    with context.output.reading(PROCESSED_TABLE) as path:
        done = scan_parquet(path).filter(
            pl.col("path").str.starts_with(prefix), pl.col("status") == "done"
        )
        hashes = done.select("content_hash").collect()["content_hash"]
    lost = sum(each not in finished for each in hashes)
    if lost:
        remedy = "run without --update" if context.update else "remove it with munin sources remove"
        raise StoreError(
            f"source {name} is not available, and {lost} of its media were analysed with other "
            f"models or settings: make it available, to analyse them again, or {remedy}"
        )
