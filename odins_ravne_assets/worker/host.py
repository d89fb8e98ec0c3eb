"""The host of a worker: this machine, or an instance of AWS Batch.

A host supplies the Pipes transport, the stop signal (spot interruption notice), and the machine's
instance type, zone and market.
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
)

from resources.aws.clients import AwsClients
from resources.clock import clock_at
from resources.settings.profile import Profile
from resources.storage.object_store import ObjectStore
from resources.storage.open_store import open_store
from resources.storage.s3.request_counter import Traffic

OpenStore = Callable[[str], ObjectStore]
OnNotice = Callable[[str], None]

# Seconds between polls for a spot interruption notice, as AWS advises.
NOTICE_INTERVAL = 5.0
METADATA_ADDRESS = "http://169.254.169.254"
METADATA_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
TOKEN_SECONDS = "21600"
# Seconds between writes of messages to S3.
MESSAGE_INTERVAL = 5.0


class Host(ABC):
    """The machine that a worker runs on."""

    context_loader: PipesContextLoader
    message_writer: PipesMessageWriter[Any]

    def __init__(self) -> None:
        self.traffic = Traffic()

    @abstractmethod
    def watch(self, profile: Profile, stop: threading.Event, on_notice: OnNotice) -> None:
        """Start to watch for a stop signal; set `stop` when it comes."""

    @abstractmethod
    def describe(self, profile: Profile) -> dict[str, str]:
        """Return the instance id, instance type, zone and market; empty for the local host."""

    def store_opener(self, profile: Profile) -> OpenStore:
        """Return the function that opens stores by URL; it counts requests to S3."""
        if profile.cloud is None:
            return open_store
        clients = AwsClients(profile.cloud.aws)
        self.traffic.attach(clients.of("s3"))
        return lambda url: open_store(url, clients)


class LocalHost(Host):
    """A subprocess of the launcher; it stops when its standard input is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.context_loader = PipesDefaultContextLoader()
        self.message_writer = PipesDefaultMessageWriter()

    def watch(self, profile: Profile, stop: threading.Event, on_notice: OnNotice) -> None:
        """See Host. The launcher holds the other end of the standard input."""

        def wait_for_end() -> None:
            while os.read(sys.stdin.fileno(), 1024):
                pass
            stop.set()

        threading.Thread(target=wait_for_end, daemon=True).start()

    def describe(self, profile: Profile) -> dict[str, str]:
        """See Host."""
        return {}


class BatchHost(Host):
    """A job of AWS Batch, on an instance that spot may interrupt with two minutes' notice."""

    def __init__(self) -> None:
        import boto3  # only on this host: a local worker starts without it

        from odins_ravne_assets.worker.message_writer import MessageWriter

        super().__init__()
        client = boto3.client("s3")
        self.traffic.attach(client)
        self.context_loader = PipesS3ContextLoader(client)
        self.message_writer = MessageWriter(client, MESSAGE_INTERVAL)
        self._metadata = InstanceMetadata()

    def watch(self, profile: Profile, stop: threading.Event, on_notice: OnNotice) -> None:
        """See Host. Polls for the spot interruption notice."""
        clock = clock_at(profile.aws.clock_url)

        def poll_notice() -> None:
            while not clock.sleep(NOTICE_INTERVAL, stop):
                if action := self._metadata.read("spot/instance-action"):
                    on_notice(f"spot notice: {action}; finishing the media in progress")
                    stop.set()

        threading.Thread(target=poll_notice, daemon=True).start()

    def describe(self, profile: Profile) -> dict[str, str]:
        """See Host."""
        paths = {
            "instance_id": "instance-id",
            "instance_type": "instance-type",
            "zone": "placement/availability-zone",
            "market": "instance-life-cycle",
        }
        return {name: self._metadata.read(path) or "" for name, path in paths.items()}


class InstanceMetadata:
    """A client of the instance metadata service, version 2 (IMDSv2)."""

    def __init__(self) -> None:
        self._address = os.environ.get(METADATA_VARIABLE, METADATA_ADDRESS).rstrip("/")
        self._token: str | None = None

    def read(self, path: str) -> str | None:
        """Return the text under `latest/meta-data/PATH`; None if there is none."""
        for _ in range(2):  # an expired token is renewed once
            try:
                headers = {"X-aws-ec2-metadata-token": self._token or self._new_token()}
                return self._request("GET", f"/latest/meta-data/{path}", headers)
            except urllib.error.HTTPError as error:
                if error.code != 401:
                    return None
                self._token = None
            except OSError:
                return None
        return None

    def _new_token(self) -> str:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": TOKEN_SECONDS}
        self._token = self._request("PUT", "/latest/api/token", headers)
        return self._token

    def _request(self, method: str, path: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(self._address + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=2) as response:
            text: str = response.read().decode("utf-8", "replace")
        return text


def current_host() -> Host:
    """Return the host of this process; AWS Batch sets a variable for its jobs."""
    return BatchHost() if "AWS_BATCH_JOB_ID" in os.environ else LocalHost()
