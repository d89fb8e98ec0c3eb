"""Automation conditions: observations that update themselves, once the sensor is switched on.

A run of all stages triggers nothing further: no work is done twice. A run of one stage alone, or a
change of Stage 3's settings, triggers all downstream assets in one launch per camera. After a
change of settings only the cameras whose results were made with others are run: settings that are
changed and changed back cost nothing. A new classifier alone does not trigger labelling, since a
GPU for all cameras costs money: use `munin backfill --stages 2-3`.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import dagster as dg

from odins_ravne_assets.runs.code_versions_of_results import latest_code_versions

_Condition = dg.AutomationCondition[Any]


@dataclass(frozen=True)
class ResultsOfOtherSettings(dg.AutomationCondition[dg.AssetKey]):
    """True for the partitions whose newest result was made with another code version than today's.

    A stored result is compared, not the definition of the last tick. So a camera is not run again
    when settings are changed back before its run, or when its results were made with them already.
    """

    @property
    def name(self) -> str:
        return "results_of_other_settings"

    def evaluate(
        self, context: dg.AutomationContext[dg.AssetKey]
    ) -> dg.AutomationResult[dg.AssetKey]:
        candidates = context.candidate_subset
        if candidates.is_empty:
            return dg.AutomationResult(context, context.get_empty_subset())
        view = context.asset_graph_view
        today = view.asset_graph.get(context.key).code_version
        partitions = candidates.expensively_compute_partition_keys()
        made = latest_code_versions(view.instance, context.key, partitions)
        other = {partition for partition, version in made.items() if version != today}
        found = candidates.compute_intersection_with_partition_keys(other)
        return dg.AutomationResult(context, found)


_DONE = dg.AutomationCondition.newly_requested() | dg.AutomationCondition.newly_updated()
_DEPENDENCIES_UPDATED = dg.AutomationCondition.any_deps_updated().since(_DONE)
# Settings that change in the tick in which a request for the former ones is noticed count.
_VERSION_CHANGED = dg.AutomationCondition.code_version_changed()
_SETTINGS_CHANGED = _VERSION_CHANGED.since(_DONE & ~_VERSION_CHANGED) & ResultsOfOtherSettings()


def _when_ready(wanted: _Condition, label: str) -> _Condition:
    """Update as soon as no dependency is missing or in progress."""
    condition = dg.AutomationCondition
    return (
        wanted
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    ).with_label(label)


UPDATE_LABELS = _when_ready(_DEPENDENCIES_UPDATED, "labels update with the boxes of their camera")
UPDATE_VISITS = _when_ready(
    _DEPENDENCIES_UPDATED | _SETTINGS_CHANGED,
    "visits update with the labels of their camera, and with the settings",
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)  # of use_user_code_server
    observations_follow = dg.AutomationConditionSensorDefinition(
        "observations_follow",
        target=dg.AssetSelection.assets("classifications", "observations", "exports"),
        description="Recomputes observations and exports when a camera's boxes or labels have "
        "changed, and, when Stage 3's settings have changed, of the cameras whose results were "
        "made with others.",
        use_user_code_server=True,  # only that knows ResultsOfOtherSettings
    )
