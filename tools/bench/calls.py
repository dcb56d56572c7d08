"""What calls.c does, for machines without a C compiler: the loop itself is slower and less even, and has one thread."""

from __future__ import annotations

import os
import statistics
import sys
import time
from typing import Callable, Dict

BLOCK, BYTES = 500, 64


def main() -> None:
    file = os.open(sys.argv[1], os.O_RDWR | os.O_CLOEXEC)
    os.sched_setaffinity(0, {int(sys.argv[2]) % (os.cpu_count() or 1)})
    data = bytes(BYTES)
    calls: Dict[str, Callable[[], object]] = {
        "pread64": lambda: os.pread(file, BYTES, 0),
        "pwrite64": lambda: os.pwrite(file, data, 0),
        "getppid": os.getppid,
    }
    for line in sys.stdin:
        name, count, _ = line.split()
        call, took = calls[name], []
        for _block in range(int(count) // BLOCK):
            start = time.monotonic_ns()
            for _call in range(BLOCK):
                call()
            took.append((time.monotonic_ns() - start) / BLOCK)
        print(f"{statistics.median(took):.3f}", flush=True)


main()
