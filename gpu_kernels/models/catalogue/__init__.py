"""The catalogue of models that `munin models add` installs: one TOML file per model."""
