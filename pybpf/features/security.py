"""What the kernel forbids even to root."""

from __future__ import annotations

import os
import re
from typing import Optional

from pybpf.descriptor import Descriptor
from pybpf.syscalls import mount_detached

__all__ = ["lockdown"]


def lockdown() -> Optional[str]:
    """The kernel's lockdown (5.4, 000d388ed3bb): "none", "integrity" or "confidentiality".

    None if the kernel has no lockdown or it cannot be read: securityfs is mounted out of everybody's sight, which takes
    CAP_SYS_ADMIN.
    """
    try:
        with Descriptor(mount_detached("securityfs")) as root:
            fd = os.open("lockdown", os.O_RDONLY | os.O_CLOEXEC, dir_fd=root.fileno())
            try:
                chosen = re.search(rb"\[(\w+)\]", os.read(fd, 256))
            finally:
                os.close(fd)
    except OSError:
        return None
    return chosen[1].decode() if chosen else None
