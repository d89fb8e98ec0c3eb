"""Sensors: footage that arrives starts its camera's run by itself; a run that was killed ends."""

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
from odins_ravne_assets.cameras.catalog import CameraCatalog
from odins_ravne_assets.cameras.results_store import store_of
from odins_ravne_assets.cameras.selection import camera_for_upload
from odins_ravne_assets.defs.assets import CAMERAS
from odins_ravne_assets.munin.media.media_table import known_files
from odins_ravne_assets.runs.liveness import close_dead_runs
from resources.aws.clients import AwsClients
from resources.clock import system_clock
from resources.errors import UsageError
from resources.settings.dagster_resource import RunSettings
from resources.settings.profile import Profile

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
    description="Files that have arrived and belong to no camera, and why. Each observation holds "
    "what is in quarantine by then; rename or move the files, and they are taken.",
)


@dg.sensor(
    job_name="camera",
    minimum_interval_seconds=SENSOR_INTERVAL_SECONDS,
    description="Runs each camera whose footage has arrived below uploads.url and is complete.",
)
def new_footage(
    context: dg.SensorEvaluationContext,
    settings: RunSettings,
    catalog: dg.ResourceParam[CameraCatalog],
) -> dg.SensorResult | dg.SkipReason:
    profile = settings.load()
    if not profile.uploads.url:
        return dg.SkipReason("the profile names no place where footage arrives (uploads.url)")
    memory = SensorState.read(context.cursor)
    in_quarantine = dict(memory.refused)
    clients = AwsClients(profile.cloud.aws) if profile.cloud else None
    now = clients.clock.now() if clients else system_clock().now()
    look = _place(profile, clients, context.instance, catalog).look(memory, now)
    requests: list[dg.RunRequest] = []
    new_cameras: list[str] = []
    refused = list(look.refused)
    for turn in look.turns:
        try:
            camera = camera_for_upload(turn.camera_id, turn.footage, profile, catalog)
        except UsageError as error:
            refused.append(told := QuarantinedUpload(turn.footage, str(error)))
            memory.refuse(told)
        else:
            catalog.put(camera)
            new_cameras.append(camera.camera_id)
            requests.append(_request(turn))
    _tell(context, look, refused)
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[CAMERAS.build_add_request(new_cameras)],
        cursor=memory.text(),
        asset_events=[_quarantined(memory)] if memory.refused != in_quarantine else [],
    )


@dg.sensor(
    minimum_interval_seconds=SENSOR_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose process was killed: their cameras would wait for ever. What they "
    "had finished is kept; they are run again, twice at most.",
)
def killed_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    close_dead_runs(context.instance)
    return dg.SkipReason("runs that were killed are ended, and tried again")


def _place(
    profile: Profile,
    clients: AwsClients | None,
    instance: dg.DagsterInstance,
    catalog: CameraCatalog,
) -> UploadSource:
    cameras = {camera.camera_id: camera for camera in catalog.list()}

    def known(camera_id: str) -> set[tuple[str, int, int]]:
        camera = cameras.get(camera_id)
        return known_files(store_of(camera.output_url, profile)) if camera else set()

    def is_running(camera_id: str) -> bool:
        tags = {"dagster/partition": camera_id}
        return bool(instance.get_runs(RunsFilter(tags=tags, statuses=ACTIVE_STATUSES), limit=1))

    url = profile.uploads.url or ""
    if not url.startswith("s3://"):
        return FolderUploadSource(profile.uploads, known, is_running)
    if clients is None:
        raise UsageError(f"uploads.url {url}: lies on S3, which needs a cloud profile; name one")
    return S3UploadSource(profile.uploads, clients, known, is_running)


def _request(turn: CameraRunRequest) -> dg.RunRequest:
    tags = {"munin/started-by": "new footage", "munin/new-files": str(turn.files)}
    return dg.RunRequest(run_key=turn.run_key, partition_key=turn.camera_id, tags=tags)


def _tell(
    context: dg.SensorEvaluationContext, look: ScanResult, refused: Iterable[QuarantinedUpload]
) -> None:
    context.log.info(
        f"heard of {look.heard} new files; {look.waiting} cameras are still being copied, "
        f"{len(look.turns)} are complete"
    )
    for each in refused:
        context.log.warning(f"quarantine: {each.of}: {each.reason}")


def _quarantined(memory: SensorState) -> dg.AssetObservation:
    records = [
        dg.TableRecord({"file or folder": of, "why": why}) for of, why in memory.refused.items()
    ]
    table = dg.MetadataValue.table(records, QUARANTINE_COLUMNS)
    return dg.AssetObservation(
        quarantine.key, metadata={"arrivals/refused": len(records), "arrivals/why": table}
    )
