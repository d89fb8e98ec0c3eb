"""The Dagster code location. The profile is named by the environment variable MUNIN_PROFILE."""

import dagster as dg

from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.databases.locked import wait_for_locks
from odins_ravne_assets.defs.assets import PROFILE, footage, stages_1_to_3
from odins_ravne_assets.defs.automation import observations_follow
from odins_ravne_assets.defs.cloud import cloud_definitions
from odins_ravne_assets.defs.cost_report import cost_report_asset
from odins_ravne_assets.defs.jobs import COSTS, DAILY_CHECK, JOBS, SCHEDULES
from odins_ravne_assets.defs.launch_hooks import launch_hooks
from odins_ravne_assets.defs.old_runs import old_runs
from odins_ravne_assets.defs.sensors import killed_runs, new_footage, quarantine
from odins_ravne_assets.defs.silent_cameras import no_camera_is_silent
from odins_ravne_assets.instance_home import catalog_folder, home, refuse_network_disk
from resources.launch.batch_launcher import BatchStepLauncher
from resources.launch.local_launcher import LocalStepLauncher
from resources.settings.dagster_resource import RunSettings
from resources.settings.loader import load_profile
from resources.settings.profile import Profile


def _launcher() -> BatchStepLauncher:
    hooks = launch_hooks()
    local = LocalStepLauncher("odins_ravne_assets.worker", hooks)
    return BatchStepLauncher(local, home(), hooks)


def _of_all_profiles() -> dg.Definitions:
    return dg.Definitions(
        assets=[footage, stages_1_to_3, quarantine, cost_report_asset],
        asset_checks=[no_camera_is_silent],
        jobs=[*JOBS, COSTS, DAILY_CHECK],
        schedules=SCHEDULES,
        sensors=[new_footage, killed_runs, observations_follow, old_runs],
        resources={
            "settings": RunSettings(profile=PROFILE),
            "catalog": CameraCatalog(catalog_folder()),
            # A profile without a cloud runs on this machine.
            "launcher": _launcher(),
        },
        # The work is in the workers; a process per step would only cost seconds.
        executor=dg.in_process_executor,
    )


def _of(profile: Profile) -> dg.Definitions:
    """Return the definitions of a profile: with its cloud's policies if it has a cloud."""
    found = _of_all_profiles()
    if profile.cloud is None:
        return found
    cloud = cloud_definitions(profile.cloud.aws, profile.storage.lifecycle)
    return dg.Definitions.merge(found, cloud)


# Also for a webserver and a daemon that users start themselves.
refuse_network_disk(home())
wait_for_locks()
# The module's only Definitions: Dagster refuses a module that has more.
defs = _of(load_profile(PROFILE))


# For runs that are started outside a code server, which find a job again by its function.


def camera_job() -> dg.JobDefinition:
    return defs.resolve_job_def("camera")


def stage1_job() -> dg.JobDefinition:
    return defs.resolve_job_def("stage1")


def stage2_job() -> dg.JobDefinition:
    return defs.resolve_job_def("stage2")


def tables_job() -> dg.JobDefinition:
    return defs.resolve_job_def("tables")


def stages2and3_job() -> dg.JobDefinition:
    return defs.resolve_job_def("stages2and3")


def stage3_job() -> dg.JobDefinition:
    return defs.resolve_job_def("stage3")
