"""Settings: the profile, its loader, and a study's own tables."""
