"""Cameras: the catalog, their folders, deployments, and where their results are."""
