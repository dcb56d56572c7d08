"""What a run amounts to, in memory and in a file; it knows neither the kernel nor the terminal."""
