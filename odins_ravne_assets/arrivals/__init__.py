"""New footage: detect uploads, assign each to its camera, and request a run once a card is complete."""
