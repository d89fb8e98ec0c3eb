"""The accuracy of plans: random seasons in the sandbox, compared with its bill.

    python benchmarks/plan_accuracy.py [--scenarios 20] [--losses 0.5]

In each season one camera is run and measured; others are planned with the measurement, and run.
Prints a line per season. Without interruptions, the exit code is 1 if the error of any plan is
above 10 %. With random interruptions, that applies to the sum of all seasons.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from plan_scenario import plan_and_run

from resources.aws.clients import AwsClients
from resources.sandbox.model.config import CREDENTIALS

MAX_ERROR = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare plans with the sandbox's bill.")
    parser.add_argument("--scenarios", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="Seed of the first scenario.")
    parser.add_argument("--losses", type=float, default=0.0, help="Interruptions per machine hour.")
    arguments = parser.parse_args()
    os.environ |= CREDENTIALS
    max_error = planned = billed = 0.0
    within = 0
    print("seed  machine      market    jobs  interrupted  plan USD  bill USD   error  in range")
    for seed in range(arguments.first, arguments.first + arguments.scenarios):
        with tempfile.TemporaryDirectory(prefix="plan-accuracy-") as folder:
            result = plan_and_run(seed, Path(folder), AwsClients, arguments.losses)
        plan = result.plan
        in_range = plan.usd.low <= result.billed_usd <= plan.usd.high
        planned, billed = planned + plan.usd.expected, billed + result.billed_usd
        max_error, within = max(max_error, result.error), within + in_range
        print(
            f"{seed:4}  {plan.instance_type:11}  {plan.market:8} {plan.layout.jobs:5} "
            f"{result.interrupted:12} {plan.usd.expected:9.4f} {result.billed_usd:9.4f} "
            f"{result.error:7.2%}  {'yes' if in_range else 'no'}",
            flush=True,
        )
    total_error = abs(planned / billed - 1)
    print(
        f"max error {max_error:.2%}, total error {total_error:.2%}; "
        f"{within} of {arguments.scenarios} in range"
    )
    return 1 if (max_error if arguments.losses == 0 else total_error) > MAX_ERROR else 0


if __name__ == "__main__":
    sys.exit(main())
