"""Events that a run's process sends to the command that started it: JSON lines on a pipe.

Without such a pipe, as in a run that the UI launched, nothing is sent.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

# The environment variable with the descriptor of the pipe.
EVENTS_VARIABLE = "RAVNE_EVENTS"


def emit_event(event: Mapping[str, Any]) -> None:
    """Send one event, if there is a listener."""
    descriptor = os.environ.get(EVENTS_VARIABLE)
    if descriptor is None:
        return
    try:
        os.write(int(descriptor), json.dumps(event).encode() + b"\n")
    except OSError:
        # The listener has ended. The end of standard input stops the run, not this.
        os.environ.pop(EVENTS_VARIABLE, None)


def emit_decision(text: str) -> None:
    """Send a decision of the launcher, as a sentence."""
    emit_event({"decision": text})


def emit_cost(cost: Mapping[str, str]) -> None:
    """Send the cost of a launch so far and its forecast: `line`, and `short` for a progress bar."""
    emit_event({"cost": dict(cost)})


def emit_warning(text: str) -> None:
    """Send a worker's warning, as a sentence."""
    emit_event({"warning": text})


def emit_progress(progress: Mapping[str, Any]) -> None:
    """Send the progress of a stage: stage, done, total, unit."""
    emit_event({"progress": dict(progress)})
