"""The cost ledgers that this machine knows of: of all its cameras whose results it reaches."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from odins_ravne_assets.cameras import CameraCatalog
from odins_ravne_assets.home import catalog_folder
from odins_ravne_assets.results_here import store_of
from odins_ravne_assets.which_cameras import S3
from resources.cost_ledger import FOLDER, read_ledger
from resources.profile import Profile

if TYPE_CHECKING:
    import polars as pl


def known_ledgers(profile: Profile, outputs: Iterable[str] = ()) -> "pl.DataFrame":
    """The rows of all ledgers; those on S3 with a cloud profile alone.

    Args:
        outputs: of cameras that may not be known yet.

    Raises:
        StoreError: a ledger cannot be read.
    """
    known = {camera.output_url.rstrip("/") for camera in CameraCatalog(catalog_folder()).list()}
    urls = sorted(known | {url.rstrip("/") for url in outputs})
    reached = [url for url in urls if profile.cloud or not url.startswith(S3)]
    return read_ledger(store_of(f"{url}/{FOLDER}", profile) for url in reached)
