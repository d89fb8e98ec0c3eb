"""AWS's own bill, as plain data."""

from collections.abc import Mapping
from decimal import Decimal

from pydantic import BaseModel, ConfigDict


class AwsBill(BaseModel):
    """The costs of a month so far, from Cost Explorer.

    Args:
        tag: cost allocation tag of the query, as Project=ravne.
        since: start of the period, seconds since 1970 UTC.
        asked_at: end of the period, the time of the query.
        services: USD by AWS's name of the service.
    """

    model_config = ConfigDict(frozen=True)

    tag: str
    since: float
    asked_at: float
    services: Mapping[str, Decimal]
