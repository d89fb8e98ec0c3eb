"""The report's savings against the truth: a random day in the sandbox, and its bill."""

import pytest
from compute_rig import SharedClients

from odins_ravne_assets.odin.report import CostReport, Scope, cost_report
from resources.sandbox.config import CREDENTIALS
from resources.sandbox.cost_scenario import Held, run_scenario

SEED, SCALE = 3, 1200.0
# Of money, as a share: what the whole project allows itself.
ALLOWED = 0.001


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Held:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        return run_scenario(SEED, tmp_path_factory.mktemp("day"), SCALE, SharedClients)


@pytest.fixture(scope="module")
def report(day: Held) -> CostReport:
    latest = day.rows["ended_at"].max()
    now = latest.timestamp()  # type: ignore[union-attr]
    return cost_report(day.rows, Scope("ravne", "eu-north-1", ("north",), None, now, 0.5))


def test_rate_savings_are_those_of_the_bill(day: Held, report: CostReport) -> None:
    assert day.taken and 0 < day.bill < day.bill_on_demand
    savings = report.savings
    assert float(savings.machine_usd) == pytest.approx(day.bill, rel=ALLOWED)
    assert float(savings.machine_usd_on_demand) == pytest.approx(day.bill_on_demand, rel=ALLOWED)
    assert savings.rate == pytest.approx(1 - day.bill / day.bill_on_demand, abs=ALLOWED)


def test_effective_savings_are_against_useful_hours_alone(day: Held, report: CostReport) -> None:
    savings = report.savings
    assert savings.effective is not None and savings.rate is not None
    assert 0 < float(savings.undisturbed_usd) < float(report.computing.usd_on_demand)
    assert savings.effective < savings.rate
