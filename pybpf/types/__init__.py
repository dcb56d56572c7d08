"""The kernel's types as it tells them: BTF, DWARF and tracepoint formats; and ours as we tell them to it."""
