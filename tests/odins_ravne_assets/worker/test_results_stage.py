"""Stage 3 of a step: the deployments that its report and exports are made with."""

from pathlib import Path
from threading import Event

from camera_tables import NIGHT
from camera_tables import Camera as Tables

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.hugin.visits.stored_deployments import read_deployments
from odins_ravne_assets.worker.context import StepContext
from odins_ravne_assets.worker.results_stage import run_exports, run_observations
from resources.settings.loader import load_profile
from tests.odins_ravne_assets.worker.test_recording_settings import SilentReporter

STAY = {"cameraID": "ridge", "latitude": 59.32, "longitude": 17.12}
STAY |= {"deploymentStart": "2026-05-01", "deploymentEnd": "2026-05-31"}


def test_results_without_their_footage_keep_the_deployments_of_the_last_run(tmp_path: Path) -> None:
    tables = Tables("ridge")
    tables.medium("1.jpg", NIGHT, [{}], offset=120)
    store = tables.store(tmp_path / "results")
    footage = tmp_path / "cards" / "ridge"
    camera = Camera("ridge", footage.as_uri(), store.root.as_uri())

    def stage3(**settings: object) -> bool:
        """Run Stage 3; return whether there is a package of Camtrap DP, which needs the place."""
        profile = load_profile("local", settings, {})
        context = StepContext(camera, profile, SilentReporter(), Event())
        run_observations(context)
        run_exports(context)
        return store.exists("stage3/camtrap-dp/deployments.csv")

    footage.mkdir(parents=True)
    assert stage3(**{"project.deployments": [STAY]})
    assert "2026-05-01 to 2026-05-31 by the deployments" in (
        store.read_bytes("stage3/report.html").decode()
    )
    footage.rmdir()
    assert stage3() and read_deployments(store)
    footage.mkdir()  # the table was removed
    assert not stage3() and not read_deployments(store)
