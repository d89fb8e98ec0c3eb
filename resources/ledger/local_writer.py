"""The ledger of work on this machine: measured like rented machines, priced by the profile."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from resources.batch.outcome import AttemptOutcome
from resources.clock import Clock, system_clock
from resources.ledger.launch_rows import WORK_COLUMNS
from resources.ledger.money_columns import round_usd, to_timestamp
from resources.ledger.table import LEDGER_SCHEMA, write_ledger
from resources.pricing.prices import HOUR_SECONDS, CostKind, Market
from resources.storage.object_store import ObjectStore

LOCAL_PRICE_SOURCE = "the profile's pipeline.local_usd_per_hour"


@dataclass
class LocalAttempt:
    """One worker process of this machine. Times are seconds since 1970 UTC."""

    started: float
    reason: str
    ended: float | None = None
    outcome: AttemptOutcome | None = None
    message: str | None = None
    work: dict[str, float] = field(default_factory=dict)


@dataclass
class LocalLedgerWriter:
    """The ledger of one launch on this machine.

    Args:
        store: the camera's ledger.
        launch: its identity, unique among the camera's launches.
        usd_per_hour: cost of an hour of this machine.
    """

    store: ObjectStore
    camera_id: str
    launch: str
    usd_per_hour: Decimal
    clock: Clock = field(default_factory=system_clock)
    attempts: list[LocalAttempt] = field(default_factory=list)

    def start_attempt(self, reason: str) -> LocalAttempt:
        """Record the start of a worker."""
        attempt = LocalAttempt(self.clock.now(), reason)
        self.attempts.append(attempt)
        return attempt

    def end_attempt(
        self, attempt: LocalAttempt, outcome: AttemptOutcome, message: str | None
    ) -> None:
        """Record the end of a worker."""
        attempt.ended, attempt.outcome, attempt.message = self.clock.now(), outcome, message

    def write(self) -> None:
        """Write the rows as of now.

        Raises:
            StoreError: the ledger cannot be written.
        """
        rows = [self._row(number, each) for number, each in enumerate(self.attempts, start=1)]
        write_ledger(self.store, self.launch, pl.DataFrame(rows, schema=LEDGER_SCHEMA))

    def _row(self, number: int, attempt: LocalAttempt) -> dict[str, Any]:
        seconds = Decimal((attempt.ended or self.clock.now()) - attempt.started)
        usd = round_usd(self.usd_per_hour * seconds / HOUR_SECONDS)
        lost = self._lost_share(attempt, seconds)
        return {
            **dict.fromkeys(LEDGER_SCHEMA),
            "camera_id": self.camera_id,
            "launch": self.launch,
            "unit": 0,
            "attempt": f"{self.launch}-a{number}",
            "kind": CostKind.ATTEMPT,
            "market": Market.LOCAL,
            "intended_at": to_timestamp(attempt.started),
            "started_at": to_timestamp(attempt.started),
            "ended_at": to_timestamp(attempt.ended),
            "end": attempt.outcome,
            "reason": attempt.reason,
            "said": attempt.message,
            **{name: attempt.work[name] for name in WORK_COLUMNS if name in attempt.work},
            "billed_seconds": round(float(seconds), 3),
            "useful_seconds": round(float(seconds * (1 - lost)), 3),
            "usd_per_hour": self.usd_per_hour,
            "price_source": LOCAL_PRICE_SOURCE,
            "price_as_of": datetime.fromtimestamp(int(attempt.started), UTC),
            "price_verified": True,
            "usd": usd,
            "usd_on_demand": usd,
            "usd_wasted": round_usd(usd * lost),
            "wasted_why": f"attempt ended: {attempt.outcome}" if lost and usd else None,
            "estimated": attempt.ended is None,
        }

    def _lost_share(self, attempt: LocalAttempt, seconds: Decimal) -> Decimal:
        """The share of an attempt's time after the last work that it finished."""
        if attempt.outcome in (None, AttemptOutcome.DONE) or not seconds:
            return Decimal(0)
        useful = Decimal(attempt.work.get("useful_seconds", 0.0))
        return 1 - min(Decimal(1), useful / seconds)
