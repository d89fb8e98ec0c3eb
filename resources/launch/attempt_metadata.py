"""The attempts of a launch as Dagster metadata: numbers, and a table."""

from typing import Any

import dagster as dg

from resources.batch.jobs import job_console_url
from resources.batch.launch_record import Attempt, LaunchRecord
from resources.clock import Clock

ATTEMPT_COLUMNS = {
    "attempt": "int",
    "queue": "string",
    "machine": "string",
    "minutes": "float",
    "end": "string",
    "why it was submitted": "string",
}


def launch_metadata(record: LaunchRecord, region: str, clock: Clock) -> dict[str, Any]:
    """Return the metadata of a launch's attempts."""
    attempts = list(record.attempts)
    queued = sum(
        (each.started_at or each.ended_at or clock.now()) - each.intended_at for each in attempts
    )
    worked = sum(
        (each.ended_at or clock.now()) - each.started_at for each in attempts if each.started_at
    )
    rows = [_attempt_row(number, each) for number, each in enumerate(attempts, start=1)]
    jobs = [each.job_id for each in attempts if each.job_id]
    metadata: dict[str, Any] = {
        "compute/attempts": len(attempts),
        "compute/interruptions": sum(unit.interruptions for unit in record.units),
        "compute/queue_seconds": round(queued, 1),
        "compute/gpu_seconds": round(worked, 1),
        "compute/units": len(record.units),
        "launch/attempts": _table(rows),
    }
    if jobs:
        metadata["launch/last_job"] = dg.MetadataValue.url(job_console_url(region, jobs[-1]))
    return metadata


def _table(rows: list[list[Any]]) -> dg.TableMetadataValue:
    records = [dg.TableRecord(dict(zip(ATTEMPT_COLUMNS, row, strict=True))) for row in rows]
    columns = [dg.TableColumn(name, kind) for name, kind in ATTEMPT_COLUMNS.items()]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def _attempt_row(number: int, attempt: Attempt) -> list[Any]:
    host = attempt.host
    machine = f"{host.get('instance_type', '')} {host.get('zone', '')}".strip() or "none"
    minutes = (
        round((attempt.ended_at - attempt.started_at) / 60, 1)
        if attempt.started_at and attempt.ended_at
        else None
    )
    outcome = attempt.end.value if attempt.end else ""
    return [number, attempt.queue.value, machine, minutes, outcome, attempt.reason]
