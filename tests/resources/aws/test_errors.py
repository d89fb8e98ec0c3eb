"""AWS errors: their codes, and if a call took effect."""

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from resources.aws.errors import error_code, was_rejected


def client_error(code: str, status: int) -> ClientError:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "SubmitJob")


@pytest.mark.parametrize(
    ("error", "code", "rejected"),
    [
        (client_error("AccessDenied", 403), "AccessDenied", True),
        (client_error("InternalError", 500), "InternalError", False),
        (ConnectionClosedError(endpoint_url="https://batch"), "", False),
        (ValueError(), "", False),
    ],
)
def test_only_a_4xx_response_means_that_a_call_had_no_effect(
    error: Exception, code: str, rejected: bool
) -> None:
    assert error_code(error) == code
    assert was_rejected(error) == rejected
