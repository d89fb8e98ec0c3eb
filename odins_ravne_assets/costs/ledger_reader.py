"""The cost ledgers of all cameras in this machine's catalog."""

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
    """Read the rows of all known ledgers; those on S3 only with a cloud profile.

    Args:
        outputs: output URLs of cameras that may not be in the catalog.

    Returns:
        The rows, and a remark for each ledger, or file of one, that cannot be read.
    """
    known = {camera.output_url.rstrip("/") for camera in CameraCatalog(catalog_folder()).list()}
    tables, remarks = [read_ledger([])], list[str]()
    store_of = store_opener(profile)
    for url in sorted(known | {url.rstrip("/") for url in outputs}):
        if profile.cloud is None and url.startswith(S3):
            continue
        try:
            tables.append(read_ledger([store_of(f"{url}/{LEDGER_FOLDER}")], remarks))
        except StoreError as error:
            remarks.append(f"measurements left out: {error}")
    return pl.concat(tables), tuple(remarks)
