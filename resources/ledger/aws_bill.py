"""AWS's own bill, as plain data."""

from collections.abc import Mapping
from decimal import Decimal

from pydantic import BaseModel, ConfigDict


class AwsBill(BaseModel):
    """What Cost Explorer told.

    Args:
        tag: it was asked for what carries this, as Project=ravne.
        since: of the period, seconds since 1970 UTC; it ends when it was asked.
        services: USD by AWS's name of the service.
    """

    model_config = ConfigDict(frozen=True)

    tag: str
    since: float
    asked_at: float
    services: Mapping[str, Decimal]
