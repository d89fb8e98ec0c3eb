"""The sandbox's IAM: policies and credentials."""
