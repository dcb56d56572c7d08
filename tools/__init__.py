"""What developers run, and the packages behind it."""
