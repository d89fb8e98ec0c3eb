"""Folders of the checkout, for all tests."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
FOOTAGE = ROOT.parent / "shared" / "footage"
