"""What is counted (operations) and which system calls do it: the one catalogue for programs, collector and reports.

An *operation* is a key of the output ("pread64", "sendfile_read"); a *system call* performs one or two of them. A
call's *kind* says how its arguments are to be read (which one is the descriptor, where size and offset are), what its
entry does about it, and thus which program accounts for it: kinds are also the first indexes of the table of tail
calls (`programs.facts.jumps`).
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Dict, List, NamedTuple, Optional, Tuple, Union


class Route(Enum):
    """What is done at the entry of a call, once it is noted."""

    RESOLVE = "resolve"  # its first argument is the descriptor: the file is noted too
    HAND_ON = "hand on"  # Jump.ENTER_OTHER knows where its descriptors are, or what else must be done in time
    NOTE = "note"  # nothing more: its exit finds all that it needs
    AIO = "AIO"  # Jump.AIO_ENTER looks at the ring, and at requests


class Kind(IntEnum):
    """How a system call's arguments are laid out, the index of the program that accounts for it, and its route.

    Kinds number themselves in this order. Entries tell routes apart by comparing numbers: the kinds of `Route.RESOLVE`
    come first, and the more kinds of another route stand side by side, the fewer comparisons it takes.
    """

    route: Route

    def __new__(cls, route: object) -> Kind:
        value = len(cls.__members__) + 1
        if not isinstance(route, Route):
            raise TypeError(f"kind {value} has no route")
        kind = int.__new__(cls, value)
        kind._value_ = value
        kind.route = route
        return kind

    SCALAR = Route.RESOLVE  # fd, buffer, size, [offset]
    VECTOR = Route.RESOLVE  # fd, iovec, entries, [offset, _, flags]
    SYNC = Route.RESOLVE  # fd
    CLOSE = Route.HAND_ON  # fd
    OPEN = Route.NOTE  # the descriptor is the return value
    MMAP = Route.HAND_ON  # fd is the fifth argument
    SENDFILE = Route.HAND_ON  # out fd, in fd, in offset *, size
    COPY = Route.HAND_ON  # in fd, in offset *, out fd, out offset *, size     (copy_file_range and splice)
    NAMESPACE = Route.NOTE  # may move the thread to another mount namespace
    NAMES = Route.NOTE  # renames or unlinks something
    RING = Route.NOTE  # makes one of io_uring, whose descriptor is the return value
    BESIDE = Route.NOTE  # in no file's counters: see `Beside`
    SEEK = Route.NOTE  # fd, offset, whence
    AIO_SETUP = Route.NOTE  # _, context *
    AIO_REAP = Route.NOTE  # context, _, _, events
    AIO_SUBMIT = Route.AIO  # context, requests, iocb **
    AIO_DESTROY = Route.AIO  # context
    AIO_EXIT = Route.AIO  # the end of the process, and of all its contexts


def runs() -> List[Tuple[Kind, Kind]]:
    """The kinds in their order, as (first, last) of those in a row that share a route: one comparison tells each."""
    found: List[Tuple[Kind, Kind]] = []
    for kind in sorted(Kind):
        if found and found[-1][1].route is kind.route:
            found[-1] = (found[-1][0], kind)
        else:
            found.append((kind, kind))
    return found


class Position(IntEnum):
    """Where a transfer happens."""

    CURRENT = 0  # at the file position, which it moves
    EXPLICIT = 1  # at the offset in the fourth argument
    MINUS_ONE = 2  # the same, but -1 means the file position (preadv2, pwritev2)


class Flags(IntEnum):
    """Where an open has its flags, in the place of `Position`; its path is right before them."""

    NOWHERE = 0  # in no argument: openat2
    SECOND = 1
    THIRD = 2
    CREAT = 3  # creat has none: it always creates
    HANDLE = 4  # open_by_handle_at has a path no more than it has flags here


class Beside(IntEnum):
    """What a call does to files although it is in no file's counters, in the place of `Position`: it is only counted,
    so that nobody takes those counters for more than they are."""

    SYNC = 0  # every file is durable
    SYNCFS = 1  # those of a file system
    MSYNC = 2  # those that are mapped to a range, with MS_SYNC in the third argument
    CLONE = 3  # an ioctl, if its second argument is FICLONE or the like: data comes from another file
    ALLOCATE = 4  # or punches holes, zeroes, inserts, collapses
    TRUNCATE = 5


READ, WRITE = 0, 1

ENTERED = frozenset({Kind.SYNC, Kind.CLOSE, Kind.OPEN, Kind.AIO_SUBMIT, Kind.AIO_DESTROY, Kind.AIO_EXIT})
"""Kinds whose entry must be seen: of all others the exit tells what is counted (`Options.light`)."""
TIMED = frozenset({Kind.SCALAR, Kind.VECTOR, Kind.SENDFILE, Kind.COPY})
"""Those that move data."""


class Operation(NamedTuple):
    """One key of the output, and what a successful call of it means for its file."""

    code: int
    name: str
    direction: Optional[int] = None  # READ, WRITE, or None for calls that move no data
    syncs: bool = False  # it is one of those that make data durable
    covers: bool = False  # what was written to the file before it is durable when it returns


class SystemCall(NamedTuple):
    """A system call that is traced. `arity` is the number of its arguments, as its tracepoint shows them."""

    name: str
    kind: Kind
    arity: int
    operations: Tuple[str, ...]
    position: Union[Position, Flags, Beside] = Position.CURRENT
    tracepoint: str = ""
    returns: bool = True

    @property
    def event(self) -> str:
        """The name in `syscalls:sys_enter_NAME`, which is that of the kernel's function, not always of the call."""
        return self.tracepoint or self.name


