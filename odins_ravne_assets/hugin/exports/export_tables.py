"""What exports are made of: a camera's tables and visits, as far as they may be told."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl

from odins_ravne_assets.hugin.visits.stage3 import TABLE_SOURCES, read_table
from odins_ravne_assets.munin.tables import build, schemas
from resources.storage import layout
from resources.storage.layout import OBSERVATIONS_TABLE
from resources.storage.object_store import ObjectStore

PERSON = "person"
# What a row is told of the visit that it is in. `visit_confidence` is of the row in it.
OBSERVATION_FIELDS = (
    "observation_id",
    "species",
    "scientific_name",
    "flags",
    "label_source",
    "reviewed_by",
    "reviewed_on",
    "visit_category",
    "visit_confidence",
)


@dataclass(frozen=True)
class ExportTables:
    """A camera's tables, and what they were made with.

    Attributes:
        camera_id: of the camera.
        media, processed, frames, detections: of `munin.tables`.
        observations: rows of `tables.OBSERVATIONS`.
        models: the role of each model ("detector") and its name and hash.
        labelled_at: when its labels were written, UTC, whole seconds.
    """

    camera_id: str
    media: pl.LazyFrame
    processed: pl.LazyFrame
    frames: pl.LazyFrame
    detections: pl.LazyFrame
    observations: pl.DataFrame
    models: Mapping[str, str]
    labelled_at: datetime

    def boxes(self) -> pl.LazyFrame:
        """Rows of `tables.DETECTIONS` with the visit that each is in: the columns OBSERVATION_FIELDS; null
        for a box that is in none."""
        return self.detections.join(
            self._members(), on=["path", "frame_number", "box_number"], how="left"
        )

    def missed(self) -> pl.LazyFrame:
        """What reviewers saw in media in which nothing was found, a row for each visit that such a
        medium is in: path, content_hash and OBSERVATION_FIELDS."""
        contents = self.media.select("path", "content_hash")
        without = self._members().filter(pl.col("box_number").is_null())
        return without.select("path", *OBSERVATION_FIELDS).join(contents, on="path")

    def _members(self) -> pl.LazyFrame:
        """What visits are made of: path, frame_number, box_number and OBSERVATION_FIELDS."""
        visits = self.observations.lazy().select(
            *(name for name in OBSERVATION_FIELDS if not name.startswith("visit_")),
            "detection_timeline",
            visit_category="category",
        )
        return (
            visits.explode("detection_timeline")
            .unnest("detection_timeline")
            .rename({"confidence": "visit_confidence"})
            .select("path", "frame_number", "box_number", *OBSERVATION_FIELDS)
        )

    def without_people(self) -> "ExportTables":
        """The same without visits of people and without every medium that may show one."""
        taken_for_one = self.detections.filter(pl.col("category") == PERSON).select("path")
        visited = self._members().filter(pl.col("visit_category") == PERSON).select("path")
        contents = self.media.select("path", "content_hash")
        shown = pl.concat([taken_for_one, visited]).unique().join(contents, on="path")
        gone = (
            self.media.join(shown, on="content_hash", how="semi").select("path").unique().collect()
        )
        hidden = gone.lazy()
        first_is_shown = ~pl.col("source_video").is_in(gone["path"].implode())
        return replace(
            self,
            media=self.media.join(hidden, on="path", how="anti"),
            processed=self.processed.join(hidden, on="path", how="anti"),
            frames=self.frames.join(hidden, on="path", how="anti"),
            detections=self.detections.join(hidden, on="path", how="anti"),
            observations=self.observations.filter(pl.col("category") != PERSON).with_columns(
                source_video=pl.when(first_is_shown).then("source_video")
            ),
        )


@contextmanager
def open_export_tables(
    store: ObjectStore, made: ObjectStore, camera_id: str
) -> Iterator[ExportTables]:
    """What a camera's output holds, for as long as the context lasts.

    Args:
        store: the output, with `tables/`.
        made: where Stage 3 put its results; the same, or a folder of a re-run.

    Raises:
        StoreError: a table is missing, damaged or of another version; names the stage to run.
    """
    with ExitStack() as stack:
        read = {
            name: read_table(store, stack, *TABLE_SOURCES[name])
            for name in ("media", "processed", "frames", "detections")
        }
        observations = read_table(
            made, stack, OBSERVATIONS_TABLE, schemas.OBSERVATIONS, "Stage 3 (observations)"
        ).collect()
        models = {
            **build.read_origin(store, layout.DETECTIONS_TABLE).models,
            **build.read_origin(store, layout.CLASSIFICATIONS_TABLE).models,
        }
        yield ExportTables(
            camera_id=camera_id,
            observations=observations,
            models=models,
            labelled_at=_written_at(store, layout.CLASSIFICATIONS_TABLE),
            **read,
        )


def _written_at(store: ObjectStore, key: str) -> datetime:
    folder = key.rpartition("/")[0]
    written = next(found.modified_ns for found in store.list(folder) if found.key == key)
    return datetime.fromtimestamp(written // 10**9, UTC)
