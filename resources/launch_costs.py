"""What the attempts of a launch cost, from its record and the prices that were in force."""

from dataclasses import dataclass
from decimal import Decimal

from resources.errors import RavneError
from resources.launch_record import Attempt, LaunchRecord
from resources.prices import PriceBook, Quote, Usage


@dataclass(frozen=True)
class AttemptCost:
    """An attempt and its cost; None where nothing ran, or no price is known.

    Args:
        quotes: the prices that both sums are made of.
    """

    attempt: Attempt
    usd: Decimal | None
    usd_on_demand: Decimal | None
    quotes: tuple[Quote, ...] = ()


def costs_of(record: LaunchRecord, book: PriceBook) -> list[AttemptCost]:
    """The cost of each attempt, its own seconds alone: a machine's boot and idle time, which
    several jobs share, are not in it."""
    return [_cost(attempt, book) for attempt in record.attempts]


def _cost(attempt: Attempt, book: PriceBook) -> AttemptCost:
    host = attempt.host
    if not (attempt.started_at and attempt.ended_at and host.get("instance_type")):
        return AttemptCost(attempt, None, None)
    usage = Usage(
        instance_type=host["instance_type"],
        zone=host.get("zone", ""),
        market="spot" if host.get("market") == "spot" else "ondemand",
        start=attempt.started_at,
        end=attempt.ended_at,
    )
    try:
        cost = book.cost_of(usage)
    except RavneError:
        return AttemptCost(attempt, None, None)
    quotes = (*cost.quotes, book.on_demand(usage.instance_type))
    return AttemptCost(attempt, cost.usd, cost.usd_on_demand, quotes)
