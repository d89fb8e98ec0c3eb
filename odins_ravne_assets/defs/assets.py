"""The assets, from footage to exports: one partition per camera."""

import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import dagster as dg

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.deployments import profile_for_camera
from odins_ravne_assets.cameras.media_samples import MediaSamples
from odins_ravne_assets.cameras.register import PARTITIONS
from odins_ravne_assets.cameras.results_store import store_of, store_opener
from odins_ravne_assets.defs.automation import UPDATE_LABELS, UPDATE_VISITS
from odins_ravne_assets.defs.checks import check_specs
from odins_ravne_assets.defs.code_versions import code_versions
from odins_ravne_assets.instance_home import home
from odins_ravne_assets.model_library.bucket import fetch_models
from odins_ravne_assets.model_library.reachable import require_reachable_models
from odins_ravne_assets.munin.classification.speciesnet_predictions import (
    is_predictions,
    save_predictions,
)
from odins_ravne_assets.munin.media.shared_media import describe_shared_media, save_shared_media
from odins_ravne_assets.munin.workload.used_settings import choose_settings
from odins_ravne_assets.runs.event_stream import emit_decision, emit_warning
from odins_ravne_assets.runs.liveness import running_here
from odins_ravne_assets.runs.tags import UPDATE_TAG
from resources.clock import system_clock
from resources.errors import RavneError, UsageError, WorkerCrashError
from resources.launch.base import StepLauncher, StepRequest
from resources.launch.outage import outage_retry
from resources.settings.dagster_resource import RunSettings
from resources.settings.loader import OVERRIDES_VARIABLE, load_profile
from resources.settings.profile import Profile
from resources.storage.layout import MEDIA_SAMPLES_FOLDER
from resources.storage.local_store import LocalStore

# The profile of the code location, and the overrides of a command.
PROFILE = os.environ.get("MUNIN_PROFILE", "local")
OVERRIDES: dict[str, Any] = json.loads(os.environ.get(OVERRIDES_VARIABLE, "{}"))
VERSIONS = code_versions(load_profile(PROFILE, OVERRIDES))

CAMERAS = dg.DynamicPartitionsDefinition(name=PARTITIONS)

# Stages 1 to 3 in order: one step launch runs all that are selected, so that a machine boots once
# and crops are not copied between machines.
LAUNCHED_TOGETHER = ("detections", "classifications", "observations", "exports")

StepResult = dg.MaterializeResult[Any] | dg.AssetCheckResult

# Assets that need the classifier: work units of Stage 1 label the boxes that they find.
LABELLING_ASSETS = {"detections", "classifications"}

# Dagster's tag of a materialization, whose default is the code version in the asset's definition.
CODE_VERSION_TAG = "dagster/code_version"


@dg.asset(
    group_name="munin",
    partitions_def=CAMERAS,
    check_specs=check_specs(CAMERAS, "footage"),
    kinds={"parquet"},
    code_version=VERSIONS["footage"],
    description="Stage 0. One row per media file of the camera: identity, capture time, position, "
    "and the reason if it cannot be used.",
)
def footage(
    context: dg.AssetExecutionContext,
    settings: RunSettings,
    catalog: dg.ResourceParam[CameraCatalog],
    launcher: dg.ResourceParam[StepLauncher],
) -> Iterator[StepResult]:
    with _step(context):
        yield from _launch(context, settings, catalog, launcher, ("footage",))
        profile = settings.load()
        outage_retry(profile, context.log.warning).through(
            lambda: report_shared_media(context, profile, catalog)
        )


@dg.multi_asset(
    name="stages_1_to_3",
    partitions_def=CAMERAS,
    can_subset=True,
    check_specs=check_specs(CAMERAS, *LAUNCHED_TOGETHER),
    specs=[
        dg.AssetSpec(
            "detections",
            deps=["footage"],
            group_name="munin",
            kinds={"onnx", "parquet"},
            code_version=VERSIONS["detections"],
            description="Stage 1. One row per box: an animal, a person or a vehicle, with its "
            "crop; "
            "and one row per analysed frame.",
        ),
        dg.AssetSpec(
            "classifications",
            deps=["detections"],
            group_name="munin",
            kinds={"onnx", "parquet"},
            code_version=VERSIONS["classifications"],
            automation_condition=UPDATE_LABELS,
            description="Stage 2. One row per box: label, scientific name, confidence, the five "
            "best guesses, and whether it is confident enough to use without review.",
        ),
        dg.AssetSpec(
            "observations",
            deps=["classifications"],
            group_name="hugin",
            kinds={"parquet", "json"},
            code_version=VERSIONS["observations"],
            automation_condition=UPDATE_VISITS,
            description="Stage 3. One row per visit of a species: start, end, confidence, frames, "
            "timeline, and whether it needs review.",
        ),
        dg.AssetSpec(
            "exports",
            deps=["observations"],
            group_name="hugin",
            kinds={"csv", "json"},
            code_version=VERSIONS["exports"],
            automation_condition=UPDATE_VISITS,
            description="The visits for other tools: MegaDetector JSON 1.6 (Timelapse), Camtrap DP "
            "1.0.2, and a CSV that a reviewer can fill.",
        ),
    ],
)
def stages_1_to_3(
    context: dg.AssetExecutionContext,
    settings: RunSettings,
    catalog: dg.ResourceParam[CameraCatalog],
    launcher: dg.ResourceParam[StepLauncher],
) -> Iterator[StepResult]:
    selected = {key.to_user_string() for key in context.selected_asset_keys}
    selected |= {check.asset_key.to_user_string() for check in context.selected_asset_check_keys}
    stages = tuple(stage for stage in LAUNCHED_TOGETHER if stage in selected)
    with _step(context):
        yield from _launch(context, settings, catalog, launcher, stages)


