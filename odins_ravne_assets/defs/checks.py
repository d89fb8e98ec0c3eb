"""Specs of the asset checks on a camera's tables. `munin/tables/checks.py` evaluates them."""

import warnings

import dagster as dg

# Asset -> its checks, and the description of each.
CHECKS = {
    "footage": {"times_present": "Every usable media file has a capture time."},
    "detections": {
        "nothing_lost": "Every media file is done, failed with a reason, or a duplicate.",
        "detections_sane": "Confidences are 0 to 1, boxes lie within pictures, none is duplicated.",
    },
    "classifications": {
        "every_box_labelled": "Every box has one label, with a confidence of 0 to 1."
    },
    "observations": {
        "rows_accounted_for": "Every labelled box is in a visit, or excluded by a stated rule."
    },
}


def check_specs(cameras: dg.PartitionsDefinition[str], *assets: str) -> list[dg.AssetCheckSpec]:
    """Return the checks of these assets, each with an outcome per camera."""
    with warnings.catch_warnings():
        # Partitioned checks are a preview in Dagster. Without them, the outcome of the last camera
        # would be shown for all: a check that passed would hide one that failed.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(name, asset=asset, description=description, partitions_def=cameras)
            for asset in assets
            for name, description in CHECKS.get(asset, {}).items()
        ]
