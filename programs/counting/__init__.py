"""What a call adds to its file's counters."""
