"""The schema of every table, in one place. Tables are Parquet files written by polars.

Conventions
- A time is the camera's wall clock (`Datetime("ms")`, no zone) with the user's clock corrections.
  Its zone is in `utc_offset_minutes`, which is null if unknown. No time is ever converted to
  another zone, and a missing time is null. Times are sorted and subtracted as instants: see
  `munin/tables/instants.py`.
- A box is x, y, w, h: top left corner and size, as fractions of the upright picture.
- `content_hash` is the SHA-256 of the file's bytes, in hexadecimal. It identifies a
  medium: a renamed file is the same medium.
"""

import polars as pl

TIME = pl.Datetime("ms")
# Columns that journals and tables of earlier versions lack; they are null there.
ADDED_COLUMNS = frozenset(
    {
        "edge_strips",
        "person_confidence",
        "end_utc_offset_minutes",
        "detection_offsets",
        "first_detection",
        "withdraws",
        "imported_at",
        "source",
        "sequence_number",
        "sequence_length",
        "trigger",
        "staff_label",
        "staff_labelled_by",
        "staff_labelled_on",
        "temperature",
        "moon_phase",
    }
)
ColumnType = pl.DataType | type[pl.DataType]


def _schema(columns: dict[str, ColumnType]) -> pl.Schema:
    return pl.Schema(columns)


MEDIA = _schema(
    {
        "camera_id": pl.String,
        # Relative to its source, forward slashes. It begins with the name of the source if the
        # camera has several.
        "path": pl.String,
        "content_hash": pl.String,  # null if the file could not be read
        "bytes": pl.Int64,
        "modified_ns": pl.Int64,  # the file's date, nanoseconds since 1970 UTC: a cache key
        "kind": pl.String,  # image | video
        "format": pl.String,  # jpeg, png, tiff, webp, mp4, mov, avi, mkv, mpeg, asf, 3gp
        "width": pl.Int32,  # of the upright picture
        "height": pl.Int32,
        "recorded_at": TIME,  # the camera's wall clock
        "captured_at": TIME,  # recorded_at with the user's clock correction
        "utc_offset_minutes": pl.Int16,
        "time_source": pl.String,  # exif | xmp | container | filename | file_date; null: no time
        "latitude": pl.Float64,
        "longitude": pl.Float64,
        "camera_make": pl.String,
        "camera_model": pl.String,
        "camera_serial": pl.String,
        "duration_seconds": pl.Float64,  # of a video, by its container
        "fps": pl.Float64,
        "status": pl.String,  # ok | failed | duplicate
        "reason": pl.String,  # of failed and duplicate media; a remark if ok
        "source": pl.String,  # the name of its source; null if the camera has only one
        # Of the camera's notes, if it writes them and they are read:
        "sequence_number": pl.Int16,  # the picture's number in its burst, from 1
        "sequence_length": pl.Int16,  # pictures of the burst
        "trigger": pl.String,  # motion | time_lapse | external | manual
        "temperature": pl.Int16,  # °C
        "moon_phase": pl.String,  # new | waxing crescent | first quarter | …
    }
)

# Files of a camera's footage that are not media, one row per kind.
OTHER_FILES = _schema(
    {
        "kind": pl.String,  # "sound file"
        "files": pl.Int64,
        "examples": pl.List(pl.String),  # the first paths
    }
)

# Journal of Stage 1: media, by their content alone, without paths and cameras.
FINISHED_MEDIA = _schema(
    {
        "content_hash": pl.String,
        "status": pl.String,  # done | failed
        "reason": pl.String,
        "frames_decoded": pl.Int32,
        "frames_skipped": pl.Int32,  # sampled frames that the motion gate skipped
        "boxes": pl.Int32,
    }
)
# Failures whose media are to be retried.
WITHDRAWN = _schema({"part": pl.String, "content_hash": pl.String})
# Uniform rows at the edges of a picture: see munin/detection/edge_strips.py.
EDGE_STRIPS = pl.List(
    pl.Struct({"edge": pl.String, "depth": pl.Float32, "level": pl.UInt8, "lettered": pl.Boolean})
)
FOUND_FRAMES = _schema(
    {
        "content_hash": pl.String,
        "frame_number": pl.Int32,  # 0-based, in order of presentation
        "time_offset_ms": pl.Int64,  # since the first frame; 0 for a still
        "boxes": pl.Int32,
        "edge_strips": EDGE_STRIPS,  # of the first frame of each medium; null of the others
    }
)
FOUND_BOXES = _schema(
    {
        "content_hash": pl.String,
        "frame_number": pl.Int32,
        "box_number": pl.Int32,  # 0-based, by falling confidence within the frame
        "time_offset_ms": pl.Int64,
        "category": pl.String,  # animal | person | vehicle
        "confidence": pl.Float32,  # of the detector
        "category_confidence": pl.Float32,  # of the category detector; null: there was none
        "x": pl.Float32,
        "y": pl.Float32,
        "w": pl.Float32,
        "h": pl.Float32,
        # Of a person, for a box that is none because this is below the threshold for people: its
        # pictures are blurred like a person's. Null: no person was found in it.
        "person_confidence": pl.Float32,
    }
)
CROPS = _schema(
    {
        "content_hash": pl.String,
        "frame_number": pl.Int32,
        "box_number": pl.Int32,
        "crop_x": pl.Float32,  # the region, as fractions of the picture
        "crop_y": pl.Float32,
        "crop_w": pl.Float32,
        "crop_h": pl.Float32,
        "jpeg": pl.Binary,
    }
)

