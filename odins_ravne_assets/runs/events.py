"""What a run's process tells the command line that started it: JSON lines on a pipe of their own.

Without such a pipe, as in a run that the UI launched, nothing is told.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

# Names the descriptor of the pipe, in the environment.
EVENTS_VARIABLE = "RAVNE_EVENTS"


def tell(event: Mapping[str, Any]) -> None:
    """Tell one event, if somebody listens."""
    descriptor = os.environ.get(EVENTS_VARIABLE)
    if descriptor is None:
        return
    try:
        os.write(int(descriptor), json.dumps(event).encode() + b"\n")
    except OSError:
        # The listener is gone. The run is stopped by the end of its standard input, not here.
        os.environ.pop(EVENTS_VARIABLE, None)


def tell_decision(text: str) -> None:
    """Tell in a sentence what a launch has decided."""
    tell({"decision": text})


def tell_cost(cost: Mapping[str, str]) -> None:
    """Tell what a launch has cost so far and will: a line, and short."""
    tell({"cost": dict(cost)})


def tell_warning(text: str) -> None:
    """Tell in a sentence what a worker warns of."""
    tell({"warning": text})


def tell_progress(progress: Mapping[str, Any]) -> None:
    """Tell how far a stage is: stage, done, total, unit."""
    tell({"progress": dict(progress)})
