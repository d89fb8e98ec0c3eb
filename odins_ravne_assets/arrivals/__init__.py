"""New footage: detect uploads, find the camera of each, request a run when a card is complete."""
