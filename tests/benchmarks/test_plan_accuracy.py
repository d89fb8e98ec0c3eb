"""Plans against the sandbox's bill: `benchmarks/plan_accuracy.py`, on a small scale."""

from pathlib import Path

import pytest
from compute_rig import SharedClients
from plan_scenario import plan_and_run

from resources.sandbox.model.config import CREDENTIALS


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_expected_is_within_a_tenth_of_the_bill(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    found = plan_and_run(seed, tmp_path, SharedClients)
    assert found.truth > 0
    assert found.off < 0.1
    assert found.plan.usd.low < found.truth < found.plan.usd.high
