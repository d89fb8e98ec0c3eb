"""Open the object store of a URL, in a local folder or on S3."""

from typing import TYPE_CHECKING

from resources.errors import UsageError
from resources.storage.local_store import LocalStore, local_path
from resources.storage.object_store import S3_SCHEME, ObjectStore

if TYPE_CHECKING:
    from resources.aws.clients import AwsClients


def open_store(url: str, clients: "AwsClients | None" = None) -> ObjectStore:
    """Open the store of an `s3://` URL, a `file://` URL or a plain path.

    Args:
        clients: needed for S3 only.

    Raises:
        UsageError: the URL has an unknown scheme, or is on S3 and there are no `clients`.
    """
    if not url.startswith(S3_SCHEME):
        return LocalStore(local_path(url))
    if clients is None:
        raise UsageError(
            f"{url}: is on S3, and the profile has no cloud section; use --profile cloud"
        )
    from resources.storage.s3.store import S3Store  # boto3 is needed for S3 only

    return S3Store(url, clients, clock=clients.clock)


def display_url(url: str) -> str:
    """Return a URL as a person writes it: a local one as a path."""
    return url if url.startswith(S3_SCHEME) else str(local_path(url))
