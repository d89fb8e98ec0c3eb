"""The callbacks and queries of a launcher."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from resources.batch.work_units import ExpectedMedium
from resources.launch.base import StepRequest
from resources.settings.profile import Profile
from resources.storage.layout import uploaded_footage_url
from resources.storage.object_store import ObjectStore

# A worker's progress: stage, done, total (may be None), unit.
Progress = Mapping[str, Any]
OnProgress = Callable[[Progress], None]
OnLog = Callable[[str], None]
OnWarning = Callable[[str], None]
OnCost = Callable[[Mapping[str, str]], None]
KnownOutputs = Callable[[], Iterable[tuple[str, str]]]
CloseDeadRuns = Callable[[dg.DagsterInstance], None]


def ignore(_: Any) -> None:
    """Do nothing: the default of a callback."""


@dataclass(frozen=True)
class FootageQueries:
    """Queries about a camera's footage, which the stages answer. By default, nothing is known.

    Args:
        expected_media: return the usable media of a camera's media table, in order.
        is_media: return True if a key of the footage is an image or a video.
        copy_url: return the URL on S3 to which a request's local footage is copied for its jobs;
            each source of a camera has its own.
        needs_machine: return True if the step has to read footage (the first store), to analyse
            media or to classify crops; False if it only writes tables into the results (the second
            store), which any machine can do.
    """

    expected_media: Callable[[ObjectStore, Profile], Iterable[ExpectedMedium]] = lambda *_: ()
    is_media: Callable[[str], bool] = lambda _: True
    copy_url: Callable[[StepRequest, ObjectStore, Profile], str] = lambda request, *_: (
        uploaded_footage_url(request.camera_id, request.output_url)
    )
    needs_machine: Callable[[StepRequest, ObjectStore, ObjectStore, Profile], bool] = lambda *_: (
        True
    )


@dataclass(frozen=True, kw_only=True)
class LaunchHooks:
    """Everything that a launcher reports to or asks. By default, each hook does nothing.

    Args:
        footage: queries about the camera's footage.
        known_outputs: return the id and output URL of each camera with results on S3 that this
            machine knows. Their costs count into the budget of the month, and their jobs into
            `max_parallel_jobs`.
        close_dead_runs: mark the runs of a Dagster instance whose process was killed as failed,
            which frees their slots.
        on_progress: called with a worker's progress, for all work units together.
        on_log: called with each decision of a launch, one sentence, as it is written to the run's
            log.
        on_warning: called with each warning of a worker, which is in the run's log too.
        on_cost: called with the cost of a launch so far and its expected rest: `line`, a sentence,
            and `short`, a few characters.
    """

    footage: FootageQueries = FootageQueries()
    known_outputs: KnownOutputs = tuple
    close_dead_runs: CloseDeadRuns = ignore
    on_progress: OnProgress = ignore
    on_log: OnLog = ignore
    on_warning: OnWarning = ignore
    on_cost: OnCost = ignore
