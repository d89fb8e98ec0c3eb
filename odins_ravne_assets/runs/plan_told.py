"""Whether a run has told all that it was to make."""

from collections.abc import Collection

import dagster as dg
from dagster import DagsterEventType

PLANNED = {
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
}
TOLD = {DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_CHECK_EVALUATION}


def has_told_all(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether each asset and each check of a run's plan is in the event log, for its partition.

    A run without a plan has told nothing.
    """
    planned = _subjects(instance, run, PLANNED)
    return bool(planned) and planned <= _subjects(instance, run, TOLD)


def has_told_something(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether an asset or a check of a run's plan is in the event log."""
    return bool(_subjects(instance, run, TOLD))


def _subjects(
    instance: dg.DagsterInstance, run: dg.DagsterRun, kinds: Collection[DagsterEventType]
) -> set[tuple[object, ...]]:
    """What a run's events of some kinds are about."""
    entries = instance.all_logs(run.run_id, of_type=set(kinds))
    return {_subject(entry.get_dagster_event()) for entry in entries}


def _subject(event: dg.DagsterEvent) -> tuple[object, ...]:
    match event.event_type:
        case DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            return (event.asset_check_planned_data.asset_check_key,)
        case DagsterEventType.ASSET_CHECK_EVALUATION:
            return (event.asset_check_evaluation_data.asset_check_key,)
    return (event.asset_key, event.partition)
