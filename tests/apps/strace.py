"""What strace saw, counted the way iotrace counts.

strace writes one file per thread (`-ff`), so that no call is interleaved with another; every string in hexadecimal
(`-xx`), so that no file name can be mistaken for syntax; every iovec entry (`-v`) but no data (`-s 0`); and the path
behind each descriptor (`--decode-fds=path,dev`), read by strace from /proc/PID/fd at the entry of the call.  A line
that is not understood is an error: this module is the yardstick.

What counts is the path that a descriptor was opened under, which strace shows where the open returns.  It is followed
through dup and fork.  Where a later call shows another path, and renames that were seen have led from the first to it,
the first one counts; otherwise the descriptor is another one by now, whose open was not seen, and its own path does.

`close` is the system call of that name; descriptors that vanish by exit, exec, dup2 or close_range are no calls of it.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Set, Tuple
from typing import Counter as CounterOf

from .strace_line import I386, Descriptor, Line, StraceError, parse_line

READS = ("read", "readv", "pread64", "preadv", "preadv2")
WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2")
COPIES = ("sendfile", "copy_file_range", "splice")
SYNCS = ("fsync", "fdatasync", "sync_file_range")
OPENS = ("open", "openat", "openat2", "creat", "open_by_handle_at")
RENAMES = ("rename", "renameat", "renameat2")
READ_KEYS = READS + tuple(name + "_read" for name in COPIES)
WRITE_KEYS = WRITES + tuple(name + "_write" for name in COPIES)
DATA_KEYS = READ_KEYS + WRITE_KEYS
KEYS = DATA_KEYS + SYNCS + ("open", "close")

# Besides what is counted: what moves names, what tells a directory, what makes processes (for their working directory),
# and what does I/O that strace cannot decode to the end.
_CONTEXT = (
    "chdir",
    "fchdir",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "execve",
    "execveat",
    "getdents",
    "getdents64",
    "mmap",
)
_UNDECODED = ("io_submit", "io_uring_enter")
_TRACED = READS + WRITES + COPIES + SYNCS + OPENS + RENAMES + ("close",) + _CONTEXT + _UNDECODED + tuple(I386)

PSEUDO = frozenset(
    (
        *("proc", "sysfs", "cgroup", "cgroup2", "tracefs", "debugfs", "securityfs", "bpf", "configfs", "pstore"),
        *("efivarfs", "fusectl", "mqueue", "binfmt_misc", "devpts", "nsfs", "selinuxfs", "rpc_pipefs", "hugetlbfs"),
    )
)


def options(prefix: Path) -> List[str]:
    """strace's options for a trace that `parse` can read; the threads' files are PREFIX.TID."""
    # -A: a process number that is used twice in one run appends to its file instead of truncating it.
    calls = ",".join("?" + name for name in _TRACED)
    return [
        "-A",
        "-ff",
        "-o",
        str(prefix),
        "-q",
        "-a",
        "1",
        "-v",
        "-s",
        "0",
        "-xx",
        "--decode-fds=path,dev",
        "-e",
        "trace=" + calls,
    ]


@dataclass
class Call:
    """One system call on one file, added up over a run."""

    calls: int = 0
    bytes: int = 0
    errors: CounterOf[str] = field(default_factory=Counter)
    requested: CounterOf[int] = field(default_factory=Counter)
    completed: CounterOf[int] = field(default_factory=Counter)
    unreadable: int = 0  # the iovec could not be read, so nobody knows what was asked for
    unreturned: int = 0  # the thread was killed inside: whether the kernel still returned is not known

    def add(self, other: Call) -> None:
        self.calls += other.calls
        self.bytes += other.bytes
        self.unreadable += other.unreadable
        self.unreturned += other.unreturned
        self.errors.update(other.errors)
        self.requested.update(other.requested)
        self.completed.update(other.completed)


@dataclass
class FileCalls:
    """Everything done to one path."""

    calls: Dict[str, Call] = field(default_factory=dict)
    mapped: bool = False

    def of(self, key: str) -> Call:
        return self.calls.setdefault(key, Call())

    def add(self, other: FileCalls) -> None:
        self.mapped |= other.mapped
        for key, call in other.calls.items():
            self.of(key).add(call)


@dataclass
class Totals:
    """A whole trace: per file, what belongs to no file, and which names were exchanged for which."""

    files: Dict[bytes, FileCalls] = field(default_factory=dict)
    unattributed: Dict[str, CounterOf[str]] = field(default_factory=dict)
    refused: CounterOf[Tuple[bytes, str]] = field(default_factory=Counter)  # opens that failed, by path and errno
    renames: Set[Tuple[bytes, bytes]] = field(default_factory=set)
    undecoded: Set[str] = field(default_factory=set)

    def of(self, path: bytes) -> FileCalls:
        return self.files.setdefault(path, FileCalls())

    def nobody(self, key: str, errno: str, count: int = 1) -> None:
        self.unattributed.setdefault(key, Counter())[errno] += count

    def add(self, other: Totals) -> None:
        """Count the other trace too, where two straces shared a run."""
        for path, file in other.files.items():
            self.of(path).add(file)
        for key, errors in other.unattributed.items():
            for errno, count in errors.items():
                self.nobody(key, errno, count)
        self.refused.update(other.refused)
        self.renames |= other.renames
        self.undecoded |= other.undecoded

    @property
    def count(self) -> int:
        return sum(call.calls for file in self.files.values() for call in file.calls.values())


def bucket(value: int) -> int:
    """The lower bound of the power-of-two bucket that holds `value`; 0 has its own."""
    return 1 << (value.bit_length() - 1) if value else 0


class _Reader:
    """Reads the files of one trace, parents before their children, and adds up."""

    def __init__(self, prefix: Path, directory: bytes, root: Optional[int]) -> None:
        self.totals = Totals()
        self.directories: Set[bytes] = set()
        self.nameless: Set[bytes] = set()  # paths of O_TMPFILE files
        self.directory = directory  # the working directory of the thread that is being read
        self._mounts = _mounts()
        self._files = {int(path.suffix[1:]): path for path in prefix.parent.glob(prefix.name + ".*")}
        # A child starts in its parent's working directory, so the parent's file is read first.
        self._born: List[Tuple[int, bytes, Dict[int, bytes]]] = [
            (min(self._files) if root is None else root, directory, {})
        ]
        self._opened: Dict[int, bytes] = {}  # descriptor -> path at its open, of the thread that is being read
        self._seen: Dict[Tuple[Optional[bytes], bytes], FileCalls] = {}  # by path at the open, and at the call

    def read(self) -> Totals:
        while self._born:
            tid, self.directory, self._opened = self._born.pop()
            if tid in self._files:
                for line in self._lines(self._files.pop(tid)):
                    self._account(line)
        if self._files:
            raise StraceError(f"threads without a parent: {sorted(self._files)}")
        self._by_path_at_open()
        for path in [p for p in self.totals.files if not self._is_counted(p)]:
            del self.totals.files[path]
        return self.totals

    def _file(self, where: Descriptor, path: bytes) -> FileCalls:
        """What is counted for a descriptor that shows `path` now."""
        opened = self._opened.get(where.number)
        return self._seen.setdefault((None if opened == path else opened, path), FileCalls())

    def _by_path_at_open(self) -> None:
        later: Dict[bytes, Set[bytes]] = {}
        for (opened, now), file in self._seen.items():
            path = now
            if opened is not None:
                if opened not in later:
                    later[opened] = set(self._later_names(opened))
                path = opened if now in later[opened] else now
            self.totals.of(path).add(file)

    @staticmethod
    def _lines(path: Path) -> Iterator[Line]:
        with open(path, encoding="ascii") as stream:
            for text in stream:
                line = parse_line(text.rstrip("\n"))
                if line is not None:
                    yield line

    def _is_counted(self, path: bytes) -> bool:
        if path in self.directories or path in self.nameless or self._is_pseudo(path):
            return False
        for name in self._later_names(path):
            with suppress(OSError):
                return stat.S_ISREG(os.lstat(name).st_mode)
        # Gone since.  A directory, a fifo or a socket would have shown itself in the calls.
        return not any(other.startswith(path + b"/") for other in self.totals.files)

    def _later_names(self, path: bytes) -> List[bytes]:
        """The path itself and what renames of it, or of directories above it, have made of it."""
        names = [path]
        for name in names:
            for old, new in self.totals.renames:
                if name == old or name.startswith(old + b"/"):
                    renamed = new + name[len(old) :]
                    if renamed not in names:
                        names.append(renamed)
        return names

    def _is_pseudo(self, path: bytes) -> bool:
        best, kind = b"", ""
        for point, fstype in self._mounts:
            inside = path == point or path.startswith(point.rstrip(b"/") + b"/")
            if inside and len(point) >= len(best):  # the later of two mounts on one point covers the earlier
                best, kind = point, fstype
        return kind in PSEUDO

    def _account(self, line: Line) -> None:
        if line.name in _ACCOUNTS:
            _ACCOUNTS[line.name](self, line)
        else:
            raise StraceError(f"unexpected system call {line.name}")

    def _charge(self, key: str, where: Descriptor, line: Line, size: Optional[int] = None, sized: bool = False) -> None:
        """Add one call to the file behind the descriptor; `size` is what was asked for, None if it cannot be known."""
        if not where.open:
            if line.result is not None and line.errno is None:
                raise StraceError(f"{line.name} succeeded on a descriptor whose path strace could not read")
            if line.errno is not None:
                self.totals.nobody(key, line.errno)
            return
        if where.path is None:
            return
        if line.errno == "EISDIR" and key in READ_KEYS:
            self.directories.add(where.path)
        call = self._file(where, where.path).of(key)
        if line.result is None:
            call.unreturned += 1
            return
        call.calls += 1
        if sized and size is None:
            call.unreadable += 1
        elif size is not None:
            call.requested[bucket(size)] += 1
        if line.errno is not None:
            call.errors[line.errno] += 1
        elif sized:
            call.bytes += line.result
            call.completed[bucket(line.result)] += 1

    def scalar(self, line: Line) -> None:
        """read(fd, buffer, count) and its kin."""
        # Neither a descriptor's path nor a string of no length holds a comma.
        size = int(line.arguments.split(", ")[2]) if line.result is not None else None
        self._charge(line.name, line.descriptor(), line, size, sized=True)

    def vectored(self, line: Line) -> None:
        """readv(fd, iovec, count) and its kin: the lengths of all entries."""
        size: Optional[int] = sum(line.iovec)
        # An iovec that could not be read is shown as an address, one that is readable in part ends in one.
        if ", [" not in line.arguments or ", ... /* 0x" in line.arguments:
            size = 0 if line.result is not None and line.arguments.split(", ")[2] == "0" else None
        self._charge(line.name, line.descriptor(), line, size, sized=True)

    def copy(self, line: Line) -> None:
        """sendfile(out, in, offset, count); copy_file_range and splice(in, offset, out, offset, count, flags)."""
        source, target, count = (1, 0, 3) if line.name == "sendfile" else (0, 2, 4)
        size = line.number(count) if line.result is not None else 0
        self._charge(line.name + "_read", line.descriptor(source), line, size, sized=True)
        self._charge(line.name + "_write", line.descriptor(target), line, size, sized=True)

    def plain(self, line: Line) -> None:
        """fsync, fdatasync and sync_file_range."""
        self._charge(line.name, line.descriptor(), line)

    def close(self, line: Line) -> None:
        where = line.descriptor()
        self._charge(line.name, where, line)
        if line.errno is None:
            self._opened.pop(where.number, None)

    def duplicate(self, line: Line) -> None:
        """dup, dup2, dup3, and fcntl, which returns a descriptor where that is what it makes."""
        if line.target is not None and line.result is not None and line.errno is None:
            opened = self._opened.get(line.descriptor().number)
            if opened is None:
                self._opened.pop(line.result, None)
            else:
                self._opened[line.result] = opened

    def open(self, line: Line) -> None:
        if line.errno is not None:
            self.totals.nobody("open", line.errno)
            self._refused(line, line.errno)
        elif line.result is not None and line.target is None:
            raise StraceError(f"strace does not show what {line.name} opened")  # open_by_handle_at
        elif line.target is not None and line.target.path is not None:
            path = line.target.path
            if "O_TMPFILE" in line.arguments:
                self.nameless.add(path)
            elif "O_DIRECTORY" in line.arguments:
                self.directories.add(path)
            self._opened[line.target.number] = path
            self._charge("open", line.target, line)

    def _refused(self, line: Line, errno: str) -> None:
        """By the path as it was asked for, behind that of the directory that it is relative to."""
        at = line.name in ("openat", "openat2")
        if line.name == "open_by_handle_at" or not line.has_string(int(at)):
            return
        path = line.string(int(at))
        if not path.startswith(b"/"):
            above = line.descriptor().path if at else self.directory
            if above is not None:
                path = os.path.realpath(above).rstrip(b"/") + b"/" + path
        self.totals.refused[path, errno] += 1

    def rename(self, line: Line) -> None:
        if line.errno is not None or line.result is None:
            return
        if line.name == "rename":
            old, new = (os.path.join(self.directory, line.string(n)) for n in (0, 1))
        else:
            old, new = (os.path.join(line.descriptor(n).path or b"", line.string(n + 1)) for n in (0, 2))
        self.totals.renames.add((_canonical(old), _canonical(new)))

    def working_directory(self, line: Line) -> None:
        if line.result == 0:
            if line.name == "chdir":
                self.directory = os.path.join(self.directory, line.string(0))
            else:
                self.directory = line.descriptor().path or self.directory

    def birth(self, line: Line) -> None:
        if line.result is not None and line.result > 0:
            self._born.append((line.result, self.directory, dict(self._opened)))

    def listing(self, line: Line) -> None:
        where = line.descriptor()
        if where.path is not None and line.errno is None:
            self.directories.add(where.path)

    def map(self, line: Line) -> None:
        if line.errno is None and "MAP_ANON" not in line.arguments:
            where = line.descriptor(4)
            if where.path is not None:
                self._file(where, where.path).mapped = True

    def nothing(self, line: Line) -> None:
        """execve: the kernel reads the program itself."""

    def undecoded(self, line: Line) -> None:
        self.totals.undecoded.add(line.name)


_Account = Callable[[_Reader, Line], None]


def _accounts() -> Dict[str, _Account]:
    groups: List[Tuple[_Account, Iterable[str]]] = [
        (_Reader.scalar, ("read", "write", "pread64", "pwrite64")),
        (_Reader.vectored, ("readv", "writev", "preadv", "pwritev", "preadv2", "pwritev2")),
        (_Reader.copy, COPIES),
        (_Reader.plain, SYNCS),
        (_Reader.close, ("close",)),
        (_Reader.duplicate, ("dup", "dup2", "dup3", "fcntl")),
        (_Reader.open, OPENS),
        (_Reader.rename, RENAMES),
        (_Reader.working_directory, ("chdir", "fchdir")),
        (_Reader.birth, ("clone", "clone3", "fork", "vfork")),
        (_Reader.listing, ("getdents", "getdents64")),
        (_Reader.map, ("mmap",)),
        (_Reader.nothing, ("execve", "execveat")),
        (_Reader.undecoded, _UNDECODED),
    ]
    return {name: account for account, names in groups for name in names}


_ACCOUNTS = _accounts()


def _canonical(path: bytes) -> bytes:
    """The path as /proc/PID/fd would show it: its directory without symbolic links, its last name untouched."""
    directory, name = os.path.split(os.path.normpath(path))
    return os.path.join(os.path.realpath(directory), name)


def _mounts() -> List[Tuple[bytes, str]]:
    """Mount points and file system types, as /proc/self/mounts has them."""

    def unescape(text: bytes) -> bytes:
        return re.sub(rb"\\(\d{3})", lambda match: bytes([int(match.group(1), 8)]), text)

    with open("/proc/self/mounts", "rb") as stream:
        return [(unescape(point), kind.decode()) for _, point, kind, *_ in map(bytes.split, stream)]


def parse(prefix: Path, directory: Path, root: Optional[int] = None) -> Totals:
    """Add up the trace in PREFIX.*: the command `root`, by default the lowest TID, started in `directory`.

    Call it while the files still exist: whether a path is a regular file is asked of the file system.
    """
    return _Reader(prefix, os.fsencode(directory), root).read()
