"""Views of a profile, for people and for other programs."""
