"""Observations that follow by themselves, when somebody has switched that on.

What a run of all stages makes together is left alone: nothing is run twice. What is made of the
rows of one stage alone, or by other settings of Stage 3, is followed by all that depends on it, in
one launch per camera. Labels do not follow another classifier by themselves, since a GPU for all
cameras costs money: for that there is `munin backfill --stages 2-3`.
"""

from typing import Any

import dagster as dg

_Condition = dg.AutomationCondition[Any]


def _follow(news: _Condition, label: str) -> _Condition:
    """Once for each news, as soon as nothing that it depends on is missing or being made."""
    condition = dg.AutomationCondition
    done = condition.newly_requested() | condition.newly_updated()
    return (
        news.since(done)
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    ).with_label(label)


UPDATE_LABELS = _follow(
    dg.AutomationCondition.any_deps_updated(), "labels follow the boxes of their camera"
)
UPDATE_VISITS = _follow(
    dg.AutomationCondition.any_deps_updated() | dg.AutomationCondition.code_version_changed(),
    "visits follow the labels of their camera, and the settings",
)

observations_follow = dg.AutomationConditionSensorDefinition(
    "observations_follow",
    target=dg.AssetSelection.assets("classifications", "observations", "exports"),
    description="Makes observations and exports anew when a camera's boxes or labels are new, and "
    "for all cameras when Stage 3's settings are others.",
)
