"""The sandbox's Batch jobs and their processes."""
