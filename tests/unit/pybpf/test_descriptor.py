"""Ownership of file descriptors."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

import pytest

from pybpf.descriptor import Descriptor


def test_descriptor_closes_once() -> None:
    read, write = os.pipe()
    owner = Descriptor(read)
    assert owner in Descriptor.opened()
    count = Descriptor.open_count()
    with owner as same:
        assert same.fileno() == read
    assert Descriptor.open_count() == count - 1
    other = os.dup(write)  # takes the number that was freed
    owner.close()
    os.fstat(other)
    with pytest.raises(ValueError, match="is closed"):
        owner.fileno()
    os.close(other)
    os.close(write)
    with pytest.raises(ValueError, match="not a file descriptor: -1"):
        Descriptor(-1)


def test_collected_descriptor_is_closed() -> None:
    read, write = os.pipe()
    owner = Descriptor(read)
    del owner
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)
    os.close(write)


def test_descriptor_zero_is_moved_away() -> None:
    program = (
        "import os, fcntl; from pybpf.descriptor import Descriptor\n"
        "os.close(0); owner = Descriptor(os.open('/dev/null', os.O_RDONLY))\n"
        "print(owner.fileno() > 2, fcntl.fcntl(owner, fcntl.F_GETFD), os.path.exists('/proc/self/fd/0'))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert done.stdout.split() == [b"True", str(fcntl.FD_CLOEXEC).encode(), b"False"]
