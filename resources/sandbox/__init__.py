"""AWS on one machine, to try and to test the cloud without an account.

`sandbox.py` holds the class to start with. Nothing outside this folder knows that it exists: the
rest of the house only has its endpoint, its clock and its credentials from the outside.
"""
