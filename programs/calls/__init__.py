"""The exits of synchronous system calls, by family."""
