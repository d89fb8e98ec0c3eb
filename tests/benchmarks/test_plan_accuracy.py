"""Plans compared with the sandbox's bill: `benchmarks/plan_accuracy.py` on a small scale."""

from pathlib import Path

import pytest
from compute_rig import SharedClients
from plan_scenario import plan_and_run

from resources.sandbox.model.config import CREDENTIALS


@pytest.mark.parametrize("seed", [1, 2])
def test_the_expected_cost_is_within_ten_percent_of_the_bill(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    result = plan_and_run(seed, tmp_path, SharedClients)
    assert result.billed_usd > 0
    assert result.error < 0.1
    assert result.plan.usd.low < result.billed_usd < result.plan.usd.high
