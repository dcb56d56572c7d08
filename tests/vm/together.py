"""Writers of one open file description at once, on as many CPUs as there are: one run, whichever returns first."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Callable, Dict, Iterator

from tests.vm.workloads import RW, Case, Document, below, differences

WRITERS, WRITES, WRITTEN = 8, 500, 100


def write_together(name: str, flags: int, apart: bool) -> None:
    """Threads, or `apart` processes, write at the file position that they share."""
    fd = os.open(name, RW | flags, 0o644)

    def write() -> None:
        for _ in range(WRITES):
            assert os.write(fd, bytes(WRITTEN)) == WRITTEN

    if apart:
        together(write)
    else:
        threads = [threading.Thread(target=write) for _ in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    os.close(fd)


def together(function: Callable[[], None]) -> None:
    """Calls the function in as many child processes as there are writers, at the same time."""
    children = []
    for _ in range(WRITERS):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                function()
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * WRITERS


TOGETHER = {
    "threads": (0, False),
    "processes": (0, True),
    "appending processes": (os.O_APPEND, True),
}
ROUNDS = 3


def work_shared() -> None:
    for name, (flags, apart) in TOGETHER.items():
        for turn in range(ROUNDS):
            write_together(f"{name} {turn}", flags, apart)


def check_shared(place: Path, document: Document) -> Iterator[str]:
    files = below(place, document)
    size = WRITERS * WRITES * WRITTEN
    expected = {
        "bytes_written": size,
        "rewrites": 0,
        "lowest_offset": 0,
        "highest_offset": size - 1,
        "threads": WRITERS,
        "sequential_write": {str(1 << size.bit_length() - 1): 1},
    }
    for name in TOGETHER:
        for turn in range(ROUNDS):
            yield from differences(f"{name} {turn}", expected, files.get(f"{name} {turn}", {}))


CASES: Dict[str, Case] = {"shared": Case(work_shared, check_shared)}
