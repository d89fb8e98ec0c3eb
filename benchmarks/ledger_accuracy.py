"""The cost ledger against the truth: random days in the sandbox, its bill beside the ledger's sum.

    python benchmarks/ledger_accuracy.py [--scenarios 50]

Prints a line for each day and ends with exit code 1 if a total or an attempt is off by more than
0.1 %.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from ledger_scenario import run_scenario

from resources.aws.clients import AwsClients
from resources.sandbox.model.config import CREDENTIALS

ALLOWED = 0.001


def main() -> int:
    parser = argparse.ArgumentParser(description="The cost ledger against the sandbox's bill.")
    parser.add_argument("--scenarios", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="Seed of the first.")
    asked = parser.parse_args()
    os.environ |= CREDENTIALS
    worst_total = worst_attempt = 0.0
    attempts = 0
    print("seed  machines taken attempts   bill USD  ledger USD     off  worst attempt")
    for seed in range(asked.first, asked.first + asked.scenarios):
        with tempfile.TemporaryDirectory(prefix="ledger-accuracy-") as folder:
            held = run_scenario(seed, Path(folder), AwsClients)
        attempts += len(held.attempts)
        worst_total = max(worst_total, held.off)
        worst_attempt = max(worst_attempt, held.worst_attempt)
        print(
            f"{seed:4}  {held.machines:8} {held.taken:5} {len(held.attempts):8} "
            f"{held.bill:10.4f} {held.ledger:11.4f} {held.off:7.3%} {held.worst_attempt:14.3%}",
            flush=True,
        )
    print(f"{attempts} attempts; worst total {worst_total:.4%}, worst attempt {worst_attempt:.4%}")
    return 1 if max(worst_total, worst_attempt) > ALLOWED else 0


if __name__ == "__main__":
    sys.exit(main())
