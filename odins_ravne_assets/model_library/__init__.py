"""Models of users: download, installation, the copies of jobs on AWS, the profile's lines."""
