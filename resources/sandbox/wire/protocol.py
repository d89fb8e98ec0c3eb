"""AWS's wire formats, as far as the sandbox itself parses and writes them.

The operation of a request and the format of a response follow from the service models that botocore
ships.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, unquote
from uuid import uuid4
from xml.sax.saxutils import escape

import botocore.session
from botocore.model import OperationModel, ServiceModel

from resources.sandbox.wire.errors import AwsError

Environ = dict[str, Any]

# botocore's names of services that have another name in signatures.
BOTOCORE_NAMES = {"monitoring": "cloudwatch", "servicequotas": "service-quotas"}
SESSION = botocore.session.Session()


@dataclass
class AwsRequest:
    """A signed request. `service` is boto3's name; `access_key` is the id of the signer's key.

    `path` and its `parts` are percent-decoded; the path is split into parts before the decoding.
    `parameters` are those of the query string, each with its first value.
    """

    environ: Environ = field(repr=False)
    service: str
    access_key: str
    token: str | None
    method: str
    path: str
    parts: list[str]
    parameters: dict[str, str]
    operation: str = ""

    def body(self) -> bytes:
        """Return the body, which can be read again."""
        length = int(self.environ.get("CONTENT_LENGTH") or 0)
        data: bytes = self.environ["wsgi.input"].read(length)
        self.environ["wsgi.input"] = BytesIO(data)
        return data

    def json(self) -> dict[str, Any]:
        """Return the JSON object of the body; an empty one if there is no body."""
        content: dict[str, Any] = json.loads(self.body() or b"{}")
        return content

    def form(self) -> dict[str, list[str]]:
        """Return the fields of a form in the body."""
        return parse_qs(self.body().decode("utf-8"))

    @property
    def bucket_and_key(self) -> tuple[str, str]:
        """Bucket and key of an S3 request; the key may be empty."""
        bucket, _, key = self.path.lstrip("/").partition("/")
        return bucket, key


@dataclass
class Response:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse_request(environ: Environ) -> AwsRequest | None:
    """Return the AWS request of a WSGI environment, or None if it has no Signature Version 4."""
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition(",")[0]
    scope = scope or query.get("X-Amz-Credential", [""])[0]
    parts = scope.split("/")
    if len(parts) != 5:
        return None
    raw_path: str = environ["REQUEST_URI"].partition("?")[0]
    request = AwsRequest(
        environ=environ,
        service=BOTOCORE_NAMES.get(parts[3], parts[3]),
        access_key=parts[0],
        token=environ.get("HTTP_X_AMZ_SECURITY_TOKEN")
        or query.get("X-Amz-Security-Token", [None])[0],
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"].encode("latin-1").decode("utf-8"),
        parts=[unquote(part) for part in raw_path.split("/") if part],
        parameters={key: values[0] for key, values in query.items()},
    )
    request.operation = _operation(request)
    return request


@cache
def service_model(service: str) -> ServiceModel | None:
    """Return botocore's model of a service, or None if it has none."""
    if service not in SESSION.get_available_services():
        return None
    return SESSION.get_service_model(service)


def _operation(request: AwsRequest) -> str:
    """Return the name of the operation, as `DescribeJobs`; empty if it is not known."""
    target: str = request.environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return target.rpartition(".")[2]
    model = service_model(request.service)
    if model is None:
        return ""
    if model.protocol in ("query", "ec2"):
        return request.form().get("Action", [""])[0]
    if model.protocol.startswith("rest"):
        return _rest_operation(model, request)
    return request.path.rpartition("/")[2]  # smithy-rpc: /service/NAME/operation/OPERATION


def _rest_operation(model: ServiceModel, request: AwsRequest) -> str:
    """Return the most specific operation that matches path, query and headers."""
    operation, specificity = "", -1
    for route in _routes(model.service_name):
        is_better = route.specificity > specificity
        if is_better and route.matches(request):
            operation, specificity = route.operation, route.specificity
    return operation


