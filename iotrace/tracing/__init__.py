"""One run: loading, attaching, whom to trace, and what the kernel side has counted."""
