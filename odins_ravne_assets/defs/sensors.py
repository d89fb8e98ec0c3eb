"""Sensors: new footage starts its camera's run; a run whose process was killed is closed."""

from collections.abc import Iterable

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from odins_ravne_assets.arrivals.folder_source import FolderUploadSource
from odins_ravne_assets.arrivals.routing import QuarantinedUpload
from odins_ravne_assets.arrivals.s3_source import S3UploadSource
from odins_ravne_assets.arrivals.sensor_state import (
    CameraRunRequest,
    ScanResult,
    SensorState,
    UploadSource,
)
from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from odins_ravne_assets.cameras.register import DELETED_PARTITION, PARTITION_TAG, CameraRegister
from odins_ravne_assets.cameras.results_store import store_of
from odins_ravne_assets.cameras.selection import camera_for_upload
from odins_ravne_assets.defs.assets import CAMERAS
from odins_ravne_assets.munin.media.media_table import known_files
from odins_ravne_assets.munin.media.sources import load_sources
from odins_ravne_assets.runs.liveness import close_dead_runs
from resources.aws.clients import AwsClients
from resources.clock import system_clock
from resources.errors import UsageError
from resources.printable import printable
from resources.settings.dagster_resource import RunSettings
from resources.settings.profile import Profile
from resources.storage.local_store import local_path

SENSOR_INTERVAL_SECONDS = 30
ACTIVE_STATUSES = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
QUARANTINE_COLUMNS = dg.TableSchema([dg.TableColumn("file or folder"), dg.TableColumn("why")])

quarantine = dg.AssetSpec(
    "quarantine",
    group_name="arrivals",
    description="Uploaded files that belong to no camera, and the reason. Each observation lists "
    "the whole quarantine at that time; rename or move the files to have them processed.",
)


@dg.sensor(
    job_name="camera",
    minimum_interval_seconds=SENSOR_INTERVAL_SECONDS,
    description="Runs each camera whose upload below uploads.url is complete.",
)
def new_footage(
    context: dg.SensorEvaluationContext,
    settings: RunSettings,
    catalog: dg.ResourceParam[CameraCatalog],
) -> dg.SensorResult | dg.SkipReason:
    profile = settings.load()
    if not profile.uploads.url:
        return dg.SkipReason("the profile sets no uploads.url: there is nothing to watch")
    state = SensorState.read(context.cursor)
    if state.begun_anew:
        context.log.warning(
            f"the stored cursor cannot be read ({printable(state.begun_anew)}): the sensor begins "
            "anew, and lists all uploads again; finished work stays"
        )
    for camera_id in CameraRegister(catalog, context.instance).forget_deleted():
        context.log.warning(f"{camera_id}: {DELETED_PARTITION}")
    in_quarantine = dict(state.quarantined)
    clients = AwsClients(profile.cloud.aws) if profile.cloud else None
    now = clients.clock.now() if clients else system_clock().now()
    scan = _upload_source(profile, clients, context.instance, catalog).scan(state, now)
    requests: list[dg.RunRequest] = []
    new_cameras: list[str] = []
    quarantined = list(scan.quarantined)
    for request in scan.run_requests:
        try:
            camera = camera_for_upload(request.camera_id, request.footage, profile, catalog)
        except UsageError as error:
            upload = QuarantinedUpload(request.footage, str(error))
            if state.quarantine(upload):  # reported once
                quarantined.append(upload)
        else:
            state.release(state.quarantined.keys() & {request.footage})
            catalog.put(camera)
            new_cameras.append(camera.camera_id)
            requests.append(_run_request(request, camera.camera_id))
    _log_scan(context, scan, quarantined)
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[CAMERAS.build_add_request(new_cameras)],
        cursor=state.text(),
        asset_events=[_quarantined(state)] if state.quarantined != in_quarantine else [],
    )


@dg.sensor(
    minimum_interval_seconds=SENSOR_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Marks runs whose process was killed as failed, so that their cameras are not "
    "blocked. Finished work is kept; such a run is retried, at most twice.",
)
def killed_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    close_dead_runs(context.instance)
    return dg.SkipReason("runs whose process was killed are marked as failed and retried")


def _upload_source(
    profile: Profile,
    clients: AwsClients | None,
    instance: dg.DagsterInstance,
    catalog: CameraCatalog,
) -> UploadSource:
    known_cameras = catalog.list()
    cameras = {each: camera for camera in known_cameras for each in camera.earlier_ids}
    cameras |= {camera.camera_id: camera for camera in known_cameras}

    def known(camera_id: str) -> set[tuple[str, int, int]]:
        camera = cameras.get(camera_id)
        return _known_files(camera, profile) if camera else set()

    def is_running(camera_id: str) -> bool:
        camera = cameras.get(camera_id)
        tags = {PARTITION_TAG: camera.camera_id if camera else camera_id}
        return bool(instance.get_runs(RunsFilter(tags=tags, statuses=ACTIVE_STATUSES), limit=1))

    url = profile.uploads.url or ""
    if not url.startswith("s3://"):
        return FolderUploadSource(profile.uploads, known, is_running)
    if clients is None:
        raise UsageError(
            f"uploads.url {url}: is on S3, which needs a cloud profile; name one with --profile"
        )
    return S3UploadSource(profile.uploads, clients, known, is_running)


def _known_files(camera: Camera, profile: Profile) -> set[tuple[str, int, int]]:
    """Return the uploads in a camera's media table, by their paths in their folders."""
    results = store_of(camera.output_url, profile)
    listed = load_sources(results)
    if listed is None or len(listed.sources) == 1:
        return known_files(results)
    url = profile.uploads.url or ""
    root = url.rstrip("/") if url.startswith("s3://") else local_path(url).as_uri()
    found: set[tuple[str, int, int]] = set()
    for source in listed.sources:
        if f"{source.place}/".startswith(f"{root}/"):
            found |= known_files(results, source.name)
    return found


def _run_request(request: CameraRunRequest, camera_id: str) -> dg.RunRequest:
    """Return the run; `camera_id` differs from the upload's name if the camera was renamed."""
    tags = {"munin/started-by": "new footage", "munin/new-files": str(request.files)}
    return dg.RunRequest(run_key=request.run_key, partition_key=camera_id, tags=tags)


def _log_scan(
    context: dg.SensorEvaluationContext, scan: ScanResult, quarantined: Iterable[QuarantinedUpload]
) -> None:
    context.log.info(
        f"new files: {scan.new_files}; cameras that are still being uploaded: {scan.pending}, "
        f"complete: {len(scan.run_requests)}"
    )
    for remark in scan.remarks:
        context.log.warning(printable(remark))
    for each in quarantined:
        context.log.warning(f"quarantine: {printable(each.path)}: {each.reason}")


def _quarantined(state: SensorState) -> dg.AssetObservation:
    records = [
        dg.TableRecord({"file or folder": path, "why": why})
        for path, why in state.quarantined.items()
    ]
    table = dg.MetadataValue.table(records, QUARANTINE_COLUMNS)
    return dg.AssetObservation(
        quarantine.key, metadata={"arrivals/refused": len(records), "arrivals/why": table}
    )
