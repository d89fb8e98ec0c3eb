"""Hugin: from labelled detections to observations."""
