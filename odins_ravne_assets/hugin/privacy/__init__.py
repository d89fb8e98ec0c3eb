"""Privacy of what is shared: sensitive species, places, people."""
