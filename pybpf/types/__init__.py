"""What is known of the kernel's types: BTF, DWARF, tracepoint formats."""
