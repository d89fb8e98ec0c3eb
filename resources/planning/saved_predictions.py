"""Predictions of plans, stored in the camera's output, and their comparison with actual costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from resources.batch.outcome import AttemptOutcome
from resources.errors import StoreError
from resources.planning.throughput import STAGE_SECONDS_COLUMNS
from resources.pricing.prices import CostKind
from resources.storage.object_store import ObjectStore

PREDICTION_KEY_FORMAT = "%Y-%m-%dT%H-%M-%SZ.json"


class PredictedOffer(BaseModel):
    """The predicted cost on a machine type and market: this camera's share."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    instance_type: str
    market: str
    usd: float
    usd_per_hour: float
    frames_per_second: float


class Prediction(BaseModel):
    """The predicted cost of one camera's run.

    Args:
        made_at: seconds since 1970 UTC.
        frames: maximum number of frames to process.
        usd: expected cost; in 90 % of runs between `usd_low` and `usd_high`.
        instance_type, market: most likely for the run.
        measured: True if the throughput is measured, False if it is assumed.
        offers: all types and markets.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    camera_id: str
    made_at: float
    frames: int
    usd: float
    usd_low: float
    usd_high: float
    seconds: float
    instance_type: str
    market: str
    frames_per_second: float
    measured: bool
    offers: tuple[PredictedOffer, ...]


@dataclass(frozen=True)
class Comparison:
    """A prediction and the actual cost.

    Args:
        usd: cost of the runs since the prediction, until the next prediction.
        seconds: from the first attempt's start to the last one's end; None: none has ended.
        frames: processed frames.
        frames_per_second: of all stages; None: not reported.
        offers: machine types and markets that were paid for, the most expensive first.
        interruptions: attempts whose machine EC2 interrupted.
        estimated: some costs are not final yet.
    """

    prediction: Prediction
    usd: Decimal
    seconds: float | None
    frames: int
    frames_per_second: float | None
    offers: tuple[tuple[str, str], ...]
    interruptions: int
    estimated: bool

    @property
    def difference(self) -> float:
        """The deviation from the predicted cost, as a share of it; 0.1: 10 % more expensive."""
        return float(self.usd) / self.prediction.usd - 1 if self.prediction.usd else 0.0

    @property
    def within_range(self) -> bool:
        """True if the actual cost is in the predicted range."""
        return self.prediction.usd_low <= self.usd <= self.prediction.usd_high

    def reasons(self) -> list[str]:
        """Return the deviations from the prediction, each a phrase."""
        predicted, reasons = self.prediction, []
        if self.frames and abs(self.frames / max(1, predicted.frames) - 1) > 0.05:
            reasons.append(f"{self.frames} frames were processed, not {predicted.frames}")
        speed = self.frames_per_second
        if speed and abs(speed / predicted.frames_per_second - 1) > 0.05:
            origin = "measured before" if predicted.measured else "assumed"
            reasons.append(
                f"{speed:.1f} frames/s, not the {predicted.frames_per_second:.1f} {origin}"
            )
        planned = (predicted.instance_type, predicted.market)
        others = [f"{kind} {market}" for kind, market in self.offers if (kind, market) != planned]
        if others:
            reasons.append(f"{' and '.join(others)} used, not only {' '.join(planned)}")
        if self.interruptions:
            times = f"{self.interruptions} time{'s' * (self.interruptions != 1)}"
            reasons.append(f"EC2 interrupted the machine {times}")
        return reasons


def save_prediction(store: ObjectStore, prediction: Prediction) -> None:
    """Save a prediction in a store.

    Raises:
        StoreError: the store cannot be written.
    """
    name = datetime.fromtimestamp(prediction.made_at, UTC).strftime(PREDICTION_KEY_FORMAT)
    store.write_bytes(name, prediction.model_dump_json(indent=1).encode() + b"\n")


def load_predictions(store: ObjectStore, remarks: list[str] | None = None) -> list[Prediction]:
    """Return a camera's predictions, in order of time. Keys of newer versions are ignored.

    Args:
        remarks: receives a sentence for each file that cannot be used, which is left out; None: the
            first one raises.

    Raises:
        StoreError: the store refuses; a file is damaged or of another version.
    """
    predictions = []
    for stored in list(store.list()):
        if stored.key.endswith(".json"):
            try:
                predictions.append(Prediction.model_validate_json(store.read_bytes(stored.key)))
            except ValidationError:
                problem = f"{store.url}/{stored.key}: not a plan of this version; delete it"
                if remarks is None:
                    raise StoreError(problem) from None
                remarks.append(f"a plan is left out: {problem}")
    return sorted(predictions, key=lambda each: each.made_at)


def compare_predictions(
    predictions: Sequence[Prediction], ledger: pl.DataFrame
) -> list[Comparison]:
    """Compare each prediction with the cost of the runs that followed it, if there are any.

    Args:
        predictions: of one camera, in order of time.
        ledger: rows of `LEDGER_SCHEMA`; those of other cameras are ignored.
    """
    times = [*(each.made_at for each in predictions), float("inf")]
    comparisons = []
    for prediction, end in zip(predictions, times[1:], strict=True):
        rows = _rows_of(prediction, end, ledger)
        if not rows.is_empty():
            comparisons.append(_compare(prediction, rows))
    return comparisons


def _rows_of(prediction: Prediction, end: float, ledger: pl.DataFrame) -> pl.DataFrame:
    """The rows of launches whose first attempt is after this prediction and before the next."""
    own = ledger.filter(pl.col("camera_id") == prediction.camera_id)
    # Only attempts count: a machine may have been launched earlier, for another camera.
    intended = pl.col("intended_at").filter(pl.col("kind") == CostKind.ATTEMPT).min().over("launch")
    launch_start = (intended.dt.epoch("ms") / 1000).alias("launch_start")
    return own.with_columns(launch_start).filter(
        pl.col("launch_start") >= prediction.made_at, pl.col("launch_start") < end
    )


def _compare(prediction: Prediction, rows: pl.DataFrame) -> Comparison:
    attempts = rows.filter(pl.col("kind") == CostKind.ATTEMPT)
    seconds = attempts.select(pl.sum_horizontal(STAGE_SECONDS_COLUMNS).sum()).item() or 0.0
    frames = attempts["frames"].sum() or 0
    duration = attempts.select(
        (pl.col("ended_at").max() - pl.col("started_at").min()).dt.total_milliseconds() / 1000
    )
    offers = (
        attempts.filter(pl.col("instance_type").is_not_null())
        .group_by("instance_type", "market")
        .agg(pl.col("usd").sum())
        .sort("usd", "instance_type", descending=[True, False])
    )
    return Comparison(
        prediction=prediction,
        usd=rows.select(pl.col("usd").sum()).item() or Decimal(0),
        seconds=duration.item(),
        frames=int(frames),
        frames_per_second=int(frames) / seconds if frames and seconds else None,
        offers=tuple(offers.select("instance_type", "market").rows()),
        interruptions=attempts.filter(pl.col("end") == AttemptOutcome.INTERRUPTED).height,
        estimated=bool(rows["estimated"].any()),
    )
