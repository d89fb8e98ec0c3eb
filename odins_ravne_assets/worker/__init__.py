"""The worker of a step launch: Stages 0 to 3 of one camera."""
