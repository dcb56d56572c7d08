"""Scripts that change names, and what iotrace says became of their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

from tests import needs

from .traced import Traced, trace

MORE = """
import array, socket, struct
AT, EMPTY, FOLLOW = -100, 0x1000, 0x400
NEWNS, NEWUSER, FS = 0x00020000, 0x10000000, 0x200
BIND, MOVE, DETACH = 4096, 8192, 2

def put(name, size):
    fd = create(name); os.write(fd, bytes(size)); os.close(fd)

def get(name, size):
    fd = os.open(name, os.O_RDONLY); assert len(os.read(fd, size)) == size; os.close(fd)

def mount(source, target, kind=None, flags=0, data=None):
    if libc.mount(source, target, kind, ctypes.c_ulong(flags), data) != 0:
        lacks(f"{kind} on {target}: {os.strerror(ctypes.get_errno())}")

def rename2(old, new, flags):
    if libc.renameat2(AT, old, AT, new, flags) != 0:
        lacks(f"renameat2 {flags}")

def private():
    assert libc.unshare(NEWNS) == 0
    mount(b"none", b"/", None, 1 << 14 | 1 << 18)

"""


def run(place: Path, form: str, text: str, *options: str) -> Traced:
    lines = text.splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    found = trace(place, MORE + "\n".join(line[indent:] for line in lines), ["--attach", form, *options])
    if found.lacks:
        needs.impossible(found.lacks)
    return found


def fates(found: Traced) -> Dict[str, Tuple[Any, ...]]:
    """State and new name of every file, and the bytes that were written and read under its name."""
    told = {}
    for name in found.names:
        file = found[name]
        end = file["renamed_to"] and str(Path(file["renamed_to"]).relative_to(found.place))
        told[name] = (file["state"], end, file["bytes_written"], file["bytes_read"])
    return told
