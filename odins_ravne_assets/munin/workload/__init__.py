"""How much footage there is, and how much work remains."""
