"""What the tags of a picture say: time, position, camera, orientation, the camera's notes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Literal, NamedTuple

from PIL import ExifTags, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from odins_ravne_assets.munin.media.capture_time import (
    NO_TIME,
    RecordedTime,
    time_from_exif,
    time_from_gps,
    time_from_xmp,
)
from odins_ravne_assets.munin.media.gps_position import NO_POSITION, Position, position_from_exif
from odins_ravne_assets.munin.media.probe import clean_name
from odins_ravne_assets.munin.media.tags import exif_block
from odins_ravne_assets.munin.media.tags.exif_block import ExifBlock, read_exif_block
from odins_ravne_assets.munin.media.tags.maker_notes import (
    NO_MAKER_NOTE,
    MakerNote,
    read_maker_note,
)
from odins_ravne_assets.munin.media.tags.png_chunks import read_png_tags
from odins_ravne_assets.munin.media.tags.xmp import JPEG_PREFIX, xmp_times
