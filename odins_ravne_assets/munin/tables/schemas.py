"""The schema of every table, in one place. Tables are Parquet files written by polars.

Conventions
- A time is the wall clock the camera wrote (`Datetime("ms")`, no zone), corrected if the owner
  says so, beside `utc_offset_minutes`, which is null when the camera did not say. No time is
  ever converted to another zone, and a missing time is null.
- A box is x, y, w, h: top left corner and size, as fractions of the upright picture.
- `content_hash` is the SHA-256 of the file's bytes, in hexadecimal. It is the identity of a
  medium: a renamed file is the same medium.
"""

import polars as pl

TIME = pl.Datetime("ms")
ColumnType = pl.DataType | type[pl.DataType]


def _schema(columns: dict[str, ColumnType]) -> pl.Schema:
    return pl.Schema(columns)


MEDIA = _schema(
    {
        "camera_id": pl.String,
        "path": pl.String,  # relative to the camera's footage, forward slashes
        "content_hash": pl.String,  # null when the file could not be read
        "bytes": pl.Int64,
        "modified_ns": pl.Int64,  # the file's date, nanoseconds since 1970 UTC: a cache key
        "kind": pl.String,  # image | video
        "format": pl.String,  # jpeg, png, tiff, webp, mp4, mov, avi, mkv, mpeg, asf, 3gp
        "width": pl.Int32,  # of the upright picture
        "height": pl.Int32,
        "recorded_at": TIME,  # what the camera wrote
        "captured_at": TIME,  # recorded_at with the owner's clock correction
        "utc_offset_minutes": pl.Int16,
        "time_source": pl.String,  # exif | container | filename | file_date; null: no time
        "latitude": pl.Float64,
        "longitude": pl.Float64,
        "camera_make": pl.String,
        "camera_model": pl.String,
        "camera_serial": pl.String,
        "duration_seconds": pl.Float64,  # of a video, as its container says
        "fps": pl.Float64,
        "status": pl.String,  # ok | failed | duplicate
        "reason": pl.String,  # why failed, what it duplicates; a remark when ok
    }
)

# What Stage 1 keeps of one medium in the journal. No paths and no cameras: the content alone.
FINISHED_MEDIA = _schema(
    {
        "content_hash": pl.String,
        "status": pl.String,  # done | failed
        "reason": pl.String,
        "frames_decoded": pl.Int32,
        "frames_skipped": pl.Int32,  # sampled, but the motion gate saw no need to look
        "boxes": pl.Int32,
    }
)
# Failures that were taken back: their media are looked at again.
WITHDRAWN = _schema({"part": pl.String, "content_hash": pl.String})
FOUND_FRAMES = _schema(
    {
        "content_hash": pl.String,
        "frame_number": pl.Int32,  # 0-based, in order of presentation
        "time_offset_ms": pl.Int64,  # since the first frame; 0 for a still
        "boxes": pl.Int32,
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
        "category_confidence": pl.Float32,  # of the model that told the category; null: none did
        "x": pl.Float32,
        "y": pl.Float32,
        "w": pl.Float32,
        "h": pl.Float32,
    }
)
CROPS = _schema(
    {
        "content_hash": pl.String,
        "frame_number": pl.Int32,
        "box_number": pl.Int32,
        "crop_x": pl.Float32,  # the region that was cut out, as fractions of the picture
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
    }
)

# What became of each media file, after Stages 0 and 1: none is ever missing here.
PROCESSED = _schema(
    {
        "camera_id": pl.String,
        "path": pl.String,
        "content_hash": pl.String,
        "kind": pl.String,
        "status": pl.String,  # done | failed | duplicate | pending (Stage 1 has not come to it)
        "reason": pl.String,  # why failed, what it duplicates; a remark when done
        "frames_decoded": pl.Int32,
        "frames_looked_at": pl.Int32,
        "frames_skipped": pl.Int32,  # by the motion gate
        "boxes": pl.Int32,
    }
)

