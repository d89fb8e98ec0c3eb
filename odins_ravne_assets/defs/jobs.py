"""Jobs: all stages of a camera, and each stage alone. The command line runs these."""

import dagster as dg

from odins_ravne_assets.defs.assets import CAMERAS
from odins_ravne_assets.defs.silent_cameras import no_camera_is_silent

# Job -> the assets that it materializes. Stage 1 needs the footage table.
SELECTIONS = {
    "camera": ["footage", "detections", "classifications", "observations", "exports"],
    "tables": ["detections", "classifications", "observations", "exports"],
    "stage1": ["footage", "detections"],
    "stage2": ["classifications"],
    "stages2and3": ["classifications", "observations", "exports"],
    "stage3": ["observations", "exports"],
}
DESCRIPTIONS = {
    "camera": "From a camera's footage to its observations.",
    "tables": "Everything after a camera's media table; reads footage only of media that are not "
    "processed.",
    "stage1": "Read a camera's footage, detect and crop.",
    "stage2": "Classify the crops again; reads no footage.",
    "stages2and3": "Classify the crops again and recompute the visits; reads no footage.",
    "stage3": "Compress the rows into visits again; needs no model.",
}

JOBS = [
    dg.define_asset_job(
        name,
        # The check over all cameras has its own job.
        selection=dg.AssetSelection.assets(*assets) - dg.AssetSelection.checks(no_camera_is_silent),
        partitions_def=CAMERAS,
        description=DESCRIPTIONS[name],
    )
    for name, assets in SELECTIONS.items()
]

# Schedules are off until they are switched on in the UI.
DAILY_CHECK = dg.define_asset_job(
    "daily_check",
    selection=dg.AssetSelection.checks(no_camera_is_silent),
    description="Checks for cameras without new footage.",
)
COSTS = dg.define_asset_job(
    "costs", selection=["cost_report"], description="Recomputes the cost report."
)
SCHEDULES = [
    dg.ScheduleDefinition(
        name="nightly_costs",
        job=COSTS,
        cron_schedule="0 3 * * *",
        description="Recomputes the cost report.",
    ),
    dg.ScheduleDefinition(
        name="daily_silence",
        job=DAILY_CHECK,
        cron_schedule="0 6 * * *",
        description="Warns of cameras without footage for uploads.silent_days days.",
    ),
]
