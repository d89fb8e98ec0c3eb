"""Resources of the Dagster assets: settings, object stores, step launchers, costs."""
