"""What a run is expected to cost and how long it takes."""
