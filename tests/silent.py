"""A file system that never answers, as an NFS server that has gone, or a FUSE process that sleeps."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Iterator

from tests import needs

_MNT_DETACH = 2


@contextlib.contextmanager
def silent_file_system(place: Path) -> Iterator[Path]:
    """FUSE, mounted at a new directory `place`, and nobody reads the requests; skips the test where there is none."""
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        needs.impossible(f"no FUSE: {error}")
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"none", bytes(place), b"fuse", 0, options) != 0:
        os.close(device)
        needs.impossible(f"FUSE cannot be mounted: {os.strerror(ctypes.get_errno())}")
    try:
        yield place
    finally:
        libc.umount2(bytes(place), _MNT_DETACH)
        os.close(device)
