"""The result of a run, in memory and in a file. Nothing here knows the kernel or the terminal."""
