"""The asset checks: what must hold of a camera's tables. `munin/tables/checks.py` finds out."""

import warnings

import dagster as dg

# asset -> its checks, and what each asks.
CHECKS = {
    "footage": {"times_present": "Every usable media file has a capture time."},
    "detections": {
        "nothing_lost": "Every media file is done, failed with a reason, or a duplicate.",
        "detections_sane": "Confidences are 0 to 1, boxes lie in their pictures, none is twice.",
    },
    "classifications": {
        "every_box_labelled": "Every box has one label, with a confidence of 0 to 1."
    },
    "observations": {
        "rows_accounted_for": "Every labelled box is in a visit, or was left out by a stated rule."
    },
}


def check_specs(cameras: dg.PartitionsDefinition[str], *assets: str) -> list[dg.AssetCheckSpec]:
    """The checks of these assets, each with an outcome per camera."""
    with warnings.catch_warnings():
        # Dagster calls checks of partitions a preview. Without them the last camera's outcome
        # would stand for all: a check that passed would hide one that failed.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(name, asset=asset, description=description, partitions_def=cameras)
            for asset in assets
            for name, description in CHECKS.get(asset, {}).items()
        ]
