"""Species identification: taxonomy, roll-up, sequence votes, repeat detections."""
