"""The sandbox's EC2 machines and their bill."""
