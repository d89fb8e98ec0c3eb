"""A camera's output with pictures, written with the real journal and tables, without models."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gpu_kernels.preprocessing.letterbox import Picture
from odins_ravne_assets.hugin.report.page import make_report_page
from odins_ravne_assets.hugin.visits.stage3 import run_stage3
from odins_ravne_assets.munin.classification.labelled_boxes import labelled_box
from odins_ravne_assets.munin.detection.crops import cut_crops, encode_crop
from odins_ravne_assets.munin.detection.detector import Box
from odins_ravne_assets.munin.tables import build, schemas
from odins_ravne_assets.munin.tables.journal import Stage1Journal, Stage2Journal
from odins_ravne_assets.munin.tables.parquet_io import writing_table
from resources.settings.profile import Privacy, Stage3
from resources.storage import layout
from resources.storage.layout import REPORT_PAGE
from resources.storage.local_store import LocalStore

SIZE = (640, 480)
MODELS = {"detector": "megadetector-lite 1"}


@dataclass(frozen=True)
class LabelledBox:
    """A box and its label."""

    label: str = "red fox"
    scientific_name: str | None = "Vulpes vulpes"
    category: Any = "animal"
    confidence: float = 0.9
    xywh: tuple[float, float, float, float] = (0.3, 0.3, 0.4, 0.4)
    auto_ok: bool = True
    person_confidence: float | None = None


PERSON = LabelledBox("person", "Homo sapiens", "person")


def grass(shift: int = 0) -> Picture:
    """Return a background picture, uint8 BGR."""
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    channels = (columns // 5 + shift, 90 + rows // 6, (rows + columns) // 9)
    return np.stack(channels, axis=-1).astype(np.uint8)


def with_pattern(picture: Picture, xywh: Sequence[float], pattern: Picture) -> Picture:
    """Return the picture with a box filled by a repeated pattern."""
    height, width = picture.shape[:2]
    left, top = round(xywh[0] * width), round(xywh[1] * height)
    right, bottom = left + round(xywh[2] * width), top + round(xywh[3] * height)
    picture = picture.copy()
    times = (-(-(bottom - top) // pattern.shape[0]), -(-(right - left) // pattern.shape[1]), 1)
    picture[top:bottom, left:right] = np.tile(pattern, times)[: bottom - top, : right - left]
    return picture


@dataclass
class CameraOutput:
    """The output of one camera, to which media are added."""

    folder: Path
    camera_id: str = "camera7"
    media: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = LocalStore(self.folder)
        self._stage1 = Stage1Journal(self.store, "one")
        self._labels: list[dict[str, Any]] = []

    def still(
        self,
        path: str,
        at: datetime | None,
        *boxes: LabelledBox,
        picture: Picture | None = None,
        reason: str | None = None,
        position: tuple[float, float] | None = None,
    ) -> "CameraOutput":
        """Add a still; with a `reason`, one that failed.

        Args:
            position: latitude and longitude.
        """
        content = sha256(path.encode()).hexdigest()
        self.media.append(
            {
                "camera_id": self.camera_id,
                "path": path,
                "content_hash": content,
                "kind": "image",
                "captured_at": at,
                "latitude": position[0] if position else None,
                "longitude": position[1] if position else None,
                "status": "failed" if reason else "ok",
                "reason": reason,
            }
        )
        if not reason:
            self._add_boxes(content, boxes, grass() if picture is None else picture)
        return self

    def _add_boxes(self, content: str, labelled: Sequence[LabelledBox], picture: Picture) -> None:
        """Add the boxes of a still to the journal."""
        frame = {"content_hash": content, "frame_number": 0}
        boxes, crops = [], []
        for number, each in enumerate(labelled):
            box = Box(each.xywh, each.category, 0.95, None)
            numbered = {**frame, "box_number": number}
            row = {**numbered, "time_offset_ms": 0, **box.as_row()}
            boxes.append(row | {"person_confidence": each.person_confidence})
            ((cut,),) = cut_crops([(picture, [box])])
            crops.append({**numbered, **encode_crop(cut)})
            label = (each.label, each.scientific_name, each.confidence, each.auto_ok)
            self._labels.append(labelled_box(numbered, *label, None))
        finished = {
            "content_hash": content,
            "status": "done",
            "reason": None,
            "frames_decoded": 1,
            "frames_skipped": 0,
            "boxes": len(boxes),
        }
        frames = [{**frame, "time_offset_ms": 0, "boxes": len(boxes)}]
        self._stage1.append(finished, frames, boxes, crops)

    def write(self) -> LocalStore:
        """Write the output of Stages 0 to 2."""
        rows = [{name: medium.get(name) for name in schemas.MEDIA} for medium in self.media]
        with writing_table(self.store, layout.MEDIA_TABLE) as path:
            pl.DataFrame(rows, schema=schemas.MEDIA).sort("path").write_parquet(path)
        self._stage1.flush()
        stage2 = Stage2Journal(self.store, "two")
        for part in self._stage1.written:
            stage2.write(part, self._labels)
        build.write_stage1_tables(self.store, self._stage1, MODELS)
        build.write_stage2_table(self.store, self._stage1, stage2, {})
        return self.store


def stage3(
    store: LocalStore, privacy: Privacy | None = None, settings: Stage3 | None = None
) -> str:
    """Run Stage 3, and return the report page."""
    privacy = privacy or Privacy()
    run_stage3(store, settings or Stage3(), MODELS, privacy)
    make_report_page(store, store, privacy)
    return store.read_bytes(REPORT_PAGE).decode()