FRAMES = _schema(
    {
        "camera_id": pl.String,
        "path": pl.String,
        "content_hash": pl.String,
        "kind": pl.String,
        "frame_number": pl.Int32,
        "time_offset_ms": pl.Int64,
        "captured_at": TIME,  # of this frame
        "utc_offset_minutes": pl.Int16,
        "boxes": pl.Int32,
        "edge_strips": EDGE_STRIPS,
    }
)
DETECTIONS = _schema(
    {
        "detection_id": pl.String,  # first 16 of content_hash, frame number, box number
        "camera_id": pl.String,
        "path": pl.String,
        "content_hash": pl.String,
        "kind": pl.String,
        "frame_number": pl.Int32,
        "box_number": pl.Int32,
        "time_offset_ms": pl.Int64,
        "captured_at": TIME,
        "utc_offset_minutes": pl.Int16,
        "category": pl.String,
        "confidence": pl.Float32,
        "category_confidence": pl.Float32,
        "x": pl.Float32,
        "y": pl.Float32,
        "w": pl.Float32,
        "h": pl.Float32,
        "person_confidence": pl.Float32,
    }
)

# The status of every media file after Stages 0 and 1.
PROCESSED = _schema(
    {
        "camera_id": pl.String,
        "path": pl.String,
        "content_hash": pl.String,
        "kind": pl.String,
        "status": pl.String,  # done | failed | duplicate | pending (not processed by Stage 1)
        "reason": pl.String,  # of failed and duplicate media; a remark if done
        "frames_decoded": pl.Int32,
        "frames_looked_at": pl.Int32,
        "frames_skipped": pl.Int32,  # by the motion gate
        "boxes": pl.Int32,
    }
)

RANKED_LABEL = pl.Struct(
    {"label": pl.String, "scientific_name": pl.String, "confidence": pl.Float32}
)
# Journal of Stage 2: labels of boxes.
LABELLED_BOXES = _schema(
    {
        "content_hash": pl.String,
        "frame_number": pl.Int32,
        "box_number": pl.Int32,
        "label": pl.String,
        "scientific_name": pl.String,  # null if unknown
        "confidence": pl.Float32,
        "auto_ok": pl.Boolean,  # needs no review
        "top5": pl.List(RANKED_LABEL),  # null for people and vehicles, which are not classified
    }
)
CLASSIFICATIONS = _schema(
    {
        "detection_id": pl.String,
        "camera_id": pl.String,
        "path": pl.String,
        "content_hash": pl.String,
        "kind": pl.String,
        "frame_number": pl.Int32,
        "box_number": pl.Int32,
        "time_offset_ms": pl.Int64,
        "captured_at": TIME,
        "utc_offset_minutes": pl.Int16,
        "category": pl.String,
        "detection_confidence": pl.Float32,
        "label": pl.String,
        "scientific_name": pl.String,
        "confidence": pl.Float32,
        "auto_ok": pl.Boolean,
        "top5": pl.List(RANKED_LABEL),
    }
)

# The taxa of labels: one row per taxon.
TAXA = _schema(
    {
        "scientific_name": pl.String,
        "common_name": pl.String,
        "rank": pl.String,  # class, order, family, genus, species, or between them
        "class": pl.String,  # the taxon's own name at its own rank; null above it
        "order": pl.String,
        "family": pl.String,
        "genus": pl.String,
    }
)