@dataclass(frozen=True)
class _Route:
    """The route of an operation of a REST service."""

    operation: str
    method: str
    parts: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    headers: tuple[str, ...]

    @property
    def specificity(self) -> int:
        literal = sum(not part.startswith("{") for part in self.parts)
        return literal + len(self.query) + len(self.headers)

    def matches(self, request: AwsRequest) -> bool:
        return (
            self.method == request.method
            and self._matches_path(request.parts)
            and self._matches_query_and_headers(request)
        )

    def _matches_path(self, path: list[str]) -> bool:
        greedy = bool(self.parts) and self.parts[-1].endswith("+}")
        if len(path) < len(self.parts) or (len(path) > len(self.parts) and not greedy):
            return False
        return all(
            part.startswith("{") or part == given
            for part, given in zip(self.parts, path, strict=False)
        )

    def _matches_query_and_headers(self, request: AwsRequest) -> bool:
        has_query = all(
            key in request.parameters and value in ("", request.parameters[key])
            for key, value in self.query
        )
        return has_query and all(
            "HTTP_" + name.upper().replace("-", "_") in request.environ for name in self.headers
        )


@cache
def _routes(service: str) -> list[_Route]:
    model = service_model(service)
    assert model is not None
    return [_route(model.operation_model(name)) for name in model.operation_names]


def _route(operation: OperationModel) -> _Route:
    path, _, literal = operation.http["requestUri"].partition("?")
    query = [(key, values[0]) for key, values in parse_qs(literal, keep_blank_values=True).items()]
    headers = []
    shape = operation.input_shape
    members = shape.members if shape is not None else {}
    for name in shape.required_members if shape is not None else ():
        place = members[name].serialization
        if place.get("location") == "querystring":
            query.append((place["name"], ""))
        elif place.get("location") == "header":
            headers.append(place["name"])
    return _Route(
        operation.name,
        operation.http["method"],
        tuple(part for part in path.split("/") if part),
        tuple(query),
        tuple(headers),
    )


def rest_request(request: AwsRequest) -> dict[str, Any]:
    """Return a REST-JSON request as one object, with the values of body, query and path."""
    model = service_model(request.service)
    if model is None or not request.operation:
        raise AwsError("UnknownOperationException", f"no {request.method} {request.path}", 404)
    operation = model.operation_model(request.operation)
    members = operation.input_shape.members if operation.input_shape is not None else {}
    found = request.json()
    parts = operation.http["requestUri"].strip("/").split("/")
    for part, given in zip(parts, request.parts, strict=True):
        if part.startswith("{"):
            found[part.strip("{}")] = given
    query = parse_qs(request.environ.get("QUERY_STRING", ""))
    for name, shape in members.items():
        place = shape.serialization
        if place.get("location") == "querystring" and place["name"] in query:
            values = query[place["name"]]
            found[name] = values if shape.type_name == "list" else values[0]
    return found


def json_response(content: dict[str, Any], status: int = 200) -> Response:
    """Return the response of a JSON service."""
    return Response(status, {"Content-Type": "application/json"}, json.dumps(content).encode())


def error_response(service: str, error: AwsError) -> Response:
    """Return an error in the format of the service's protocol."""
    model = service_model(service)
    protocol = model.protocol if model is not None else "json"
    if protocol in ("query", "ec2", "rest-xml"):
        body = "".join(_error_xml(protocol, error)).encode()
        return Response(error.status, {"Content-Type": "text/xml"}, body)
    response = json_response({"__type": error.code, "message": error.message}, error.status)
    response.headers["x-amzn-ErrorType"] = error.code
    return response


def _error_xml(protocol: str, error: AwsError) -> Iterator[str]:
    inner = f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
    request_id = f"<RequestId>{uuid4()}</RequestId>"
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    if protocol == "rest-xml":
        yield f"<Error>{inner}{request_id}</Error>"
    elif protocol == "ec2":
        ec2_id = request_id.replace("RequestId", "RequestID")
        yield f"<Response><Errors><Error>{inner}</Error></Errors>{ec2_id}</Response>"
    else:
        kind = "Sender" if error.status < 500 else "Receiver"
        yield f"<ErrorResponse><Error><Type>{kind}</Type>{inner}</Error>{request_id}"
        yield "</ErrorResponse>"
