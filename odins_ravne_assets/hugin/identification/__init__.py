"""What a box counts as: taxonomy, roll-up, sequence votes, repeat detections."""
