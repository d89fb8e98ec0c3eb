"""Dagster runs of cameras: a process for each, its events, its liveness."""
