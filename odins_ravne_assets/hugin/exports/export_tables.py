"""The tables of a camera that exports read, optionally without people."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl

from odins_ravne_assets.hugin.identification.identifications import BOX_KEY
from odins_ravne_assets.hugin.identification.taxonomy import Taxonomy
from odins_ravne_assets.hugin.privacy.people import is_person, people_boxes, reviewed_people_boxes
from odins_ravne_assets.hugin.review.corrections import read_corrections
from odins_ravne_assets.hugin.visits.results_taxonomy import results_taxonomy
from odins_ravne_assets.hugin.visits.stage3 import TABLE_SOURCES, read_left_out, read_table
from odins_ravne_assets.munin.media.shared_media import (
    SharedMedia,
    load_shared_media,
    shared_media_lines,
)
from odins_ravne_assets.munin.tables import build, schemas
from resources.settings.project import ListedSpecies
from resources.storage import layout
from resources.storage.layout import OBSERVATIONS_TABLE
from resources.storage.object_store import ObjectStore

PERSON = "person"
# Columns that a detection gets from its observation.
OBSERVATION_FIELDS = (
    "observation_id",
    "species",
    "scientific_name",
    "flags",
    "label_source",
    "reviewed_by",
    "reviewed_on",
    "observation_category",
    "observation_confidence",  # of this detection in the observation
)


STAFF_COLUMNS = ("staff_label", "staff_labelled_by", "staff_labelled_on")
_IS_STAFF = pl.col("staff_label").is_not_null()
# The author of a label of staff, in the columns that an observation's author has.
_LABELLED_STAFF = [
    pl.when(_IS_STAFF).then(value).otherwise(name).alias(name)
    for name, value in (
        ("label_source", pl.lit("reviewer")),
        ("reviewed_by", pl.col("staff_labelled_by")),
        ("reviewed_on", pl.col("staff_labelled_on")),
    )
]


@dataclass(frozen=True)
class ExportTables:
    """The tables of a camera, and their provenance.

    Attributes:
        camera_id: the camera.
        media, processed, frames, detections, classifications: tables of Stages 0 to 2.
        observations: rows of `tables.OBSERVATIONS`.
        left_out: rows of `tables.LEFT_OUT_DETECTIONS`.
        reviewed_people: the result of `reviewed_people_boxes`.
        models: the name and hash of each model by role ("detector").
        labelled_at: the time at which the classifications were written, UTC, whole seconds.
        taxonomy: the result of `results_taxonomy`.
        shared_media: media that other cameras of the study have too.
    """

    camera_id: str
    media: pl.LazyFrame
    processed: pl.LazyFrame
    frames: pl.LazyFrame
    detections: pl.LazyFrame
    classifications: pl.LazyFrame
    observations: pl.DataFrame
    left_out: pl.LazyFrame
    reviewed_people: pl.LazyFrame
    models: Mapping[str, str]
    labelled_at: datetime
    taxonomy: Taxonomy
    shared_media: tuple[SharedMedia, ...] = ()

    def boxes(self) -> pl.LazyFrame:
        """Return rows of `tables.DETECTIONS` with OBSERVATION_FIELDS and left_out_reason.

        They are null if the detection is in no observation, or not left out.
        """
        left_out = self.left_out.select(*BOX_KEY, *STAFF_COLUMNS, left_out_reason="reason").unique(
            BOX_KEY, keep="first", maintain_order=True
        )
        members = self.detections.join(self._members(), on=BOX_KEY, how="left")
        return members.join(left_out, on=BOX_KEY, how="left").with_columns(_LABELLED_STAFF)

    def staff(self) -> pl.LazyFrame:
        """Return the labels of staff for whole media.

        Columns: path, content_hash, left_out_reason, STAFF_COLUMNS, label_source, reviewed_by,
        reviewed_on.
        """
        contents = self.media.select("path", "content_hash")
        whole = self.left_out.filter(pl.col("box_number").is_null())
        empty = {"label_source": pl.String, "reviewed_by": pl.String, "reviewed_on": pl.Date}
        return (
            whole.select("path", *STAFF_COLUMNS, left_out_reason="reason")
            .join(contents, on="path")
            .with_columns(pl.lit(None, kind).alias(name) for name, kind in empty.items())
            .with_columns(_LABELLED_STAFF)
        )

    def missed_detections(self) -> pl.LazyFrame:
        """Return the labels of reviewers for media without detections.

        Columns: path, content_hash and OBSERVATION_FIELDS; one row per medium and observation.
        """
        contents = self.media.select("path", "content_hash")
        missed = self._members().filter(pl.col("box_number").is_null())
        return missed.select("path", *OBSERVATION_FIELDS).join(contents, on="path")

    def _members(self) -> pl.LazyFrame:
        """The timelines: path, frame_number, box_number and OBSERVATION_FIELDS."""
        observations = self.observations.lazy().select(
            *(name for name in OBSERVATION_FIELDS if name in schemas.OBSERVATIONS),
            "detection_timeline",
            observation_category="category",
        )
        return (
            observations.explode("detection_timeline")
            .unnest("detection_timeline")
            .rename({"confidence": "observation_confidence"})
            .select("path", "frame_number", "box_number", *OBSERVATION_FIELDS)
        )

    def without_people(self) -> "ExportTables":
        """Return the tables without observations of people and without media that show people.

        A detection, a label of any confidence, or a reviewer names people: see `people_boxes`.
        """
        detected = self.detections.filter(pl.col("category") == PERSON).select("path")
        observations = self.observations.lazy()
        shown = people_boxes(
            observations, self.classifications, self.left_out, self.reviewed_people
        ).select("path")
        contents = self.media.select("path", "content_hash")
        with_people = pl.concat([detected, shown]).unique().join(contents, on="path")
        paths = (
            self.media.join(with_people, on="content_hash", how="semi")
            .select("path")
            .unique()
            .collect()
        )
        hidden = paths.lazy()
        first_medium_is_shown = ~pl.col("source_video").is_in(paths["path"].implode())
        return replace(
            self,
            media=self.media.join(hidden, on="path", how="anti"),
            processed=self.processed.join(hidden, on="path", how="anti"),
            frames=self.frames.join(hidden, on="path", how="anti"),
            detections=self.detections.join(hidden, on="path", how="anti"),
            observations=self.observations.filter(~is_person()).with_columns(
                source_video=pl.when(first_medium_is_shown).then("source_video")
            ),
        )


@contextmanager
def open_export_tables(
    store: ObjectStore,
    results: ObjectStore,
    camera_id: str,
    species: Sequence[ListedSpecies] = (),
) -> Iterator[ExportTables]:
    """Open the tables of a camera for as long as the context lasts.

    Args:
        store: the camera's output, with `tables/`.
        results: the store with `stage3/`: `store`, or the folder of a re-run.
        species: the project's list of species.

    Raises:
        StoreError: a table is missing, damaged or of another version, or the tables are those of an
            interrupted update (`check_same_journal`); names the stage to run.
    """
    with ExitStack() as stack:
        tables = {
            name: read_table(store, stack, *TABLE_SOURCES[name])
            for name in ("media", "processed", "frames", "detections", "classifications")
        }
        build.check_same_journal(store)
        observations = read_table(
            results, stack, OBSERVATIONS_TABLE, schemas.OBSERVATIONS, "Stage 3 (observations)"
        ).collect()
        models = {
            **build.read_origin(store, layout.DETECTIONS_TABLE).models,
            **build.read_origin(store, layout.CLASSIFICATIONS_TABLE).models,
        }
        yield ExportTables(
            camera_id=camera_id,
            observations=observations,
            left_out=read_left_out(results, stack),
            reviewed_people=reviewed_people_boxes(
                read_corrections(store, stack), tables["detections"]
            ),
            models=models,
            labelled_at=_modified_at(store, layout.CLASSIFICATIONS_TABLE),
            taxonomy=results_taxonomy(store, results, species),
            shared_media=load_shared_media(store),
            **tables,
        )


def shared_media_remarks(cameras: Iterable[ExportTables]) -> Iterator[str]:
    """Yield a line for each two cameras of the study that have the same media."""
    return shared_media_lines({camera.camera_id: camera.shared_media for camera in cameras})


def _modified_at(store: ObjectStore, key: str) -> datetime:
    folder = key.rpartition("/")[0]
    modified_ns = next(found.modified_ns for found in store.list(folder) if found.key == key)
    return datetime.fromtimestamp(modified_ns // 10**9, UTC)
