"""Storage lifecycle: rules for stored footage, archive restores, what is stored."""
