"""Invented visits with a reviewer's labels, of which tests/support/saved_tables are the tables."""

from datetime import datetime
from pathlib import Path

import polars as pl
from camera_tables import NIGHT, SECOND, Camera

from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.exports.export_tables import open_export_tables
from odins_ravne_assets.hugin.exports.observation_rows import (
    observation_rows,
    write_observations_xlsx,
)
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from resources.settings.profile import Privacy, Stage3
from resources.settings.project import Project
from resources.spreadsheets.formula_marks import mark
from resources.storage.local_store import LocalStore

SAVED_TABLES = Path(__file__).parent / "saved_tables"
CAMERA_ID = "camera7"
HARE = {"label": "brown hare", "scientific_name": "Lepus europaeus"}
# Labels and comments of the reviewer, by the path of a visit's first medium.
LABELS = {
    "=1+1 räv.jpg": ("red fox", '=HYPERLINK("http://x")'),
    "DCIM/2,5; 1.jpg": ("nothing", 'räv; "två", snö\n-inte en formel'),
    "DCIM/3.jpg": ("Lepus timidus", "'+1"),
}
# As a field worker types them: numbers and days as cells of their own.
DEPLOYMENTS = (
    ("cameraID", "latitude", "longitude", "deploymentStart", "deploymentEnd", "utcOffset", "note"),
    (CAMERA_ID, 59.3217, 17.5, datetime(2026, 5, 1, 9, 30), datetime(2026, 5, 3), "+02:00", "=1"),
    ("räv 8", -0.25, 100, datetime(2026, 4, 1), datetime(2026, 5, 28), "", "56.5"),
)


def make_store(folder: Path) -> LocalStore:
    """Make the results of the camera, and its exports."""
    camera = Camera(CAMERA_ID)
    camera.medium("=1+1 räv.jpg", NIGHT, [{"label": "@fox", "scientific_name": None}], offset=120)
    camera.medium("DCIM/2,5; 1.jpg", NIGHT + 40_000 * SECOND, [HARE])
    camera.medium("DCIM/3.jpg", NIGHT + 90_000 * SECOND, [HARE])
    store = camera.store(folder)
    run_stage3(store, Stage3(), {}, Privacy())
    export_camera(store, CAMERA_ID, Project(), Privacy())
    return store


def write_filled(store: LocalStore, folder: Path) -> None:
    """Write observations.csv and .xlsx as a reviewer fills them in; texts are marked."""
    with open_export_tables(store, store, CAMERA_ID) as tables:
        rows = observation_rows(tables.observations)
        paths = tables.observations["source_video"].to_list()
        filled = rows.with_columns(
            pl.Series(name, [mark(LABELS[path][place]) for path in paths], pl.String)
            for place, name in enumerate(("confirmed_species", "comment"))
        )
        filled.write_csv(folder / "observations.csv")
        write_observations_xlsx(filled, tables.taxonomy, folder / "observations.xlsx")
