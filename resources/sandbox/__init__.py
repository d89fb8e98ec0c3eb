"""An emulation of AWS on one machine, to try and test the cloud without an account.

The entry point is the class in `sandbox.py`. The rest of the project does not import this package;
it gets only an endpoint, a clock and credentials.
"""
