"""What a profile with a cloud has in Dagster on top of the others: its policies."""

import dagster as dg

from odins_ravne_assets.defs.idle_compute import tidy_compute, unused_compute
from odins_ravne_assets.defs.late_costs_sensor import late_costs
from odins_ravne_assets.defs.storage_policy import (
    CHECK_JOB,
    DAILY,
    rules_in_force,
    storage_lifecycle,
)

CLOUD = dg.Definitions(
    assets=[storage_lifecycle],
    asset_checks=[rules_in_force],
    jobs=[CHECK_JOB, tidy_compute],
    schedules=[DAILY],
    sensors=[late_costs, unused_compute],
)
