"""Which file a descriptor leads to, and what its path is."""
