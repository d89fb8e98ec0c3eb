"""Where a worker runs, and what follows from it: how it is told what to do, how it learns that it
must stop, and what machine it is.
"""

import os
import sys
import threading
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from dagster_pipes import (
    PipesContextLoader,
    PipesDefaultContextLoader,
    PipesDefaultMessageWriter,
    PipesMessageWriter,
    PipesS3ContextLoader,
    PipesS3MessageWriter,
)

from resources.aws.clients import AwsClients
from resources.clock import clock_at
from resources.settings.profile import Profile
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store
from resources.storage.s3.request_counter import Traffic

OpenStore = Callable[[str], ObjectStore]
OnNotice = Callable[[str], None]

# The instance metadata service is asked this often for a notice, as AWS advises, in seconds.
NOTICE_EVERY = 5.0
METADATA_ADDRESS = "http://169.254.169.254"
METADATA_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
TOKEN_SECONDS = "21600"
# Messages are written to S3 this often, in seconds of this machine.
MESSAGES_EVERY = 5.0


class Host(ABC):
    """The machine under a worker."""

    context_loader: PipesContextLoader
    message_writer: PipesMessageWriter[Any]

    def __init__(self) -> None:
        self.traffic = Traffic()

    @abstractmethod
    def watch(self, profile: Profile, stop: threading.Event, on_notice: OnNotice) -> None:
        """From now on, set `stop` when the work has to end."""

    @abstractmethod
    def facts(self, profile: Profile) -> dict[str, str]:
        """What machine it is: instance, type, zone, market; empty where that means nothing."""

    def stores(self, profile: Profile) -> OpenStore:
        """What opens the stores that the work reads and writes."""
        if profile.cloud is None:
            return open_store
        clients = AwsClients(profile.cloud.aws)
        self.traffic.attach(clients.of("s3"))
        return lambda url: open_store(url, clients)


class LocalHost(Host):
    """A subprocess of the launcher: the end of its standard input is its own."""

    def __init__(self) -> None:
        super().__init__()
        self.context_loader = PipesDefaultContextLoader()
        self.message_writer = PipesDefaultMessageWriter()

    def watch(self, profile: Profile, stop: threading.Event, on_notice: OnNotice) -> None:
        """See Host. The launcher holds the other end of our standard input."""

        def wait_for_end() -> None:
            while os.read(sys.stdin.fileno(), 1024):
                pass
            stop.set()

        threading.Thread(target=wait_for_end, daemon=True).start()

    def facts(self, profile: Profile) -> dict[str, str]:
        """See Host."""
        return {}


class BatchHost(Host):
    """A job of AWS Batch on an instance that may be taken away with two minutes' notice."""

    def __init__(self) -> None:
        import boto3  # on this host alone: the image has it

        super().__init__()
        client = boto3.client("s3")
        self.traffic.attach(client)
        self.context_loader = PipesS3ContextLoader(client)
        self.message_writer = PipesS3MessageWriter(client, interval=MESSAGES_EVERY)
        self._metadata = InstanceMetadata()

    def watch(self, profile: Profile, stop: threading.Event, on_notice: OnNotice) -> None:
        """See Host. A spot machine's notice leaves two minutes, which is plenty."""
        clock = clock_at(profile.aws.clock_url)

        def look_for_notice() -> None:
            while not clock.sleep(NOTICE_EVERY, stop):
                if action := self._metadata.read("spot/instance-action"):
                    on_notice(f"spot notice: {action}; finishing the media in hand")
                    stop.set()

        threading.Thread(target=look_for_notice, daemon=True).start()

    def facts(self, profile: Profile) -> dict[str, str]:
        """See Host."""
        asked = {
            "instance_id": "instance-id",
            "instance_type": "instance-type",
            "zone": "placement/availability-zone",
            "market": "instance-life-cycle",
        }
        return {name: self._metadata.read(path) or "" for name, path in asked.items()}


class InstanceMetadata:
    """The instance metadata service, version 2: a token first, then answers."""

    def __init__(self) -> None:
        self._address = os.environ.get(METADATA_VARIABLE, METADATA_ADDRESS).rstrip("/")
        self._token: str | None = None

    def read(self, path: str) -> str | None:
        """What the service says under `latest/meta-data/PATH`; None when it says nothing."""
        for _ in range(2):  # a token that ran out is renewed once
            try:
                headers = {"X-aws-ec2-metadata-token": self._token or self._new_token()}
                return self._ask("GET", f"/latest/meta-data/{path}", headers)
            except urllib.error.HTTPError as error:
                if error.code != 401:
                    return None
                self._token = None
            except OSError:
                return None
        return None

    def _new_token(self) -> str:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": TOKEN_SECONDS}
        self._token = self._ask("PUT", "/latest/api/token", headers)
        return self._token

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(self._address + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=2) as answer:
            text: str = answer.read().decode("utf-8", "replace")
        return text


def current_host() -> Host:
    """Jobs of AWS Batch are told apart by the variables it sets for them."""
    return BatchHost() if "AWS_BATCH_JOB_ID" in os.environ else LocalHost()
