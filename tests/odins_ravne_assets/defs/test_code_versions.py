"""What a change of the profile makes stale, and what it does not."""

import pytest

from odins_ravne_assets.defs.code_versions import code_versions
from resources.settings.loader import load_profile

STAGES = ["footage", "detections", "classifications", "observations", "exports"]


@pytest.mark.parametrize(
    ("setting", "value", "stale"),
    [
        ("pipeline.stage0.use_file_date", True, {"footage"}),
        ("pipeline.stage1.conf_threshold", 0.4, {"detections", "classifications"}),
        ("models.classifier", "ssd-mobilenet-v2-cam16", {"classifications"}),
        ("pipeline.stage2.auto_ok_threshold", 0.7, {"classifications"}),
        ("pipeline.stage3.compression_window", 30, {"observations"}),
        ("privacy.leave_out_people", True, {"exports"}),
        ("project.species", [{"scientific_name": "Vulpes vulpes"}], {"observations"}),
        ("project.title", "Foxes", {"exports"}),
        ("project.deployments", [{"cameraID": "a", "latitude": 1, "longitude": 2}], set()),
        ("pipeline.stage0.clock_corrections", [{"camera_id": "a", "shift": 60}], set()),
        ("pipeline.stage1.batch_size", 4, set()),
        ("pipeline.stage1.threads", 1, set()),
        ("pipeline.cost_optimization.max_parallel_jobs", 3, set()),
        ("output.root", "elsewhere", set()),
    ],
)
def test_a_setting_makes_stale_what_depends_on_it(
    setting: str, value: object, stale: set[str]
) -> None:
    before = code_versions(load_profile("local"))
    after = code_versions(load_profile("local", {setting: value}))
    assert list(before) == STAGES
    assert {stage for stage in STAGES if before[stage] != after[stage]} == stale


def test_a_model_that_is_not_there_keeps_the_location_loadable() -> None:
    versions = code_versions(load_profile("local", {"models.detector": "none.toml"}))
    assert versions["detections"] != code_versions(load_profile("local"))["detections"]
