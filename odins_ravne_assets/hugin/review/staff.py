"""People at work on the camera, by the label of a reviewer: they are no visit.

`setup`, `pickup` and `staff` are a set-up of the camera in the terms of Camtrap DP (which has no
other word for a visit of staff), `calibration` is its calibration.
"""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import (
    CAMERA_CALIBRATION,
    CAMERA_SETUP,
    CATEGORY_NAMES,
    LEFT_OUT,
    Identifications,
    SpeciesName,
)

STAFF_LABELS: Mapping[str, str] = {
    "setup": CAMERA_SETUP,
    "pickup": CAMERA_SETUP,
    "staff": CAMERA_SETUP,
    "calibration": CAMERA_CALIBRATION,
}
STAFF_SCIENTIFIC_NAME = CATEGORY_NAMES["person"].scientific_name


def leave_out_staff(identified: Identifications) -> Identifications:
    """Return the identifications with `left_out` set where a reviewer named staff.

    Args:
        identified: identifications after corrections, with `review`.
    """
    codes = {
        identified.names.code(SpeciesName(label, STAFF_SCIENTIFIC_NAME)): reason
        for label, reason in STAFF_LABELS.items()
    }
    reason = pl.col("name").replace_strict(codes, default=None, return_dtype=pl.String)
    is_staff = pl.col("review").is_not_null() & reason.is_not_null()
    left_out = pl.when(is_staff).then(reason.cast(LEFT_OUT)).otherwise("left_out")
    return replace(identified, rows=identified.rows.with_columns(left_out=left_out))
