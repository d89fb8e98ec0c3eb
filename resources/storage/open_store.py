"""Open the object store of a URL."""

from typing import TYPE_CHECKING

from resources.errors import UsageError
from resources.storage.local_store import LocalStore, local_path
from resources.storage.object_store import S3_SCHEME, ObjectStore

if TYPE_CHECKING:
    from resources.aws.clients import AwsClients


def open_store(url: str, clients: "AwsClients | None" = None) -> ObjectStore:
    """The store of an `s3://` URL, a `file://` URL or a plain path.

    Args:
        clients: of AWS; what lies on this machine needs none.

    Raises:
        UsageError: a URL of a kind that is not known, or one on S3 without `clients`.
    """
    if not url.startswith(S3_SCHEME):
        return LocalStore(local_path(url))
    if clients is None:
        raise UsageError(
            f"{url}: lies on AWS, and the profile has no cloud section; use --profile cloud"
        )
    from resources.storage.s3.store import S3Store  # boto3 is needed for S3 alone

    return S3Store(url, clients, clock=clients.clock)


def display_url(url: str) -> str:
    """A URL as a person writes it: what lies on this machine is a path."""
    return url if url.startswith(S3_SCHEME) else str(local_path(url))