# Corrections of a reviewer to a medium, or to one of its boxes; the latest one wins.
CORRECTIONS = _schema(
    {
        "content_hash": pl.String,
        "frame_number": pl.Int32,  # null: the whole medium
        "x": pl.Float32,  # of the corrected box; null: all boxes
        "y": pl.Float32,
        "w": pl.Float32,
        "h": pl.Float32,
        "category": pl.String,  # animal | person | vehicle; null: nothing there
        "species": pl.String,
        "scientific_name": pl.String,
        "count": pl.Int32,  # individuals in the medium; null: not counted
        # In a medium without a box: the species that it replaces; null: all earlier ones.
        "instead_of": pl.String,
        "comment": pl.String,
        "reviewed_by": pl.String,
        "reviewed_on": pl.Date,
        # Of the row of observations.csv that the label is of; null: of a medium or box.
        "first_detection": pl.String,
        # True: earlier labels of the medium or box are withdrawn, and this is none.
        "withdraws": pl.Boolean,
        "imported_at": pl.Datetime("ms"),  # UTC
    }
)

SIGHTING = pl.Struct(
    {
        "path": pl.String,
        "frame_number": pl.Int32,
        # With path and frame: the row of classifications. Both are null for what a reviewer added
        # and the detector missed.
        "box_number": pl.Int32,
        "captured_at": TIME,
        "time_offset_ms": pl.Int64,
        "confidence": pl.Float32,
    }
)
OBSERVATIONS = _schema(
    {
        "observation_id": pl.String,
        # The detection_id of the first row, by which the observation is found again.
        "first_detection": pl.String,
        "camera_id": pl.String,
        "category": pl.String,
        "species": pl.String,
        "scientific_name": pl.String,
        "taxon_rank": pl.String,  # as in TAXA; null if the taxonomy lacks the name
        "class": pl.String,
        "order": pl.String,
        "family": pl.String,
        "genus": pl.String,
        # Largest number of boxes in one frame (MaxN), or of individuals that reviewers counted in a
        # medium: the least number of individuals.
        "count": pl.Int32,
        "start_at": TIME,
        "end_at": TIME,
        "utc_offset_minutes": pl.Int16,  # of the start
        # Of the end; null too in results of earlier versions, which have that of the start.
        "end_utc_offset_minutes": pl.Int16,
        "duration_seconds": pl.Float64,
        "max_confidence": pl.Float32,
        "avg_confidence": pl.Float32,
        "detection_count": pl.Int32,
        "frame_count": pl.Int32,
        "media_count": pl.Int32,
        "source_video": pl.String,  # path of the first medium, a still or a video
        "detection_timeline": pl.List(SIGHTING),
        # UTC offset of each row of the timeline; null: all have that of the start.
        "detection_offsets": pl.List(pl.Int16),
        "vote_share": pl.Float32,  # least share of votes in its sequences; null: no box disagreed
        "relabelled": pl.Int32,  # boxes with another label, or none, before the vote
        "label_source": pl.String,  # machine | reviewer
        # The model's label, if a reviewer corrected it; null: the model found nothing.
        "machine_species": pl.String,
        "reviewed_by": pl.String,
        "reviewed_on": pl.Date,
        "flags": pl.List(pl.String),  # votes_disagree, repeat_detection: see hugin/identification
        "needs_review": pl.Boolean,
    }
)

# Detections that a rule of Stage 3 leaves out of all observations.
LEFT_OUT_DETECTIONS = _schema(
    {
        "path": pl.String,
        "frame_number": pl.Int32,
        "box_number": pl.Int32,
        "captured_at": TIME,  # of the frame
        # in_camera_strip, near_person, camera_setup, camera_calibration: see hugin/identification
        "reason": pl.String,
        # A reviewer's label of staff: setup, pickup, staff, calibration; else null. Without a box,
        # frame_number and box_number are null.
        "staff_label": pl.String,
        "staff_labelled_by": pl.String,
        "staff_labelled_on": pl.Date,
    }
)

# A thumbnail of a detection, for reports that are shared.
THUMBNAILS = _schema(
    {
        "detection_id": pl.String,
        "person": pl.Boolean,  # the detection is a person
        "blurred": pl.String,  # a hash of the blurred people; empty: blur is off
        "x": pl.Float32,  # the box, as fractions of this picture
        "y": pl.Float32,
        "w": pl.Float32,
        "h": pl.Float32,
        "webp": pl.Binary,
    }
)
