"""Screens that take textual, the extra `tui`: what they show is worked out without it, and drawn by `page`."""
