"""Files for AWS: CloudFormation templates, and what a machine runs at boot."""
