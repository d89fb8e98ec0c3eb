"""The asset checks: what must hold of a camera's tables. `munin/quality.py` finds out."""

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


def check_specs(*assets: str) -> list[dg.AssetCheckSpec]:
    """The checks of these assets."""
    return [
        dg.AssetCheckSpec(name, asset=asset, description=description)
        for asset in assets
        for name, description in CHECKS[asset].items()
    ]
