"""The databases of the Dagster instance: migration from older versions, waits for locks."""
