"""Model manifests, labels, and the shipped models."""
