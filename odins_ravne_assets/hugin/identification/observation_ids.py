"""Ids of observations, and of the detections by which observations are found again.

An id depends on the camera and the first detection alone: neither another species nor detections
that are added later change it. It begins with a letter, so that spreadsheets take it for text. It
has 64 bits: two of a million observations have the same id with a probability of 3 in 10^8
(n^2 / 2^65).

A first detection is a `detection_id`: the beginning of the content hash, the frame and the box.
What a reviewer added to a medium without a box has `reviewer` for the frame and a number instead of
the box (`missed_detections.labels_in_effect`), because one medium may have several.
"""

import hashlib
import math
import re

import polars as pl

DIGITS = 16
CONTENT_DIGITS = 16  # of the content hash, in a detection_id
ADDED = "reviewer"

_ID = re.compile(rf"o[0-9a-f]{{{DIGITS}}}")
_ID_0_1 = re.compile(rf"[0-9a-f]{{{DIGITS}}}")
# How a spreadsheet shows an id of version 0.1 that it takes for a number: 6.6E+15, 6,60E+15,
# 6600000000000000; zeros at the beginning are gone.
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?")


def observation_id(camera_id: str, first_detection: str) -> str:
    """Return the id of the observation of a camera that begins with a detection."""
    return f"o{_digits(camera_id, first_detection)}"


def observation_id_0_1(camera_id: str, category: str, species: str, first_detection: str) -> str:
    """Return the id that version 0.1 gives an observation; it depends on the species."""
    if f"-{ADDED}-" in first_detection:
        first_detection = first_detection.rpartition("-")[0]
    return _digits(camera_id, category, species, first_detection)


def is_observation_id(text: str) -> bool:
    """Return True for the form of `observation_id`."""
    return _ID.fullmatch(text) is not None


def may_be_0_1(text: str) -> bool:
    """Return True for an id of version 0.1, or what a spreadsheet makes of one."""
    return bool(_ID_0_1.fullmatch(text) or _NUMBER.fullmatch(text))


def is_shown_as(identifier: str, text: str) -> bool:
    """Return True if a spreadsheet may show an id of version 0.1 as a text.

    An id without letters, or with one e between digits, is a number to it: `6603412345678901` is
    shown as 6.6E+15.
    """
    if text == identifier:
        return True
    if not _NUMBER.fullmatch(text) or not _NUMBER.fullmatch(identifier):
        return False
    mantissa, _, exponent = text.lower().replace(",", ".").partition("e")
    number, shown = float(identifier), float(f"{mantissa}e{exponent or 0}")
    if not math.isfinite(number) or not math.isfinite(shown):
        return False  # too large: a spreadsheet leaves it as text
    if not exponent:  # fifteen digits are kept
        return math.isclose(number, shown, rel_tol=1e-14)
    decimals = len(mantissa.partition(".")[2])
    # Rounded, or cut off.
    return math.isclose(number, shown, rel_tol=0, abs_tol=0.9 * 10.0 ** (int(exponent) - decimals))


def added_detection_id() -> pl.Expr:
    """Return the detection_id of what a reviewer added, of columns content_hash and number."""
    content = pl.col("content_hash").str.slice(0, CONTENT_DIGITS)
    return pl.format(f"{{}}-{ADDED}-{{}}", content, pl.col("number").fill_null(0))


def _digits(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:DIGITS]
