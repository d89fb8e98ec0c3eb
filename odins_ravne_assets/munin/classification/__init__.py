"""Stage 2: labels of crops."""
