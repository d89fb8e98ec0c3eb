"""The cameras that this machine knows and whose results lie on S3."""

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.instance_home import catalog_folder


def known_on_s3() -> list[tuple[str, str]]:
    """Id and output URL of each.

    Raises:
        UsageError: the catalog's file of one is damaged.
    """
    known = CameraCatalog(catalog_folder()).list()
    return [(each.camera_id, each.output_url) for each in known if each.output_url[:5] == "s3://"]
