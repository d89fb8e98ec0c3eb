"""Running a model over batches, and timing it."""
