"""boto3 clients of AWS services: region, endpoint, retries, timeouts, user agent.

boto3 is imported on first use: a machine without the `cloud` extra runs everything local. The
types of clients (boto3-stubs) are installed for development only.
"""

from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from resources.clock import Clock, clock_at
from resources.errors import UsageError
from resources.settings.profile import Aws

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from botocore.loaders import Loader
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_ce import CostExplorerClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.literals import InstanceTypeType
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_pricing import PricingClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_service_quotas import ServiceQuotasClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

# Services with one API for all regions.
GLOBAL_REGIONS = {"pricing": "us-east-1", "ce": "us-east-1"}
# botocore's adaptive mode slows down when a service throttles, and retries what it may.
CLIENT_OPTIONS: dict[str, Any] = {
    "retries": {"mode": "adaptive", "total_max_attempts": 10},
    "connect_timeout": 10,
    "read_timeout": 60,
    "max_pool_connections": 32,
    "user_agent_appid": "odins-ravne",
}
NO_RETRY_OPTIONS: dict[str, Any] = {**CLIENT_OPTIONS, "retries": {"total_max_attempts": 1}}


class AwsClients:
    """One client for each service, created on first use and shared by threads.

    Args:
        aws: region and endpoint.

    Raises:
        UsageError: boto3 is not installed.
    """

    def __init__(self, aws: Aws) -> None:
        _require_boto3()
        self._aws = aws
        self._clients: dict[str, BaseClient] = {}
        self._no_retry_clients: dict[str, BaseClient] = {}
        self._lock = Lock()

    @cached_property
    def clock(self) -> Clock:
        """The clock of the account: simulated in the sandbox."""
        return clock_at(self._aws.clock_url)

    @property
    def credentials_found(self) -> bool:
        """True if boto3 finds credentials in any of the places where it searches."""
        return self._session.get_credentials() is not None

    @overload
    def of(self, service: Literal["batch"]) -> "BatchClient": ...
    @overload
    def of(self, service: Literal["ce"]) -> "CostExplorerClient": ...
    @overload
    def of(self, service: Literal["cloudformation"]) -> "CloudFormationClient": ...
    @overload
    def of(self, service: Literal["ec2"]) -> "EC2Client": ...
    @overload
    def of(self, service: Literal["ecr"]) -> "ECRClient": ...
    @overload
    def of(self, service: Literal["ecs"]) -> "ECSClient": ...
    @overload
    def of(self, service: Literal["iam"]) -> "IAMClient": ...
    @overload
    def of(self, service: Literal["logs"]) -> "CloudWatchLogsClient": ...
    @overload
    def of(self, service: Literal["pricing"]) -> "PricingClient": ...
    @overload
    def of(self, service: Literal["s3"]) -> "S3Client": ...
    @overload
    def of(self, service: Literal["service-quotas"]) -> "ServiceQuotasClient": ...
    @overload
    def of(self, service: Literal["sqs"]) -> "SQSClient": ...
    @overload
    def of(self, service: Literal["sts"]) -> "STSClient": ...
    def of(self, service: str) -> "BaseClient":
        """Return the client of a service, as `batch` or `s3`."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._create(service)
            return self._clients[service]

    def without_retries(self, service: Literal["batch"]) -> "BatchClient":
        """Return a client that retries nothing.

        For calls that are not idempotent: after an error it is not known if they took effect.
        """
        with self._lock:
            if service not in self._no_retry_clients:
                self._no_retry_clients[service] = self._create(service, NO_RETRY_OPTIONS)
            return cast("BatchClient", self._no_retry_clients[service])

    def _create(self, service: str, options: Mapping[str, Any] | None = None) -> "BaseClient":
        from botocore.config import Config

        endpoint = self._aws.endpoint_urls.get(service, self._aws.endpoint_url)
        client: BaseClient = self._session.client(
            service,
            region_name=GLOBAL_REGIONS.get(service, self._aws.region),
            endpoint_url=endpoint,
            config=Config(**(options or CLIENT_OPTIONS)),
        )
        if service == "s3" and self._aws.requester_pays:
            client.meta.events.register("provide-client-params.s3", _pay_as_requester)
        return client

    @cached_property
    def _session(self) -> Any:  # the stubs know services as literals only
        import boto3
        from botocore.session import get_session

        session = get_session()
        loader = _loader(session.get_config_variable("data_path"))
        session.register_component("data_loader", loader)
        paths = list(loader.search_paths)
        made = boto3.Session(botocore_session=session)
        # Each session of boto3 adds the folder of its resource models, which are not used here.
        loader.search_paths[:] = paths
        return made


def _pay_as_requester(params: dict[str, Any], model: Any, **_: Any) -> None:
    """Accept the costs of a request, where S3 has the parameter; other buckets ignore it."""
    if "RequestPayer" in model.input_shape.members:
        params.setdefault("RequestPayer", "requester")


@cache
def _loader(data_path: str | None) -> "Loader":
    """Return the reader of service models, which reads each one once in a process.

    Args:
        data_path: the setting of botocore.
    """
    from botocore.loaders import create_loader

    return create_loader(data_path)


def as_instance_types(names: Iterable[str]) -> "list[InstanceTypeType]":
    """Return names of machine types as EC2 calls take them, unchecked: EC2 has newer ones."""
    return cast("list[InstanceTypeType]", list(names))


def _require_boto3() -> None:
    try:
        import botocore  # noqa: F401 # quicker than boto3, which is installed with it
    except ImportError:
        raise UsageError(
            "this profile needs AWS: install the cloud extra, pip install 'odins-ravne[cloud]'"
        ) from None
