"""Clients of AWS services, made in one place: region, endpoint, retries, user agent.

boto3 is imported on first use: a machine without the `cloud` extra runs everything local.
"""

from collections.abc import Mapping
from functools import cached_property
from threading import Lock
from typing import Any

from resources.clock import Clock, clock_at
from resources.errors import UsageError
from resources.settings.profile import Aws

# Services whose API lives in one region only, for all.
HOME_REGIONS = {"pricing": "us-east-1", "ce": "us-east-1", "budgets": "us-east-1"}
# botocore's adaptive mode slows down when a service throttles, and retries what it may.
OPTIONS: dict[str, Any] = {
    "retries": {"mode": "adaptive", "total_max_attempts": 10},
    "connect_timeout": 10,
    "read_timeout": 60,
    "max_pool_connections": 32,
    "user_agent_appid": "odins-ravne",
}
ASKING_ONCE: dict[str, Any] = {**OPTIONS, "retries": {"total_max_attempts": 1}}


class AwsClients:
    """The client of each service, made once and shared by threads (boto3 clients may be).

    Args:
        aws: region and endpoint.

    Raises:
        UsageError: boto3 is not installed.
    """

    def __init__(self, aws: Aws) -> None:
        _require_boto3()
        self._aws = aws
        self._made: dict[str, Any] = {}
        self._asking_once: dict[str, Any] = {}
        self._making = Lock()

    @cached_property
    def clock(self) -> Clock:
        """The time of day where the clients' services are."""
        return clock_at(self._aws.clock_url)

    def of(self, service: str) -> Any:
        """The client of a service, as `batch` or `s3`."""
        with self._making:
            if service not in self._made:
                self._made[service] = self._make(service)
            return self._made[service]

    @property
    def credentials_found(self) -> bool:
        """Whether there are credentials to sign with, in any of the places where boto3 looks."""
        return self._session.get_credentials() is not None

    def asking_once(self, service: str) -> Any:
        """A client that retries nothing: for calls that do their work twice when made twice, and
        of which it is not known, after an error, whether they were heard."""
        with self._making:
            if service not in self._asking_once:
                self._asking_once[service] = self._new(service, ASKING_ONCE)
            return self._asking_once[service]

    def _make(self, service: str) -> Any:
        return self._new(service, OPTIONS)

    def _new(self, service: str, options: Mapping[str, Any]) -> Any:
        from botocore.config import Config

        endpoint = self._aws.endpoint_urls.get(service, self._aws.endpoint_url)
        config = Config(**options)
        region = HOME_REGIONS.get(service, self._aws.region)
        return self._session.client(
            service, region_name=region, endpoint_url=endpoint, config=config
        )

    @cached_property
    def _session(self) -> Any:
        import boto3

        return boto3.Session()


def _require_boto3() -> None:
    try:
        import botocore  # noqa: F401 # quicker than boto3, which is there with it
    except ImportError:
        raise UsageError(
            "this profile needs AWS: install the cloud extra, pip install 'odins-ravne[cloud]'"
        ) from None
