"""Privacy of what is shared: sensitive species, the places of cameras."""
