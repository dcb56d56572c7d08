"""Buffers that programs send events through."""
