"""The one owner of both registers of cameras: the catalog, and the partitions of Dagster's assets.

A camera is in the catalog, and from its first run on a partition. A partition that someone deletes
in Dagster's UI stays deleted: its camera is forgotten, as with `munin forget`. A partition that is
missing though the camera never ran here, as with a new database, is no deleted one.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from odins_ravne_assets.cameras.catalog import Camera, CameraCatalog
from resources.errors import UsageError
from resources.settings.camera_ids import parse_camera_id

if TYPE_CHECKING:
    import dagster as dg

# The name of the dynamic partitions.
PARTITIONS = "camera"
PARTITION_TAG = "dagster/partition"
DELETED_PARTITION = (
    "its partition was deleted, so the camera is forgotten; its results and footage stay. To add "
    "it again: munin batch INPUT OUTPUT --camera ID"
)
# The assets of a camera, in the order in which its runs make them.
CAMERA_ASSETS = ("footage", "detections", "classifications", "observations", "exports")


class CameraRegister:
    """Adds, removes and renames cameras in both registers."""

    def __init__(self, catalog: CameraCatalog, instance: "dg.DagsterInstance") -> None:
        self._catalog = catalog
        self._instance = instance

    def add_partition(self, camera_id: str) -> None:
        """Make a camera a partition; does nothing if it is one."""
        self._instance.add_dynamic_partitions(PARTITIONS, [camera_id])

    def forget(self, camera_id: str) -> Camera:
        """Remove a camera from both registers, and return it.

        Interrupted, it is completed by calling it again.

        Raises:
            UsageError: the camera is not known, or a run of it is active.
        """
        camera = self._catalog.get(camera_id)
        self.refuse_running(camera_id)
        self._instance.delete_dynamic_partition(PARTITIONS, camera_id)
        self._catalog.forget(camera_id)
        return camera

    def forget_deleted(self) -> list[str]:
        """Forget the cameras whose partition was deleted in Dagster; return their ids."""
        partitions = set(self._instance.get_dynamic_partitions(PARTITIONS))
        missing = [
            camera.camera_id
            for camera in self._catalog.list()
            if camera.camera_id not in partitions and self._has_run(camera.camera_id)
        ]
        for camera_id in missing:
            self._catalog.forget(camera_id)
        return missing

    def check_rename(self, old: str, new: str) -> Camera:
        """Check that a camera can be renamed; return it as it is in the catalog.

        A rename that was interrupted can be completed: the camera is in the catalog under its new
        id, and its earlier id is not that of another camera.

        Raises:
            UsageError: the new id is not allowed or in use; the camera is not known, or a run of it
                is active.
        """
        renamed = self._catalog.find(parse_camera_id(new))
        self.refuse_running(old)
        if renamed is not None and old in renamed.earlier_ids:
            return renamed
        camera = self._catalog.get(old)
        if new == old:
            raise UsageError(f"{new}: is the camera's id already")
        if new.casefold() == old.casefold():
            raise UsageError(
                f"{new}: differs from {old} by case alone, and both are one file on some disks; "
                "rename it to another id first"
            )
        for other in self._catalog.list():
            if other.camera_id.casefold() == new.casefold():
                raise UsageError(
                    f"{new}: is another camera's id, {other.camera_id}; munin status lists them"
                )
        return camera

    def begin_rename(self, camera: Camera, new: str) -> Camera:
        """Put a camera into the catalog under its new id, and return it.

        Its earlier entry stays until `finish_rename`; until then no run of either can start, since
        both have the same results.
        """
        if camera.camera_id != new:
            earlier = (*camera.earlier_ids, camera.camera_id)
            earlier = tuple(each for each in dict.fromkeys(earlier) if each != new)
            camera = replace(camera, camera_id=new, earlier_ids=earlier)
            self._catalog.put(camera)
        return camera

    def finish_rename(self, old: str, new: str) -> None:
        """Give the camera's partition its new id, and remove the earlier entry of the catalog.

        The last materialization of each asset is reported for the new partition: checks and counts
        read it.
        """
        self.add_partition(new)
        if old in self._instance.get_dynamic_partitions(PARTITIONS):
            for asset in CAMERA_ASSETS:
                self._copy_materialization(asset, old, new)
            self._instance.delete_dynamic_partition(PARTITIONS, old)
        self._catalog.remove(old)

    def _copy_materialization(self, asset: str, old: str, new: str) -> None:
        import dagster as dg

        last = [self._last(asset, each) for each in (old, new)]
        if last[0] is None or last[1] is not None:
            return
        self._instance.report_runless_asset_event(
            dg.AssetMaterialization(
                asset,
                description=f"camera {old} is renamed to {new}",
                metadata=last[0].metadata,
                partition=new,
                tags=last[0].tags,
            )
        )

    def _last(self, asset: str, camera_id: str) -> "dg.AssetMaterialization | None":
        import dagster as dg

        wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[camera_id])
        records = self._instance.fetch_materializations(wanted, limit=1).records
        return records[0].asset_materialization if records else None

    def _has_run(self, camera_id: str) -> bool:
        import dagster as dg

        of_camera = dg.RunsFilter(tags={PARTITION_TAG: camera_id})
        if self._instance.get_run_ids(of_camera, limit=1):
            return True
        return self._last(CAMERA_ASSETS[0], camera_id) is not None

    def refuse_running(self, camera_id: str) -> None:
        """Check that no run of a camera is active.

        Raises:
            UsageError: one is.
        """
        import dagster as dg
        from dagster import DagsterRunStatus as Status

        active = [
            Status.QUEUED,
            Status.NOT_STARTED,
            Status.STARTING,
            Status.STARTED,
            Status.CANCELING,
        ]
        found = self._instance.get_runs(
            dg.RunsFilter(tags={PARTITION_TAG: camera_id}, statuses=active), limit=1
        )
        if found:
            raise UsageError(
                f"camera {camera_id}: run {found[0].run_id[:8]} is active; end it, or wait for its "
                "end"
            )
