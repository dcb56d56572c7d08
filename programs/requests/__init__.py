"""Requests that complete later: Linux AIO and io_uring."""
