"""Folders and keys of stored data: below OUTPUT, below the bucket, on this machine.

The only place for keys. They are relative to their store, with forward slashes. A change here
changes the format of stored data.
"""

from urllib.parse import urlsplit

# In any folder that is a store.

LOCK_FILE = ".lock"
# Temporary files of unfinished writes; the next holder of the lock removes them.
PARTIAL_PREFIX = ".partial-"
UPLOAD_MANIFEST = ".staged"

# Below OUTPUT, a camera's results.

# The sources of the camera's footage: see munin/media/sources.py.
SOURCES_FILE = "sources.json"
TABLES_FOLDER = "tables"
MEDIA_TABLE = f"{TABLES_FOLDER}/media.parquet"
# Files of the footage that are not media.
OTHER_FILES_TABLE = f"{TABLES_FOLDER}/other_files.parquet"
# The cameras of the study that have media with the same content.
SHARED_MEDIA_JSON = f"{TABLES_FOLDER}/shared_media.json"
PROCESSED_TABLE = f"{TABLES_FOLDER}/processed.parquet"
FRAMES_TABLE = f"{TABLES_FOLDER}/frames.parquet"
DETECTIONS_TABLE = f"{TABLES_FOLDER}/detections.parquet"
CLASSIFICATIONS_TABLE = f"{TABLES_FOLDER}/classifications.parquet"
TAXA_TABLE = f"{TABLES_FOLDER}/taxa.parquet"
CORRECTIONS_FOLDER = f"{TABLES_FOLDER}/corrections"
# The camera's deployments in the last run, with exact coordinates.
DEPLOYMENTS_JSON = f"{TABLES_FOLDER}/deployments.json"

# The ids of the camera before it was renamed.
EARLIER_IDS_JSON = f"{TABLES_FOLDER}/earlier_ids.json"

JOURNAL_STAGE1 = "journal/stage1"
JOURNAL_STAGE2 = "journal/stage2"
# The models and settings of the results, an object for each stage: several workers write them.
STAGE1_SETTINGS = "journal/settings/stage1.json"
STAGE2_SETTINGS = "journal/settings/stage2.json"
# Media whose journal entries are invalid.
WITHDRAWN_FOLDER = "journal/withdrawn"
# Media that a worker is decoding: after a crash, one of them may be its cause.
MEDIA_IN_PROGRESS = "journal/in-hand.json"
# The GPU engine that the camera's first machine chose, for the machines after it.
CAMERA_ENGINE = "journal/engine.json"

STAGE3_FOLDER = "stage3"
OBSERVATIONS_PARQUET = "observations.parquet"
REPORT_JSON_FILE = "report.json"
OBSERVATIONS_TABLE = f"{STAGE3_FOLDER}/{OBSERVATIONS_PARQUET}"
LEFT_OUT_TABLE = f"{STAGE3_FOLDER}/left_out_detections.parquet"
OBSERVATIONS_JSON = f"{STAGE3_FOLDER}/compressed_observations.json"
REPORT_JSON = f"{STAGE3_FOLDER}/{REPORT_JSON_FILE}"
REPORT_PAGE = f"{STAGE3_FOLDER}/report.html"
THUMBNAILS_TABLE = f"{STAGE3_FOLDER}/thumbnails.parquet"

# Exported files, in STAGE3_FOLDER of a camera or in the folder of a project's export.
MEGADETECTOR_FILE = "megadetector.json"
MEGADETECTOR_JSON = f"{STAGE3_FOLDER}/{MEGADETECTOR_FILE}"
OBSERVATIONS_CSV = "observations.csv"
OBSERVATIONS_XLSX = "observations.xlsx"
CAMTRAP_DP_FOLDER = "camtrap-dp"

# Predictions of SpeciesNet, named by their checksum.
PREDICTIONS_FOLDER = "predictions"
# Cache of engines built for GPUs.
ENGINES_FOLDER = "engines"
# Records of launches, and the messages between jobs and orchestrator.
LAUNCHES_FOLDER = "launches"
LAUNCH_RECORD = "record.json"  # in the folder of each launch
PIPES_CONTEXT = "context.json"  # in the folder of each job
LEDGER_FOLDER = "ledger"
# One JSON file per prediction, named by its time.
PLANS_FOLDER = "plans"

# Below the bucket of OUTPUT.

# Leases of runs that use compute.
USAGE_LEASES_FOLDER = "in-use"
# Footage: copies of local footage, and uploads.
FOOTAGE_FOLDER = "footage/"

# Below the home folder of this machine.

CAMERAS_FOLDER = "cameras"
BACKFILLS_FOLDER = "backfills"
# Samples of the content hashes of cameras.
MEDIA_SAMPLES_FOLDER = "media-samples"
COSTS_FOLDER = "costs"
# What the folders of uploads held when the sensor last listed them.
UPLOADS_INDEX = "uploads/folders.sqlite"
IDLE_MACHINES_FOLDER = "waiting-machines"
# The lines on the catalogue of models that were printed on this machine.
CATALOGUE_MARKER = "catalogue-named.txt"
# Its lock is held while a job is submitted under a monthly budget.
BUDGET_LOCK_FOLDER = "budget"

# In a models folder, local or in a bucket: a folder for each model.

MODELS_FOLDER = "models"
# How a model was installed: its address, its checksums, the licence that was accepted.
MODEL_ORIGIN_FILE = "origin.json"
MODEL_LABELS_FILE = "labels.tsv"
MODEL_NETWORK_FILE = "model.onnx"
# Unfinished downloads, and the folders of models that are being put together.
MODEL_DOWNLOADS_FOLDER = ".downloads"


def uploaded_footage_url(camera_id: str, output_url: str, source: str = "") -> str:
    """Return where local footage is copied to for jobs: in the bucket of the camera's results.

    Args:
        source: the name of the source, for all but the first one of the camera.
    """
    bucket = urlsplit(output_url).netloc
    suffix = f"+{source}" if source else ""  # no id of a camera holds a plus
    return f"s3://{bucket}/{FOOTAGE_FOLDER}{camera_id}{suffix}"


def model_manifest_key(name: str) -> str:
    """Return the key of a model's manifest; the keys of its files are relative to its folder."""
    return f"{name}/{name}.toml"
