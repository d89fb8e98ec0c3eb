"""The worker process of a launched step: `python -m odins_ravne_assets.worker`.

Reads its parameters from Dagster Pipes and reports results there. Exit codes: 0 done, 1 failed (the
reason is reported), 143 stopped with its work saved.
"""

import sys

from dagster_pipes import open_dagster_pipes

from odins_ravne_assets.worker.host import current_host
from resources.batch.outcome import EXIT_FAILED


def main() -> int:
    """Run the worker; report a dependency that cannot be imported like any other error."""
    try:
        from odins_ravne_assets.worker.pipes_worker import run_worker
    except ImportError as error:
        host = current_host()
        with open_dagster_pipes(
            context_loader=host.context_loader, message_writer=host.message_writer
        ) as pipes:
            pipes.report_custom_message({"error": f"{error}; run munin doctor"})
        return EXIT_FAILED
    return run_worker()


if __name__ == "__main__":
    sys.exit(main())
