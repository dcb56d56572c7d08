"""What a test may leave behind: descriptors and mappings of its process, and programs in the kernel."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Dict, Iterator, List, Set

from pybpf.programs import open_program, program_ids
from pybpf.syscalls import BpfError

_PATIENCE = 10  # seconds: the kernel frees a program in its own time, after a grace period


def open_files() -> Dict[str, str]:
    """Descriptors of this process by number, less the one that lists them."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


def kernel_mappings() -> List[str]:
    """The parts of this process's memory that it shares with the kernel."""
    with open("/proc/self/maps") as maps:
        return [line for line in maps if "anon_inode:" in line or "bpf" in line]


def programs_since(before: Set[int], patience: float = _PATIENCE) -> Dict[int, str]:
    """Programs that were not there `before` and do not go, by id, with their names; not those that strangers hold."""
    deadline = time.monotonic() + patience
    while True:
        left = set(program_ids()) - before
        if not left or time.monotonic() > deadline:
            return {number: _name(number) for number in left - _strangers()}
        time.sleep(0.01)


def _name(number: int) -> str:
    try:
        with open_program(number) as program:
            return program.name
    except BpfError:
        return "has just gone"


def _strangers() -> Set[int]:
    """The programs whose descriptors are open in processes other than this one and its descendants."""
    found: Set[int] = set()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getpid() in _ancestors(int(path.name)):
                continue
            for info in (path / "fdinfo").iterdir():
                with suppress(OSError):
                    found.update(map(int, re.findall(r"^prog_id:\s*(\d+)$", info.read_text(), re.MULTILINE)))
    return found


def _ancestors(pid: int) -> Iterator[int]:
    """The process itself, its parent, and so on. Raises OSError if one has gone."""
    while pid:
        yield pid
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
