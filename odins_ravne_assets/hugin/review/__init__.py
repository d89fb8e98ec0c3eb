"""Corrections by reviewers."""
