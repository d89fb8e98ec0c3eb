"""What plans have foretold, beside what was then paid."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby

import polars as pl

from resources.planning.predictions import Comparison, Prediction, compare_predictions


@dataclass(frozen=True)
class PlannedCost:
    """A camera's plan, and the runs that followed it until the next one.

    Args:
        low, high: 9 of 10 runs were expected to cost between these.
        planned_seconds, seconds: from the first attempt's start to the last one's end.
        difference: of what was paid, as a share of what was planned; 0.1: a tenth dearer.
        why: what was otherwise than planned, a sentence's part each.
        estimated: what was paid is not certain yet.
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
    """Each plan that something was run after, camera by camera, in order of time.

    Args:
        rows: of `cost_ledger.SCHEMA`.
    """
    ordered = sorted(predictions, key=lambda each: (each.camera_id, each.made_at))
    for _, own in groupby(ordered, key=lambda each: each.camera_id):
        yield from map(_planned, compare_predictions(list(own), rows))


def _planned(found: Comparison) -> PlannedCost:
    prediction = found.prediction
    return PlannedCost(
        prediction.camera_id,
        datetime.fromtimestamp(round(prediction.made_at), UTC),
        _usd(prediction.usd),
        _usd(prediction.usd_low),
        _usd(prediction.usd_high),
        found.usd,
        prediction.seconds,
        found.seconds,
        found.difference,
        found.within_range,
        tuple(found.reasons()),
        found.estimated,
    )


def _usd(amount: float) -> Decimal:
    return round(Decimal(amount), 6)