RANKED_LABEL = pl.Struct(
    {"label": pl.String, "scientific_name": pl.String, "confidence": pl.Float32}
)
# What Stage 2 keeps of one medium's boxes in the journal.
LABELLED_BOXES = _schema(
    {
        "content_hash": pl.String,
        "frame_number": pl.Int32,
        "box_number": pl.Int32,
        "label": pl.String,
        "scientific_name": pl.String,  # null where none is known
        "confidence": pl.Float32,
        "auto_ok": pl.Boolean,  # sure enough to be used without a person's look
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

# What is known of the animals that labels name: one row per taxon.
TAXA = _schema(
    {
        "scientific_name": pl.String,
        "common_name": pl.String,
        "rank": pl.String,  # class, order, family, genus, species, or one between them
        "class": pl.String,  # the taxon's own name at its own rank; null above it
        "order": pl.String,
        "family": pl.String,
        "genus": pl.String,
    }
)

# What a reviewer says of a medium, or of one box of it; the latest word wins.
CORRECTIONS = _schema(
    {
        "content_hash": pl.String,
        "frame_number": pl.Int32,  # null: the whole medium
        "x": pl.Float32,  # of the box that was meant; null: all of them
        "y": pl.Float32,
        "w": pl.Float32,
        "h": pl.Float32,
        "category": pl.String,  # animal | person | vehicle; null: there is nothing
        "species": pl.String,
        "scientific_name": pl.String,
        "count": pl.Int32,  # how many of it the medium shows; null: not counted
        # In a medium without a box: the species whose place it takes; null: of all said before.
        "instead_of": pl.String,
        "comment": pl.String,
        "reviewed_by": pl.String,
        "reviewed_on": pl.Date,
    }
)

SIGHTING = pl.Struct(
    {
        "path": pl.String,
        "frame_number": pl.Int32,
        # With path and frame: the row of classifications. Both are null where a reviewer saw what
        # the machine did not find.
        "box_number": pl.Int32,
        "captured_at": TIME,
        "time_offset_ms": pl.Int64,
        "confidence": pl.Float32,
    }
)
OBSERVATIONS = _schema(
    {
        "observation_id": pl.String,
        "camera_id": pl.String,
        "category": pl.String,
        "species": pl.String,
        "scientific_name": pl.String,
        "taxon_rank": pl.String,  # as in TAXA; null where the taxonomy does not know the name
        "class": pl.String,
        "order": pl.String,
        "family": pl.String,
        "genus": pl.String,
        # Most of its boxes in one frame (MaxN), or of what reviewers counted in a medium: the least
        # number there was.
        "count": pl.Int32,
        "start_at": TIME,
        "end_at": TIME,
        "utc_offset_minutes": pl.Int16,
        "duration_seconds": pl.Float64,
        "max_confidence": pl.Float32,
        "avg_confidence": pl.Float32,
        "detection_count": pl.Int32,
        "frame_count": pl.Int32,
        "media_count": pl.Int32,
        "source_video": pl.String,  # path of the first medium, a still or a clip
        "detection_timeline": pl.List(SIGHTING),
        "vote_share": pl.Float32,  # least share of its bursts' votes; null: no box disagreed
        "relabelled": pl.Int32,  # boxes that had another label, or none, before the vote
        "label_source": pl.String,  # machine | reviewer
        # What the machine said, where a reviewer decided; null: it had found nothing.
        "machine_species": pl.String,
        "reviewed_by": pl.String,
        "reviewed_on": pl.Date,
        "flags": pl.List(pl.String),  # votes_disagree, repeat_detection: see hugin.votes, repeats
        "needs_review": pl.Boolean,
    }
)

# A small picture of a detection, made to be shared.
THUMBNAILS = _schema(
    {
        "detection_id": pl.String,
        "person": pl.Boolean,  # the detection is a person
        "blurred": pl.String,  # a hash of which people on it are blurred; empty: blur is off
        "x": pl.Float32,  # the box, as fractions of this picture
        "y": pl.Float32,
        "w": pl.Float32,
        "h": pl.Float32,
        "webp": pl.Binary,
    }
)
