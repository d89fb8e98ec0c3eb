"""Compare a graph with its manifest, and guess the manifest of a graph."""
