"""Dagster runs of cameras: a process for each, its events, whether it is alive."""
