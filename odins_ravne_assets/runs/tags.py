"""Tags by which commands and people tell a run what to do."""

# "true": finished media are processed again, if the profile's settings are others than theirs.
UPDATE_TAG = "munin/update"
# The number of the backfill that a run belongs to.
BACKFILL_TAG = "munin/backfill"
