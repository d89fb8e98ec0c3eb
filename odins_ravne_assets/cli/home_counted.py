"""Results taken home, and what taking them out of AWS costs written into each camera's ledger."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from odins_ravne_assets.cameras.selection import S3
from odins_ravne_assets.cli.terminal import TransferBar, say
from odins_ravne_assets.results.download import FoundResults, take_home
from resources.aws.clients import AwsClients
from resources.errors import StoreError
from resources.ledger.orchestrator_traffic import OwnTraffic
from resources.ledger.table import FOLDER
from resources.settings.profile import Aws
from resources.storage.object_store import open_store
from resources.storage.transfer.download import Brought, OnProgress

NAME = "taken-home-%Y-%m-%dT%H-%M-%SZ"


def bring_results(outputs: Sequence[tuple[str, str]], root: Path, aws: Aws) -> Brought:
    """Take cameras' results home, with a bar in a terminal.

    Args:
        outputs: camera's id and OUTPUT of each.
        aws: for those that lie on S3.

    Returns:
        All together.

    Raises:
        StoreError: see `bring_home`.
    """
    together = Brought(0, 0)
    for camera_id, url in outputs:
        with TransferBar() as bar:
            brought = _bring(camera_id, url, root, aws, bar.told)
        together.total_files += brought.total_files
        together.total_bytes += brought.total_bytes
        together.files += brought.files
        together.bytes += brought.bytes
        together.present += brought.present
    return together


def _bring(camera_id: str, url: str, root: Path, aws: Aws, on_progress: OnProgress) -> Brought:
    results = [FoundResults(camera_id, "")]
    if not url.startswith(S3):
        return take_home(open_store(url), results, root, on_progress)
    clients = AwsClients(aws)
    own = OwnTraffic(camera_id, aws.region, "taking results home", clients.clock)
    own.traffic.attach(clients.of("s3"))
    try:
        return take_home(open_store(url, clients), results, root, on_progress)
    finally:  # what came before an interrupt has left AWS, too
        name = f"{datetime.fromtimestamp(own.began, UTC):{NAME}}-{uuid.uuid4().hex[:8]}"
        try:
            own.write(open_store(f"{url}/{FOLDER}", clients), name)
        except StoreError as error:
            say(f"what this cost is in no ledger: {error}")
