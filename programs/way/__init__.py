"""The way in: which calls of which tasks the programs take, and what every body uses."""
