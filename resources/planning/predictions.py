"""A plan's prediction, kept where the camera's output lies; and what the run then cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from resources.errors import StoreError
from resources.planning.throughput import STAGE_SECONDS_COLUMNS
from resources.storage.object_store import ObjectStore

PREDICTION_KEY_FORMAT = "%Y-%m-%dT%H-%M-%SZ.json"


class PredictedOffer(BaseModel):
    """What was predicted for a machine type and market: this camera's share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instance_type: str
    market: str
    usd: float
    usd_per_hour: float
    frames_per_second: float


class Prediction(BaseModel):
    """What a plan expected one camera's run to cost.

    Args:
        made_at: seconds since 1970 UTC.
        frames: that were to be looked at, at most.
        usd: expected; in 18 of 20 runs between `usd_low` and `usd_high`.
        instance_type, market: what the run was most likely to use.
        measured: whether its speed was measured, or assumed.
        offers: all types and markets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    """A prediction, and what came of it.

    Args:
        usd: what the runs since the prediction cost, until the next one was made.
        seconds: from the first attempt's start to the last one's end; None: none has ended.
        frames: that they looked at.
        frames_per_second: of all their stages; None: nothing was told.
        offers: type and market of each machine hour that was paid, the dearest first.
        interruptions: attempts whose machine EC2 took.
        estimated: the ledger does not know all yet.
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
        """Of the cost from what was predicted, as a share of that; 0.1: a tenth dearer."""
        return float(self.usd) / self.prediction.usd - 1 if self.prediction.usd else 0.0

    @property
    def within_range(self) -> bool:
        return self.prediction.usd_low <= self.usd <= self.prediction.usd_high

    def reasons(self) -> list[str]:
        """What was otherwise than predicted, each a sentence's part."""
        predicted, found = self.prediction, []
        if self.frames and abs(self.frames / max(1, predicted.frames) - 1) > 0.05:
            found.append(f"{self.frames} frames were looked at, not {predicted.frames}")
        speed = self.frames_per_second
        if speed and abs(speed / predicted.frames_per_second - 1) > 0.05:
            how = "measured before" if predicted.measured else "assumed"
            told = f"{predicted.frames_per_second:.1f} {how}"
            found.append(f"{speed:.1f} frames/s, not the {told}")
        planned = (predicted.instance_type, predicted.market)
        others = [f"{kind} {market}" for kind, market in self.offers if (kind, market) != planned]
        if others:
            found.append(f"{' and '.join(others)} beside or instead of {' '.join(planned)}")
        if self.interruptions:
            times = f"{self.interruptions} time{'s' * (self.interruptions != 1)}"
            found.append(f"EC2 took the machine {times}")
        return found


def save_prediction(store: ObjectStore, prediction: Prediction) -> None:
    """Write a prediction down.

    Raises:
        StoreError: the store cannot be written.
    """
    name = datetime.fromtimestamp(prediction.made_at, UTC).strftime(PREDICTION_KEY_FORMAT)
    store.write_bytes(name, prediction.model_dump_json(indent=1).encode() + b"\n")


def load_predictions(store: ObjectStore) -> list[Prediction]:
    """A camera's predictions, in order of time.

    Raises:
        StoreError: one cannot be read, or is none.
    """
    found = []
    for stored in list(store.list()):
        if stored.key.endswith(".json"):
            try:
                found.append(Prediction.model_validate_json(store.read_bytes(stored.key)))
            except ValidationError:
                raise StoreError(
                    f"{store.url}/{stored.key}: is no plan of this version; delete it"
                ) from None
    return sorted(found, key=lambda each: each.made_at)


def compare_predictions(
    predictions: Sequence[Prediction], ledger: pl.DataFrame
) -> list[Comparison]:
    """Each prediction that something was run after, with what that cost.

    Args:
        predictions: of one camera, in order of time.
        ledger: rows of `cost_ledger.SCHEMA`; other cameras' are left out.
    """
    found = []
    for place, prediction in enumerate(predictions, start=1):
        end = predictions[place].made_at if place < len(predictions) else float("inf")
        rows = _rows_of(prediction, end, ledger)
        if not rows.is_empty():
            found.append(_comparison(prediction, rows))
    return found


def _rows_of(prediction: Prediction, end: float, ledger: pl.DataFrame) -> pl.DataFrame:
    """Rows of the launches whose first attempt was intended before the next prediction."""
    own = ledger.filter(pl.col("camera_id") == prediction.camera_id)
    # A machine may have been launched before, for another camera: attempts alone tell.
    intended = pl.col("intended_at").filter(pl.col("kind") == "attempt").min().over("launch")
    began = (intended.dt.epoch("ms") / 1000).alias("began")
    since = own.with_columns(began).filter(pl.col("began") >= prediction.made_at)
    return since.filter(pl.col("began") < end)


def _comparison(prediction: Prediction, rows: pl.DataFrame) -> Comparison:
    attempts = rows.filter(pl.col("kind") == "attempt")
    seconds = attempts.select(pl.sum_horizontal(STAGE_SECONDS_COLUMNS).sum()).item() or 0.0
    frames = attempts["frames"].sum() or 0
    took = attempts.select(
        (pl.col("ended_at").max() - pl.col("started_at").min()).dt.total_milliseconds() / 1000
    )
    paid = (
        attempts.filter(pl.col("instance_type").is_not_null())
        .group_by("instance_type", "market")
        .agg(pl.col("usd").sum())
        .sort("usd", "instance_type", descending=[True, False])
    )
    return Comparison(
        prediction,
        rows.select(pl.col("usd").sum()).item() or Decimal(0),
        took.item(),
        int(frames),
        int(frames) / seconds if frames and seconds else None,
        tuple(paid.select("instance_type", "market").rows()),
        attempts.filter(pl.col("end") == "interrupted").height,
        bool(rows["estimated"].any()),
    )
