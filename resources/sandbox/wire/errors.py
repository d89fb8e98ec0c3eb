"""Errors of AWS; the server writes them in the format of the service."""


class AwsError(Exception):
    """An error response of a service.

    Args:
        code: the service's error code, as `ClientException`.
        message: the service's text.
        status: HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class BatchClientError(AwsError):
    """A request that Batch refuses."""

    def __init__(self, message: str) -> None:
        super().__init__("ClientException", f"Error executing request, Exception : {message}")
