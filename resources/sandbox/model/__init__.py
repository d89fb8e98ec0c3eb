"""The sandbox's configuration, prices, clock and state."""
