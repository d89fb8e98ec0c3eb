"""Settings: the profile, its loader, and tables of a study."""
