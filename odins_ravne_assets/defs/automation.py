"""Automation conditions: observations that update themselves, once the sensor is switched on.

A run of all stages triggers nothing further: no work is done twice. A run of one stage alone, or a
change of Stage 3's settings, triggers all downstream assets in one launch per camera. A new
classifier alone does not trigger labelling, since a GPU for all cameras costs money: use
`munin backfill --stages 2-3`.
"""

from typing import Any

import dagster as dg

_Condition = dg.AutomationCondition[Any]


def _update_on(trigger: _Condition, label: str) -> _Condition:
    """Update once per trigger, as soon as no dependency is missing or in progress."""
    condition = dg.AutomationCondition
    done = condition.newly_requested() | condition.newly_updated()
    return (
        trigger.since(done)
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    ).with_label(label)


UPDATE_LABELS = _update_on(
    dg.AutomationCondition.any_deps_updated(), "labels update with the boxes of their camera"
)
UPDATE_VISITS = _update_on(
    dg.AutomationCondition.any_deps_updated() | dg.AutomationCondition.code_version_changed(),
    "visits update with the labels of their camera, and with the settings",
)

observations_follow = dg.AutomationConditionSensorDefinition(
    "observations_follow",
    target=dg.AssetSelection.assets("classifications", "observations", "exports"),
    description="Recomputes observations and exports when a camera's boxes or labels have "
    "changed, and for all cameras when Stage 3's settings have changed.",
)
