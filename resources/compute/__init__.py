"""Compute environments of AWS Batch: setup, status, teardown, clean-up."""
