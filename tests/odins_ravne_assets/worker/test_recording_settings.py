"""When a step writes the models and settings of its results."""

from pathlib import Path
from threading import Event

import pytest

from odins_ravne_assets.cameras.catalog import Camera
from odins_ravne_assets.munin.progress import StageProgress
from odins_ravne_assets.munin.workload.recorded_settings import STAGE1, STAGE2
from odins_ravne_assets.worker.context import StepContext
from resources.settings.profile import Profile


class SilentReporter:
    """Ignores the log of a step."""

    def info(self, message: str) -> None:
        pass

    def warning(self, message: str) -> None:
        pass

    def progress(self, progress: StageProgress) -> None:
        pass


@pytest.mark.parametrize(
    ("stages", "update", "recorded"),
    [
        (["detections", "classifications"], True, {"stage1.json", "stage2.json"}),
        (["detections"], True, {"stage1.json"}),
        (["detections", "classifications"], False, {"stage1.json"}),
    ],
)
def test_an_update_of_both_stages_records_both_before_its_first_result(
    tmp_path: Path, stages: list[str], update: bool, recorded: set[str]
) -> None:
    """So that all of it continues, if it is interrupted before Stage 2."""
    for folder in ("card", "out"):
        (tmp_path / folder).mkdir()
    camera = Camera("a", (tmp_path / "card").as_uri(), (tmp_path / "out").as_uri())
    context = StepContext(camera, Profile(), SilentReporter(), Event(), update=update)
    context.keep_settings(stages)
    context.record_settings(STAGE1)
    settings = tmp_path / "out/journal/settings"
    assert {path.name for path in settings.iterdir()} == recorded
    if "stage2.json" in recorded:
        assert STAGE2.read(context.output) == STAGE2.of_profile(Profile())
