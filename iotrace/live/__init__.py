"""What goes on now: the model of a live screen, and the screen that needs nothing but the standard library."""
