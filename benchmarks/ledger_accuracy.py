"""The accuracy of the cost ledger: random days in the sandbox, compared with its bill.

    python benchmarks/ledger_accuracy.py [--scenarios 50]

Prints a line per day. The exit code is 1 if the error of a total or an attempt is above 0.1 %.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from ledger_scenario import run_scenario

from resources.aws.clients import AwsClients
from resources.sandbox.model.config import CREDENTIALS

MAX_ERROR = 0.001


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the cost ledger with the sandbox's bill.")
    parser.add_argument("--scenarios", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="Seed of the first scenario.")
    arguments = parser.parse_args()
    os.environ |= CREDENTIALS
    max_total_error = max_attempt_error = 0.0
    attempts = 0
    print("seed  machines interrupted attempts   bill USD  ledger USD   error  max attempt error")
    for seed in range(arguments.first, arguments.first + arguments.scenarios):
        with tempfile.TemporaryDirectory(prefix="ledger-accuracy-") as folder:
            result = run_scenario(seed, Path(folder), AwsClients)
        attempts += len(result.attempts)
        max_total_error = max(max_total_error, result.error)
        max_attempt_error = max(max_attempt_error, result.max_attempt_error)
        print(
            f"{seed:4}  {result.machines:8} {result.interrupted:11} {len(result.attempts):8} "
            f"{result.bill:10.4f} {result.ledger:11.4f} {result.error:7.3%} "
            f"{result.max_attempt_error:18.3%}",
            flush=True,
        )
    print(
        f"{attempts} attempts; max total error {max_total_error:.4%}, "
        f"max attempt error {max_attempt_error:.4%}"
    )
    return 1 if max(max_total_error, max_attempt_error) > MAX_ERROR else 0


if __name__ == "__main__":
    sys.exit(main())
