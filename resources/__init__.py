"""What Dagster hands to assets: profiles, stores, step launchers."""
