"""The cost ledgers that this machine knows of: of all its cameras whose results it reaches."""

from collections.abc import Iterable

import polars as pl

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.cameras.results_store import store_opener
from odins_ravne_assets.cameras.selection import S3
from odins_ravne_assets.instance_home import catalog_folder
from resources.errors import StoreError
from resources.ledger.table import read_ledger
from resources.settings.profile import Profile
from resources.storage.layout import LEDGER_FOLDER


def read_known_ledgers(
    profile: Profile, outputs: Iterable[str] = ()
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The rows of all ledgers; those on S3 with a cloud profile alone.

    Args:
        outputs: of cameras that may not be known yet.

    Returns:
        The rows, and a sentence for each ledger that cannot be read.
    """
    known = {camera.output_url.rstrip("/") for camera in CameraCatalog(catalog_folder()).list()}
    tables, remarks = [read_ledger([])], []
    store_of = store_opener(profile)
    for url in sorted(known | {url.rstrip("/") for url in outputs}):
        if profile.cloud is None and url.startswith(S3):
            continue
        try:
            tables.append(read_ledger([store_of(f"{url}/{LEDGER_FOLDER}")]))
        except StoreError as error:
            remarks.append(f"what was measured there is left out: {error}")
    return pl.concat(tables), tuple(remarks)
