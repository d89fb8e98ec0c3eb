"""Validate exports with the validators of their formats, and with rules the formats state in prose.

`camtrap_dp/` holds the profile and table schemas of Camtrap DP 1.0.2, under their MIT licence.
"""

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
from frictionless import Package, system
from jsonschema import Draft4Validator
from PIL import ImageFile
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

# Importing MegaDetector's package makes Pillow load truncated images in the whole process.
_load_truncated = ImageFile.LOAD_TRUNCATED_IMAGES
from megadetector.postprocessing.validate_batch_results import (  # noqa: E402
    ValidateBatchResultsOptions,
    validate_batch_results,
)

ImageFile.LOAD_TRUNCATED_IMAGES = _load_truncated

SCHEMAS = Path(__file__).parent / "camtrap_dp"
# Remote schemas that the profile refers to, reduced to the rules that these exports could violate.
DATA_PACKAGE = {
    "type": "object",
    "required": ["resources"],
    "properties": {"name": {"type": "string", "pattern": "^[-a-z0-9._/]+$"}},
}
GEOJSON = {
    "type": "object",
    "required": ["type", "coordinates"],
    "properties": {
        "type": {"enum": ["MultiPoint"]},
        "coordinates": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "array",
                "items": [
                    {"type": "number", "minimum": -180, "maximum": 180},
                    {"type": "number", "minimum": -90, "maximum": 90},
                ],
                "minItems": 2,
                "maxItems": 2,
            },
        },
    },
}
TABLES = ("deployments", "media", "observations")


def camtrap_dp_errors(folder: Path) -> list[str]:
    """Return the errors of a package; empty if it is a valid Camtrap DP 1.0.2."""
    descriptor = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
    return [
        *_profile_errors(descriptor),
        *_table_errors(descriptor, folder),
        *_prose_errors(descriptor, folder),
    ]


def _profile_errors(descriptor: Any) -> list[str]:
    profile = json.loads((SCHEMAS / "camtrap-dp-profile.json").read_text())
    registry: Any = Registry().with_resources(
        [
            (url, Resource.from_contents(schema, default_specification=DRAFT4))
            for url, schema in (
                ("https://specs.frictionlessdata.io/schemas/data-package.json", DATA_PACKAGE),
                ("http://json.schemastore.org/geojson.json", GEOJSON),
            )
        ]
    )
    found = Draft4Validator(profile, registry=registry).iter_errors(descriptor)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def _table_errors(descriptor: Any, folder: Path) -> list[str]:
    resources = [
        {key: value for key, value in resource.items() if key != "profile"}
        | {"schema": json.loads((SCHEMAS / f"{resource['name']}-table-schema.json").read_text())}
        for resource in descriptor["resources"]
    ]
    with system.use_context(trusted=True):
        package = Package.from_descriptor(
            {"name": descriptor["name"], "resources": resources}, basepath=str(folder)
        )
        report = package.validate()
    return [f"{task.name}: {error.message}" for task in report.tasks for error in task.errors] + [
        error.message for error in report.errors
    ]


def _prose_errors(descriptor: Any, folder: Path) -> list[str]:
    """Violations of rules that the standard states in prose and its schemas do not check."""
    deployments, media, observations = (
        pl.read_csv(folder / f"{name}.csv", infer_schema=False) for name in TABLES
    )
    level, kind = pl.col("observationLevel"), pl.col("observationType")
    sides = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
    boxed = [pl.col(side).is_not_null() for side in sides]
    x, y, w, h = (pl.col(side).cast(pl.Float64) for side in sides)
    start, end = _time("eventStart"), _time("eventEnd")
    of_media = observations.join(
        media.select("mediaID", medium_deployment="deploymentID"), on="mediaID", how="left"
    )
    rules = {
        "an event row names a medium": (level == "event") & pl.col("mediaID").is_not_null(),
        "an event row has no eventID": (level == "event") & pl.col("eventID").is_null(),
        "a media row names no medium": (level == "media") & pl.col("mediaID").is_null(),
        "a row has another deployment than its medium": pl.col("medium_deployment")
        != pl.col("deploymentID"),
        "an event ends before it starts": start > end,
        "a box is incomplete": pl.any_horizontal(boxed) & ~pl.all_horizontal(boxed),
        "an event row has a box": (level == "event") & pl.any_horizontal(boxed),
        "a box exceeds its picture": (x + w > 1.0001) | (y + h > 1.0001),
        "a row without an animal has a scientificName": kind.is_in(
            ["blank", "vehicle", "unclassified"]
        )
        & pl.col("scientificName").is_not_null(),
        "a blank row has a count": (kind == "blank") & pl.col("count").is_not_null(),
        "a taxon is not in the metadata": ~pl.col("scientificName").is_in(
            [taxon["scientificName"] for taxon in descriptor["taxonomic"]]
        ),
    }
    broken = of_media.select(
        rule.fill_null(False).sum().alias(name) for name, rule in rules.items()
    ).row(0, named=True)
    found = [f"{name}: {count} rows" for name, count in broken.items() if count]
    event_deployments = observations.group_by("eventID").agg(pl.col("deploymentID").n_unique())
    if not event_deployments.filter(
        pl.col("eventID").is_not_null() & (pl.col("deploymentID") > 1)
    ).is_empty():
        found.append("an event has two deployments")
    if not _outside_of_deployments(media, deployments).is_empty():
        found.append("media are outside of the periods of their deployments")
    return found


def _outside_of_deployments(media: pl.DataFrame, deployments: pl.DataFrame) -> pl.DataFrame:
    """Media outside of the periods of their deployments."""
    timed = media.join(deployments, on="deploymentID")
    time, start, end = (_time(name) for name in ("timestamp", "deploymentStart", "deploymentEnd"))
    return timed.filter((time < start) | (time > end))


def _time(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%S%z", strict=False)


def megadetector_errors(path: Path) -> list[str]:
    """Return the errors of a file; empty if it is a valid MegaDetector JSON 1.6."""
    found = validate_batch_results(str(path), ValidateBatchResultsOptions())["validation_results"]
    content = json.loads(path.read_text(encoding="utf-8"))
    errors = list(found["errors"])
    if content["info"]["format_version"] != "1.6":
        errors.append("not version 1.6")
    files = [image["file"] for image in content["images"]]
    if len(set(files)) < len(files):
        errors.append("a file is listed twice")
    for image in content["images"]:
        errors += [f"{image['file']}: {error}" for error in _image_errors(image)]
    return errors


def _image_errors(image: dict[str, Any]) -> list[str]:
    """Errors that the official validator does not check."""
    detections = image["detections"]
    if image.get("failure") is not None:
        return ["a failed file has detections"] if detections is not None else []
    errors = []
    confidences = [detection["conf"] for detection in detections]
    if confidences != sorted(confidences, reverse=True):
        errors.append("detections are not ordered by confidence")
    for detection in detections:
        x, y, w, h = detection["bbox"]
        if not all(map(math.isfinite, (x, y, w, h, detection["conf"]))):
            errors.append("a number is not finite")
        if not 0 <= detection["conf"] <= 1:
            errors.append("a confidence is not between 0 and 1")
        if min(x, y) < 0 or min(w, h) <= 0 or x + w > 1.001 or y + h > 1.001:
            errors.append(f"box {x}, {y}, {w}, {h} is empty or exceeds the picture")
        if (
            "frames_processed" in image
            and detection["frame_number"] not in image["frames_processed"]
        ):
            errors.append("a box in a frame that was not processed")
    return errors
