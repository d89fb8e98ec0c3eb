"""Planned costs next to actual costs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby

import polars as pl

from resources.planning.saved_predictions import Comparison, Prediction, compare_predictions


@dataclass(frozen=True)
class PlannedCost:
    """A camera's plan, and the actual cost of the runs until the next plan.

    Args:
        low, high: the range for 90 % of runs.
        planned_seconds, seconds: from the first attempt's start to the last one's end.
        difference: deviation from the planned cost, as a share of it; 0.1: 10 % more expensive.
        why: deviations from the plan, each a phrase.
        estimated: the actual cost is not final.
    """

    camera_id: str
    made_at: datetime
    planned_usd: Decimal
    low: Decimal
    high: Decimal
    usd: Decimal
    planned_seconds: float
    seconds: float | None
    difference: float
    within_range: bool
    why: tuple[str, ...]
    estimated: bool


def planned_costs(predictions: Iterable[Prediction], rows: pl.DataFrame) -> Iterator[PlannedCost]:
    """Yield the plans that were followed by runs, by camera and time.

    Args:
        rows: of LEDGER_SCHEMA.
    """
    ordered = sorted(predictions, key=lambda each: (each.camera_id, each.made_at))
    for _, own in groupby(ordered, key=lambda each: each.camera_id):
        yield from map(_planned_cost, compare_predictions(list(own), rows))


def _planned_cost(comparison: Comparison) -> PlannedCost:
    prediction = comparison.prediction
    return PlannedCost(
        camera_id=prediction.camera_id,
        made_at=datetime.fromtimestamp(round(prediction.made_at), UTC),
        planned_usd=_usd(prediction.usd),
        low=_usd(prediction.usd_low),
        high=_usd(prediction.usd_high),
        usd=comparison.usd,
        planned_seconds=prediction.seconds,
        seconds=comparison.seconds,
        difference=comparison.difference,
        within_range=comparison.within_range,
        why=tuple(comparison.reasons()),
        estimated=comparison.estimated,
    )


def _usd(amount: float) -> Decimal:
    return round(Decimal(amount), 6)
