"""Preprocessing: from decoded pictures to the input of a model."""
