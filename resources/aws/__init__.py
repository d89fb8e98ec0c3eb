"""boto3 clients and their errors."""
