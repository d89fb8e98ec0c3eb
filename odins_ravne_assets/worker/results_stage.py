"""Stage 3 of a step: observations with their report, and exports."""

from odins_ravne_assets.hugin.exports.export import export_camera
from odins_ravne_assets.hugin.report.page import make_report_page
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.hugin.visits.stored_deployments import read_deployments, store_deployments
from odins_ravne_assets.munin.tables import build, checks
from odins_ravne_assets.worker.asset_metadata import export_metadata, observation_metadata
from odins_ravne_assets.worker.context import StageResult, StepContext
from resources.settings.project import Project
from resources.storage import layout
from resources.storage.layout import MEGADETECTOR_JSON
from resources.storage.local_store import local_path


def run_observations(context: StepContext) -> StageResult:
    """Compress the labelled boxes into visits, and write the observations and the report."""
    context.progress("observations", None, "visits")(0)
    output, privacy = context.output, context.profile.privacy
    models: dict[str, str] = {}
    for key in (layout.DETECTIONS_TABLE, layout.CLASSIFICATIONS_TABLE):
        if output.exists(key):  # Stage 3 reports missing tables
            models |= build.read_origin(output, key).models
    settings, species = context.profile.pipeline.stage3, context.profile.project.species
    result = run_stage3(output, settings, models, privacy, species)
    store_deployments(output, _project(context).deployments)
    for remark in make_report_page(output, output, privacy):
        context.reporter.warning(remark)
    if result.labels_without_effect:
        context.reporter.warning(result.labels_without_effect)
    context.counters.visits = result.observations
    check_results = [
        checks.rows_accounted_for(
            result.rows_in,
            result.rows_rejected,
            sum(result.rows_left_out.values()),
            result.rows_below_confidence,
            result.rows_too_short,
            result.rows_in_observations,
        )
    ]
    metadata = observation_metadata(result, output.url)
    return StageResult(metadata, check_results, context.data_version(layout.OBSERVATIONS_TABLE))


def run_exports(context: StepContext) -> StageResult:
    """Write the visits in the formats of other programs."""
    context.progress("exports", None, "visits")(0)
    exported = export_camera(
        context.output,
        context.camera.camera_id,
        _project(context),
        context.profile.privacy,
    )
    for remark in exported.remarks:
        context.reporter.info(remark)
    if exported.camtrap_dp_error:
        context.reporter.info(f"no Camtrap DP: {exported.camtrap_dp_error}")
    metadata = export_metadata(exported, context.output.url)
    return StageResult(metadata, [], context.data_version(MEGADETECTOR_JSON))


def _project(context: StepContext) -> Project:
    """The project, with the camera's deployments of the last run if its footage is not here.

    The table next to the footage is not here either, such as after results were moved.
    """
    project, footage = context.profile.project, context.camera.footage_url
    if project.deployments or not footage.startswith("file:") or local_path(footage).exists():
        return project
    return project.model_copy(update={"deployments": read_deployments(context.output)})
