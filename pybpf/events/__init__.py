"""Buffers through which programs send events: a ring for all CPUs (5.8), or one for each (4.4)."""