_READS = """
read readv pread64 preadv preadv2 sendfile_read copy_file_range_read splice_read aio_pread aio_preadv
uring_read uring_readv uring_read_fixed uring_splice_read
"""
_WRITES = """
write writev pwrite64 pwritev pwritev2 sendfile_write copy_file_range_write splice_write aio_pwrite aio_pwritev
uring_write uring_writev uring_write_fixed uring_splice_write
"""
_SYNCS = "fsync fdatasync sync_file_range aio_fsync aio_fdsync uring_fsync uring_sync_file_range"
_PROMISE_NOTHING = "sync_file_range uring_sync_file_range"  # sync_file_range(2): neither metadata nor the disk's cache
_LIFETIME = "open close"


def _catalogue() -> List[Operation]:
    """Reads first, then writes, then the rest: the programs tell directions apart by that order."""
    reads, writes, syncs = _READS.split(), _WRITES.split(), _SYNCS.split()
    return [
        Operation(
            code,
            name,
            READ if name in reads else WRITE if name in writes else None,
            syncs=name in syncs,
            covers=name in syncs and name not in _PROMISE_NOTHING.split(),
        )
        for code, name in enumerate([*reads, *writes, *syncs, *_LIFETIME.split()], 1)
    ]


OPERATIONS: List[Operation] = _catalogue()
BY_NAME: Dict[str, Operation] = {operation.name: operation for operation in OPERATIONS}
BY_CODE: Dict[int, Operation] = {operation.code: operation for operation in OPERATIONS}
WITHOUT_DATA = frozenset(operation.name for operation in OPERATIONS if operation.direction is None)
"""Operations that move no data, and so have neither bytes nor sizes."""

