"""Munin: from footage to labelled detections."""