@contextmanager
def _step(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Show that the run is alive, and log why the step fails, if it does."""
    with (
        running_here(context.instance, context.run, system_clock()),
        log_step_failure(context.log),
    ):
        yield


def _launch(
    context: dg.AssetExecutionContext,
    settings: RunSettings,
    catalog: CameraCatalog,
    launcher: StepLauncher,
    stages: tuple[str, ...],
) -> Iterator[StepResult]:
    camera = catalog.get(context.partition_key)
    loaded = settings.load()
    outage = outage_retry(loaded, context.log.warning)
    used, versions = outage.through(lambda: _settings_of_run(context, loaded, camera, stages))
    stored = outage.through(lambda: store_predictions(used, camera, stages))
    profile = outage.through(lambda: profile_for_camera(stored, camera))
    request = StepRequest(
        camera_id=camera.camera_id,
        footage_url=camera.footage_url,
        output_url=camera.output_url,
        stages=stages,
        profile=profile.model_dump(mode="json"),
        update=_is_update(context),
        earlier_footage=camera.earlier_footage,
    )
    for result in launcher.launch(context, request):
        if isinstance(result, dg.AssetCheckResult):
            yield result
        elif result.asset_key and result.asset_key in context.selected_asset_keys:
            version = versions[result.asset_key.to_user_string()]
            yield result._replace(tags={**(result.tags or {}), CODE_VERSION_TAG: version})


def _settings_of_run(
    context: dg.AssetExecutionContext, profile: Profile, camera: Camera, stages: Collection[str]
) -> tuple[Profile, dict[str, str]]:
    """Return the profile with the settings of the camera's results, and its code versions.

    Finished work stays finished: the run keeps the settings of the results that exist, and says so,
    unless it has the tag UPDATE_TAG.
    """
    update = _is_update(context)
    if LABELLING_ASSETS.isdisjoint(stages):
        return profile, code_versions(profile)
    open_store = store_opener(profile)
    fetch = partial(fetch_models, open_store=open_store, log=context.log.info)
    fetch(profile.models)
    output = open_store(camera.output_url)
    used = choose_settings(output, profile, stages, update, fetch)
    require_reachable_models(used.profile)
    if used.notice:
        context.log.info(used.notice)
        emit_decision(used.notice)
    return used.profile, code_versions(used.profile, used.stage1_key)


def _is_update(context: dg.AssetExecutionContext) -> bool:
    update = context.run.tags.get(UPDATE_TAG, "false")
    if update not in {"true", "false"}:
        raise UsageError(f"tag {UPDATE_TAG}: {update!r} must be true or false")
    return update == "true"


@contextmanager
def log_step_failure(log: dg.DagsterLogManager) -> Iterator[None]:
    """Log why a step fails, or that it was stopped; then re-raise."""
    try:
        yield
    except WorkerCrashError as error:
        log.error(str(error))
        raise
    except RavneError as error:
        log.error(str(error))
        # Marks the step's failure as an expected error, whatever its class: see run_camera.
        raise dg.Failure(str(error), allow_retries=False) from error
    except dg.Failure as failure:
        log.error(failure.description or "the step failed")
        raise
    except dg.DagsterExecutionInterruptedError:
        log.warning("stopped; finished work is kept: run it again to continue")
        raise


def report_shared_media(
    context: dg.AssetExecutionContext, profile: Profile, catalog: CameraCatalog
) -> None:
    """Find and report media with the same content in other cameras of the study.

    Not a task of the worker, which knows one camera.
    """
    camera = catalog.get(context.partition_key)
    samples = MediaSamples(
        LocalStore(home() / MEDIA_SAMPLES_FOLDER), catalog, store_opener(profile)
    )
    shared = samples.update(camera)
    save_shared_media(store_of(camera.output_url, profile), shared)
    for each in shared:
        context.log.warning(describe_shared_media(each))
        emit_warning(describe_shared_media(each))


def store_predictions(profile: Profile, camera: Camera, stages: Collection[str]) -> Profile:
    """Copy SpeciesNet predictions into the results, and return the profile that names the copy.

    A worker on any machine can then read them.

    Raises:
        ModelError: `models.classifier` names predictions that cannot be read.
        StoreError: the store refuses.
    """
    classifier = profile.models.classifier
    if LABELLING_ASSETS.isdisjoint(stages) or not is_predictions(classifier):
        return profile
    key = save_predictions(classifier, store_of(camera.output_url, profile))
    models = profile.models.model_copy(update={"classifier": key})
    return profile.model_copy(update={"models": models})
