"""Odins Ravne: the Dagster code location and its rooms."""
