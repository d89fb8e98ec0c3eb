"""What AWS answers when it refuses or fails; the server writes it in the service's own form."""


class AwsError(Exception):
    """A refusal or a failure, as the service words it.

    Args:
        code: the service's name for it, as `BatchClientError`.
        message: the service's words.
        status: of HTTP.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class BatchClientError(AwsError):
    """Batch refuses a request."""

    def __init__(self, message: str) -> None:
        super().__init__("BatchClientError", f"Error executing request, Exception : {message}")
