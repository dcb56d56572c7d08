"""Profiles that are damaged by rule and by chance, and what the commands make of them: `tools/fuzz-profiles`."""
