"""Who may do what. Until it is switched on, every key may do everything."""

from resources.sandbox.protocol import AwsRequest


class Policies:
    """IAM's enforcement, off at first."""

    enforced = False

    def check(self, request: AwsRequest) -> None:
        """Raises AwsError if the signer of a request may not make it."""
