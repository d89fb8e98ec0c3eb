"""Step launchers: a local process, or jobs of AWS Batch."""
