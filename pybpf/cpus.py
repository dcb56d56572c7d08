"""The CPUs of this machine: the possible ones give per-CPU values their size, the online ones carry perf events."""

from __future__ import annotations

import errno
import os
from functools import lru_cache
from typing import List

__all__ = ["online_cpus", "parse_cpu_list", "possible_cpus"]


def parse_cpu_list(text: str) -> List[int]:
    """The CPUs of a list such as `0-3,8,10-11` (the kernel's cpulist format). Raises ValueError for anything else."""
    cpus: List[int] = []
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        start, stop = int(first), int(last if dash else first)
        if start < 0 or stop < start or stop - start > 65536:
            raise ValueError(f"not a list of CPUs: {text.strip()!r}")
        cpus.extend(range(start, stop + 1))
    return cpus


def _read(name: str) -> List[int]:
    """Raises FileNotFoundError, whose text says what to do, where /sys is not mounted: no other count can be relied on,
    and a value of a per-CPU map that is larger than expected would be written beyond its buffer."""
    if not os.path.exists("/sys/devices"):
        raise FileNotFoundError(errno.ENOENT, "not mounted, and it tells the CPUs: mount -t sysfs sysfs /sys", "/sys")
    with open(f"/sys/devices/system/cpu/{name}") as source:
        return parse_cpu_list(source.read())


@lru_cache(maxsize=None)
def possible_cpus() -> int:
    """How many CPUs may ever come online, which is fixed at boot: a value of a per-CPU map has a part for each."""
    return len(_read("possible"))


def online_cpus() -> List[int]:
    """The CPUs that are online now."""
    return _read("online")