# Calls without an operation do not appear in the output; they are traced because they change what others mean.
SYSTEM_CALLS: List[SystemCall] = [
    SystemCall("read", Kind.SCALAR, 3, ("read",)),
    SystemCall("write", Kind.SCALAR, 3, ("write",)),
    SystemCall("pread64", Kind.SCALAR, 4, ("pread64",), Position.EXPLICIT),
    SystemCall("pwrite64", Kind.SCALAR, 4, ("pwrite64",), Position.EXPLICIT),
    SystemCall("readv", Kind.VECTOR, 3, ("readv",)),
    SystemCall("writev", Kind.VECTOR, 3, ("writev",)),
    SystemCall("preadv", Kind.VECTOR, 5, ("preadv",), Position.EXPLICIT),
    SystemCall("pwritev", Kind.VECTOR, 5, ("pwritev",), Position.EXPLICIT),
    SystemCall("preadv2", Kind.VECTOR, 6, ("preadv2",), Position.MINUS_ONE),
    SystemCall("pwritev2", Kind.VECTOR, 6, ("pwritev2",), Position.MINUS_ONE),
    SystemCall("fsync", Kind.SYNC, 1, ("fsync",)),
    SystemCall("fdatasync", Kind.SYNC, 1, ("fdatasync",)),
    SystemCall("sync_file_range", Kind.SYNC, 4, ("sync_file_range",)),
    SystemCall("sendfile", Kind.SENDFILE, 4, ("sendfile_read", "sendfile_write"), tracepoint="sendfile64"),
    SystemCall("copy_file_range", Kind.COPY, 6, ("copy_file_range_read", "copy_file_range_write")),
    SystemCall("splice", Kind.COPY, 6, ("splice_read", "splice_write")),
    SystemCall("open", Kind.OPEN, 3, ("open",), Flags.SECOND),
    SystemCall("creat", Kind.OPEN, 2, ("open",), Flags.CREAT),
    SystemCall("openat", Kind.OPEN, 4, ("open",), Flags.THIRD),
    SystemCall("openat2", Kind.OPEN, 4, ("open",)),
    SystemCall("open_by_handle_at", Kind.OPEN, 3, ("open",), Flags.HANDLE),
    SystemCall("close", Kind.CLOSE, 1, ("close",)),
    SystemCall("mmap", Kind.MMAP, 6, ()),
    SystemCall("unshare", Kind.NAMESPACE, 1, ()),
    SystemCall("setns", Kind.NAMESPACE, 2, ()),
    SystemCall("rename", Kind.NAMES, 2, ()),
    SystemCall("renameat", Kind.NAMES, 4, ()),
    SystemCall("renameat2", Kind.NAMES, 5, ()),
    SystemCall("unlink", Kind.NAMES, 1, ()),
    SystemCall("unlinkat", Kind.NAMES, 3, ()),
    SystemCall("io_uring_setup", Kind.RING, 2, ()),
    SystemCall("sync", Kind.BESIDE, 0, (), Beside.SYNC),
    SystemCall("syncfs", Kind.BESIDE, 1, (), Beside.SYNCFS),
    SystemCall("msync", Kind.BESIDE, 3, (), Beside.MSYNC),
    SystemCall("ioctl", Kind.BESIDE, 3, (), Beside.CLONE),
    SystemCall("fallocate", Kind.BESIDE, 4, (), Beside.ALLOCATE),
    SystemCall("truncate", Kind.BESIDE, 2, (), Beside.TRUNCATE),
    SystemCall("ftruncate", Kind.BESIDE, 2, (), Beside.TRUNCATE),
    SystemCall("io_setup", Kind.AIO_SETUP, 2, ()),
    SystemCall("io_destroy", Kind.AIO_DESTROY, 1, ()),
    SystemCall("io_submit", Kind.AIO_SUBMIT, 3, ()),
    SystemCall("io_getevents", Kind.AIO_REAP, 5, ()),
    SystemCall("io_pgetevents", Kind.AIO_REAP, 6, ()),
    SystemCall("exit_group", Kind.AIO_EXIT, 1, (), returns=False),
]

WITHOUT_ENTRY: List[SystemCall] = [SystemCall("lseek", Kind.SEEK, 3, ())]
"""Those that are traced besides where data calls have no entry: they tell a position that was moved from one at which
another thread is at work."""

# System-call numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h (aarch64).
# Part of the kernel's ABI: they never change.
BESIDE = frozenset(call.name for call in SYSTEM_CALLS if call.kind is Kind.BESIDE)
"""Calls that are only counted; every kernel has them."""

_NUMBERS = {
    "x86_64": """
    read 0  write 1  open 2  close 3  lseek 8  mmap 9  ioctl 16  pread64 17  pwrite64 18  readv 19  writev 20  msync 26
    sendfile 40  fsync 74  fdatasync 75  truncate 76  ftruncate 77  rename 82  creat 85  unlink 87  sync 162
    io_setup 206  io_destroy 207  io_getevents 208  io_submit 209  exit_group 231  openat 257  unlinkat 263
    renameat 264  unshare 272  splice 275  sync_file_range 277  fallocate 285  preadv 295  pwritev 296
    open_by_handle_at 304  syncfs 306  setns 308  renameat2 316  copy_file_range 326  preadv2 327  pwritev2 328
    io_pgetevents 333  io_uring_setup 425  openat2 437
    """,
    "aarch64": """
    io_setup 0  io_destroy 1  io_submit 2  io_getevents 4  ioctl 29  unlinkat 35  renameat 38  truncate 45
    ftruncate 46  fallocate 47  openat 56  close 57  lseek 62  read 63  write 64  readv 65  writev 66  pread64 67
    pwrite64 68  preadv 69  pwritev 70  sendfile 71  splice 76  sync 81  fsync 82  fdatasync 83  sync_file_range 84
    exit_group 94  unshare 97  mmap 222  msync 227  open_by_handle_at 265  syncfs 267  setns 268  renameat2 276
    copy_file_range 285  preadv2 286  pwritev2 287  io_pgetevents 292  io_uring_setup 425  openat2 437
    """,
}
NUMBERS: Dict[str, Dict[str, int]] = {
    machine: dict(zip(words[::2], map(int, words[1::2])))
    for machine, words in ((machine, table.split()) for machine, table in _NUMBERS.items())
}
"""By machine and name."""
