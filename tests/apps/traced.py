"""Python workloads under iotrace alone: run a script, look at its files."""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from . import observe
from .observe import Command, Document, path_of
from .strace import DATA_KEYS

# What every script starts with.  `say` hands numbers to the test through a file that no test looks at.
PRELUDE = '''
import contextlib, ctypes, errno, json, mmap, os, signal, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
P, L = ctypes.c_void_p, ctypes.c_long

def refused(expected, function, *arguments):
    """The call must fail with this errno, raised by Python or left by libc."""
    try:
        ctypes.set_errno(0)
        assert function(*arguments) == -1, f"{function} succeeded"
        found = ctypes.get_errno()
    except OSError as error:
        found = error.errno
    assert found == expected, f"{function}: {errno.errorcode[found]}, not {errno.errorcode[expected]}"

def child(function):
    """Run the function in a child process and wait for it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0

def say(value):
    with open("said.json", "w") as stream:
        json.dump(value, stream)

def lacks(what):
    """Ends a script that this kernel cannot run."""
    with open("lacks", "w") as stream:
        stream.write(what)
    os._exit(0)

RW = os.O_RDWR | os.O_CREAT

def create(name, size=0, flags=RW):
    fd = os.open(name, flags, 0o644)
    if size:
        os.ftruncate(fd, size)
    return fd

'''
_OWN = ("workload.py", "said.json", "lacks")


@dataclass
class Traced:
    """What iotrace reported of a script that ran in `place`."""

    place: Path
    document: Document
    status: int
    stderr: str

    def __getitem__(self, name: str) -> Dict[str, Any]:
        """The one file NAME of the script's directory; KeyError if it was not reported, or more than once."""
        found: List[Dict[str, Any]] = [
            file for file in self.document["files"] if path_of(file) == bytes(self.place / name)
        ]
        if len(found) != 1:
            raise KeyError(f"{name} was reported {len(found)} times; files: {sorted(self.names)}")
        return found[0]

    @property
    def names(self) -> List[str]:
        """The files of the script's directory that were reported, without the script's own."""
        below = bytes(self.place) + b"/"
        paths = [path_of(file) for file in self.document["files"]]
        names = [path[len(below) :].decode("utf-8", "surrogateescape") for path in paths if path.startswith(below)]
        return sorted(name for name in names if name not in _OWN)

    @property
    def lacks(self) -> Optional[str]:
        """What this kernel lacks, if the script found it to."""
        path = self.place / "lacks"
        return path.read_text() if path.exists() else None

    @property
    def said(self) -> Any:
        return json.loads((self.place / "said.json").read_text())


def script(place: Path, text: str) -> List[str]:
    """The command that runs the script, alone in its interpreter: no site, no user's configuration."""
    (place / "workload.py").write_text(PRELUDE + textwrap.dedent(text))
    return [sys.executable, "-I", "-S", "-B", str(place / "workload.py")]


def trace(place: Path, text: str, options: Sequence[str] = (), complete: bool = True) -> Traced:
    """Run the script in `place` under iotrace; it must succeed, and nothing may be lost unless `complete` is false."""
    if "raw" in options and observe.kernel() < (4, 17):
        from tests import needs  # noqa: PLC0415

        needs.impossible("raw tracepoints came with 4.17")
    found = observe.alone(Command(script(place, text), place), options)
    assert found.status == 0, found.stderr
    if complete:
        assert not any(found.document["lost"].values()), found.document["lost"]
    return Traced(place, found.document, found.status, found.stderr)


Made = Tuple[int, int, Dict[str, int], Dict[int, int], Dict[int, int]]


def made(
    calls: int,
    size: int,
    requested: Mapping[int, int],
    completed: Optional[Mapping[int, int]] = None,
    errors: Optional[Mapping[str, int]] = None,
) -> Made:
    """What is expected of a data call: calls, bytes, errors, and sizes; all completed as requested unless given."""
    return calls, size, dict(errors or {}), dict(requested), dict(requested if completed is None else completed)


def data_calls(file: Mapping[str, Any]) -> Dict[str, Made]:
    """The file's data calls, in the form of `made`."""

    def sizes(call: Mapping[str, Any], name: str) -> Dict[int, int]:
        return {int(size): count for size, count in call[name].items()}

    return {
        key: (call["calls"], call["bytes"], dict(call["errors"]), sizes(call, "requested"), sizes(call, "completed"))
        for key, call in file["syscalls"].items()
        if key in DATA_KEYS or key in _ASYNCHRONOUS
    }


# Data calls that strace cannot see.
_ASYNCHRONOUS = (
    "aio_pread",
    "aio_preadv",
    "aio_pwrite",
    "aio_pwritev",
    "uring_read",
    "uring_readv",
    "uring_read_fixed",
    "uring_write",
    "uring_writev",
    "uring_write_fixed",
    "uring_splice_read",
    "uring_splice_write",
)


def histogram(file: Mapping[str, Any], name: str) -> Dict[int, int]:
    """One of the file's own histograms, with numbers for buckets."""
    return {int(bucket): count for bucket, count in file[name].items()}
