"""Plans against the truth: random seasons in the sandbox, what was expected beside the bill.

    python benchmarks/plan_accuracy.py [--scenarios 20] [--losses 0.5]

In each season one camera is run and measured, others are planned by that, and run. Prints a line
for each. Without losses every plan has to be within 10 % of the bill, else the exit code is 1. With
losses, which come when they come, that is asked of all seasons together.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from plan_scenario import plan_and_run

from resources.aws.clients import AwsClients
from resources.sandbox.model.config import CREDENTIALS

ALLOWED = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description="Plans against the sandbox's bill.")
    parser.add_argument("--scenarios", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="Seed of the first.")
    parser.add_argument("--losses", type=float, default=0.0, help="Of a machine, per hour.")
    asked = parser.parse_args()
    os.environ |= CREDENTIALS
    worst = planned = paid = 0.0
    within = 0
    print("seed  machine      market    jobs  taken  plan USD  bill USD     off  in range")
    for seed in range(asked.first, asked.first + asked.scenarios):
        with tempfile.TemporaryDirectory(prefix="plan-accuracy-") as folder:
            found = plan_and_run(seed, Path(folder), AwsClients, asked.losses)
        plan = found.plan
        in_range = plan.usd.low <= found.truth <= plan.usd.high
        planned, paid = planned + plan.usd.expected, paid + found.truth
        worst, within = max(worst, found.off), within + in_range
        print(
            f"{seed:4}  {plan.instance_type:11}  {plan.market:8} {plan.spread.jobs:5} "
            f"{found.taken:6} {plan.usd.expected:9.4f} {found.truth:9.4f} {found.off:7.2%}  "
            f"{'yes' if in_range else 'no'}",
            flush=True,
        )
    together = abs(planned / paid - 1)
    print(f"worst {worst:.2%}, all together {together:.2%}; {within} of {asked.scenarios} in range")
    return 1 if (worst if asked.losses == 0 else together) > ALLOWED else 0


if __name__ == "__main__":
    sys.exit(main())
