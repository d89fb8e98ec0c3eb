"""A camera's tables, medium by medium, as Stages 0 to 2 would leave them."""

import json
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from odins_ravne_assets.munin.tables import schemas
from resources.storage.local_store import LocalStore

Row = dict[str, Any]

NIGHT = datetime(2026, 5, 1, 2, 14)
SECOND = timedelta(seconds=1)
SCHEMAS = {
    "media": schemas.MEDIA,
    "processed": schemas.PROCESSED,
    "frames": schemas.FRAMES,
    "detections": schemas.DETECTIONS,
    "classifications": schemas.CLASSIFICATIONS,
}


# The origin of the tables, as `build.read_origin` reads it.
ORIGINS = {
    name: {"munin.origin": json.dumps({"journal_key": "0", "models": {role: model}})}
    for name, role, model in (
        ("detections", "detector", "megadetector-lite 1"),
        ("classifications", "classifier", "efficientnet-lite3 1"),
    )
}


class Camera:
    """Tables of one camera, medium by medium, as Stages 0 to 2 would leave them."""

    def __init__(self, camera_id: str = "camera7") -> None:
        self.camera_id = camera_id
        self.rows: dict[str, list[Row]] = {name: [] for name in SCHEMAS}

    def medium(
        self,
        path: str,
        at: datetime | None,
        boxes: list[Row],
        status: str = "done",
        offset: int | None = None,
        **columns: Any,
    ) -> None:
        """Add a medium; boxes are classifications, with `second` for their time in a video."""
        common = {
            "camera_id": self.camera_id,
            "path": path,
            "content_hash": sha256(path.encode()).hexdigest(),
            "kind": "video" if path.endswith(".mp4") else "image",
        }
        columns = {"format": "mp4" if path.endswith(".mp4") else "jpeg", **columns}
        dated = {"captured_at": at, "utc_offset_minutes": offset}
        edge_strips = columns.pop("edge_strips", None)
        media_status = "failed" if columns.pop("unreadable", False) else "ok"
        self.rows["media"].append({**common, **dated, "status": media_status, **columns})
        seconds = sorted({box.get("second", 0) for box in boxes} | {0})
        counts: Row = {"frames_skipped": 2, "boxes": len(boxes)} if status == "done" else {}
        self.rows["processed"].append({**common, **columns, "status": status, **counts})
        for number, second in enumerate(seconds if status == "done" else []):
            of_frame = [box for box in boxes if box.get("second", 0) == second]
            frame = {
                **common,
                "frame_number": number,
                "time_offset_ms": second * 1000,
                "captured_at": at + second * SECOND if at else None,
                "utc_offset_minutes": offset,
            }
            strips = None if number else edge_strips
            self.rows["frames"].append({**frame, "boxes": len(of_frame), "edge_strips": strips})
            for index, box in enumerate(of_frame):
                self._box({**frame, "box_number": index}, box)

    def _box(self, place: Row, box: Row) -> None:
        columns = {
            "category": "animal",
            "label": "red fox",
            "scientific_name": "Vulpes vulpes",
            "confidence": 0.9,
            "auto_ok": True,
            "detection_confidence": 0.95,
            **box,
        }
        columns.pop("second", None)
        person = columns.pop("person_confidence", None)
        x, y, w, h = columns.pop("box", (0.1 + 0.2 * place["box_number"], 0.25, 0.125, 0.5))
        place["detection_id"] = (
            f"{place['content_hash'][:16]}-{place['frame_number']}-{place['box_number']}"
        )
        self.rows["classifications"].append({**place, **columns})
        self.rows["detections"].append(
            {
                **place,
                "category": columns["category"],
                "confidence": columns["detection_confidence"],
                **{"x": x, "y": y, "w": w, "h": h, "person_confidence": person},
            }
        )

    def store(self, folder: Path) -> LocalStore:
        """Write the tables to a folder."""
        (folder / "tables").mkdir(parents=True)
        for name, schema in SCHEMAS.items():
            complete = [{column: row.get(column) for column in schema} for row in self.rows[name]]
            frame = pl.DataFrame(complete, schema=schema)
            frame.write_parquet(folder / f"tables/{name}.parquet", metadata=ORIGINS.get(name))
        return LocalStore(folder)


def example_night() -> Camera:
    """Two visits of foxes, a person, an uncertain person and hare, and failed media."""
    camera = Camera()
    camera.medium("DCIM/1.jpg", NIGHT, [{}, {"confidence": 0.7}], offset=120)
    camera.medium("DCIM/2.mp4", NIGHT + 5 * SECOND, [{"second": 1}, {"second": 7}], offset=120)
    camera.medium("DCIM/3.jpg", NIGHT + 3600 * SECOND, [{"confidence": 0.6}], offset=120)
    person = {"category": "person", "label": "person", "scientific_name": None}
    camera.medium("DCIM/4.jpg", NIGHT + 7200 * SECOND, [person], offset=120)
    camera.medium(
        "DCIM/5.jpg",
        None,
        [{"auto_ok": False, "label": "brown hare", "scientific_name": "Lepus europaeus"}],
    )
    camera.medium("DCIM/6.jpg", NIGHT, [{**person, "confidence": 0.3}], offset=120)
    camera.medium(
        "DCIM/7.mp4",
        NIGHT + 9000 * SECOND,
        [{"label": "badger", "scientific_name": "Mustelidae"}],
        offset=120,
    )
    camera.medium("DCIM/8.jpg", NIGHT, [], offset=120)
    camera.medium("DCIM/9.jpg", None, [], "failed", reason="not a JPEG", unreadable=True)
    camera.medium("DCIM/10.mp4", NIGHT, [], "failed", reason="decoder crashed")
    camera.medium("DCIM/11.jpg", NIGHT, [], "pending")
    return camera
