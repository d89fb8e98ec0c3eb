"""Corrections of reviewers: review files, corrections, missed detections."""
