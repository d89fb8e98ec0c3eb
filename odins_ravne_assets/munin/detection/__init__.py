"""Stage 1: decoding, frame sampling, detection, crops."""
