"""How a step ended, as a line of its run's log: Dagster itself writes a stack trace there."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from resources.errors import RavneError


@contextmanager
def ends_told(log: dg.DagsterLogManager) -> Iterator[None]:
    """Say why a step fails, or that it was stopped; then let it."""
    try:
        yield
    except RavneError as error:
        log.error(str(error))
        raise
    except dg.Failure as failure:
        log.error(failure.description or "the step failed")
        raise
    except dg.DagsterExecutionInterruptedError:
        log.warning("stopped; what is finished is kept: run it again to go on from there")
        raise
