"""Spot decisions: which queue, when to wait, when to retry."""
