"""The models of a profile in one line, and the line that names the catalogue."""

from odins_ravne_assets.model_library.used_models import catalogue_line, used_models_line
from resources.settings.profile import Models

EUROPE = [(59.3, 17.1)]


def test_all_models_are_named() -> None:
    models = Models(detector="megadetector-lite")
    assert used_models_line(models) == (
        "models: detector megadetector-lite, category detector ssd-mobilenet-v2-cam16, classifier "
        "efficientnet-lite3"
    )


def test_the_catalogue_is_named_to_users_of_the_defaults_only() -> None:
    assert catalogue_line(Models(), []) == (
        "These are demonstration models. For better ones: munin models catalogue"
    )
    assert catalogue_line(Models(classifier="deepfaune-europe"), EUROPE) is None


def test_the_classifier_of_the_region_is_named_with_its_licence() -> None:
    line = catalogue_line(Models(), EUROPE)
    assert line and line.endswith(
        "; the classifier of the region of these cameras: munin models add deepfaune-europe "
        "--accept CC-BY-SA-4.0 (Europe)"
    )


def test_elsewhere_the_classifier_for_the_world_is_named() -> None:
    line = catalogue_line(Models(), [(36.75, 3.06)])
    assert line and "munin models add speciesnet-crop" in line
