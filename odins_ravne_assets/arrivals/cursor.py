"""The stored form of the new-footage sensor's cursor, and its versions.

    1   release 0.1.0: without `version`, `reported` and `index`; `settling` holds all cameras of a
        folder, also None for those it has just found
    2   `version`, `index`, `sweep.comparing`, `sweep.confirmed`

Newer members are ignored. A cursor that cannot be read costs a full listing, and no upload: the
messages of its receipts are delivered again.
"""

import json

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from odins_ravne_assets.arrivals.listing import Sweep
from odins_ravne_assets.arrivals.pending import PendingUpload

VERSION = 2


class _Stored(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)


class _Cameras(_Stored):
    waiting: dict[str, PendingUpload]
    by: dict[str, float]


class _Decision(_Stored):
    """What a scan of a folder decided about a camera's footage.

    Args:
        of: the fingerprint of its media.
        since: when it was first seen.
        done: when it was compared with the camera's table; 0: not yet.
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    of: str = Field(alias="is")
    since: float
    done: float


class StoredCursor(_Stored):
    """See SensorState."""

    version: int = VERSION
    cameras: _Cameras
    receipts: list[str]
    refused: dict[str, str]
    reported: list[str] = []
    sweep: Sweep
    listed_at: float
    settling: dict[str, _Decision | None] = {}
    index: str = ""


def read_cursor(text: str) -> StoredCursor | str:
    """Return the content of a cursor; if it cannot be read, the reason."""
    try:
        tree = json.loads(text)
        if not isinstance(tree, dict):
            return "it is not of this sensor"
        if (version := tree.setdefault("version", 1)) not in range(1, VERSION + 1):
            return f"it is of version {version!r:.20}, and this version reads 1 to {VERSION}"
        stored = StoredCursor.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    except (ValueError, RecursionError):
        return "it is not JSON"
    stored.version = VERSION
    return stored
