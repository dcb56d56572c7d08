"""What an application really does to its files: exact per-file I/O characterisation with eBPF."""

__version__ = "0.1.0"
