"""AWS Batch: names, jobs, outcomes of attempts, work units, launch records."""
