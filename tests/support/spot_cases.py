"""A unit, rules and offers for the tests of the spot and retry policies."""

from dataclasses import replace
from decimal import Decimal

from resources.batch.outcome import AttemptOutcome
from resources.pricing.economics import Offer
from resources.settings.profile import Compute, CostOptimization
from resources.spot.policy import Rules, UnitState

NOW = 1_795_000_000.0
HOUR = 3600.0
RULES = Rules(Compute(), CostOptimization())
UNIT = UnitState(work_seconds=HOUR, ready_since=NOW)
CHEAP = Offer("g4dn.xlarge", "eu-north-1a", Decimal("0.1881"), Decimal("0.558"))
# Within the bid of 70 %, but saves less than half.
POOR = replace(CHEAP, spot=Decimal("0.33"))
OVER_BID = replace(CHEAP, spot=Decimal("0.40"))


def rules(**changes: object) -> Rules:
    """Return the default rules with some keys of compute or cost_optimization changed."""
    of_compute = {key: value for key, value in changes.items() if key in Compute.model_fields}
    of_cost = {key: value for key, value in changes.items() if key in CostOptimization.model_fields}
    assert len(of_compute) + len(of_cost) == len(changes)
    return Rules(Compute.model_validate(of_compute), CostOptimization.model_validate(of_cost))


NO_FALLBACK = rules(fallback_to_ondemand=False)
# Outcomes of workers that crashed on a healthy machine.
CRASHES = [AttemptOutcome.CRASHED, AttemptOutcome.OUT_OF_MEMORY, AttemptOutcome.TIME_LIMIT]
