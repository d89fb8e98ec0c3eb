"""Model files: manifests, labels, and the models that ship."""
