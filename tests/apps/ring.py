"""io_uring by raw system calls, for workloads: a ring in a few lines of Python, without any library."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Sequence

from .traced import Traced, trace

# What a script that uses io_uring starts with, behind the prelude of all scripts (include/uapi/linux/io_uring.h).
RING = '''
import struct
NOP, READV, WRITEV, FSYNC, READ_FIXED, WRITE_FIXED, CANCEL, READ, WRITE = 0, 1, 2, 3, 4, 5, 14, 22, 23
SPLICE, READV_FIXED, WRITEV_FIXED = 30, 60, 61
OPENAT, CLOSE, OPENAT2 = 18, 19, 28
FD_IN_FIXED, ANY_SLOT, AT_FDCWD = 1 << 31, 0xFFFFFFFF, -100     # SPLICE_F_FD_IN_FIXED, IORING_FILE_INDEX_ALLOC
FIXED_FILE, DRAIN, LINK, HARDLINK, ASYNC, BUFFER_SELECT, CQE_SKIP = 1, 2, 4, 8, 16, 32, 64     # IOSQE_*
SQPOLL, CQSIZE, SINGLE_ISSUER, DEFER_TASKRUN = 2, 8, 1 << 12, 1 << 13                          # IORING_SETUP_*
REGISTER_BUFFERS, REGISTER_FILES, UNREGISTER_FILES, FILES_UPDATE = 0, 2, 3, 6
SETUP, ENTER, REGISTER = 425, 426, 427          # the same on every machine
GETEVENTS, SQ_WAKEUP, NEED_WAKEUP = 1, 2, 1
HERE = (1 << 64) - 1                            # the file position
DATASYNC = 1

def invoke(number, *arguments):
    found = libc.syscall(L(number), *(L(value) for value in arguments))
    if found < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return found

def iovec(*parts):
    """The address of an iovec for these buffers, and what must be kept alive."""
    words = (ctypes.c_uint64 * (2 * len(parts)))()
    for i, (address, size) in enumerate(parts):
        words[2 * i], words[2 * i + 1] = address, size
    keep.append(words)
    return ctypes.addressof(words)

keep = []

def path(name):
    """The address of a path."""
    text = ctypes.create_string_buffer(os.fsencode(name))
    keep.append(text)
    return ctypes.addressof(text)

def memory(size):
    """The address of so many zeros, aligned to a page."""
    area = mmap.mmap(-1, size)
    keep.append(area)
    return ctypes.addressof(ctypes.c_char.from_buffer(area))

class Ring:
    def __init__(self, entries=64, flags=0, completions=0, idle=50):
        words = [0, completions, flags | (CQSIZE if completions else 0), 0, idle] + [0] * 25
        params = ctypes.create_string_buffer(struct.pack("<30I", *words), 120)
        try:
            self.fd = invoke(SETUP, entries, ctypes.addressof(params))
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            lacks("io_uring")
        words = struct.unpack("<30I", params.raw)
        self.sq, self.cq, self.polled = words[10:20], words[20:30], flags & SQPOLL
        size = max(self.sq[6] + 4 * words[0], self.cq[5] + 16 * words[1])
        self.ring = mmap.mmap(self.fd, size)
        self.sqes = mmap.mmap(self.fd, 64 * words[0], offset=0x10000000)
        self.queued = 0

    def word(self, offset, value=None):
        """In one access: struct clears a place before it writes it, which the kernel's thread may see."""
        word = ctypes.c_uint32.from_buffer(self.ring, offset)
        if value is not None:
            word.value = value & 0xFFFFFFFF
        return word.value

    def add(self, op, fd, address=0, size=0, offset=0, rw_flags=0, flags=0, data=0, buffer=0, ioprio=0, second=0,
            personality=0):
        """Queues a request."""
        tail = self.word(self.sq[1])
        index = tail & self.word(self.sq[2])
        self.sqes[64 * index:64 * index + 64] = struct.pack(
            "<BBHiQQIIQHHIQQ", op, flags, ioprio, fd, offset & HERE, address & HERE, size, rw_flags, data, buffer,
            personality, second & 0xFFFFFFFF, 0, 0)
        self.word(self.sq[6] + 4 * index, index)
        self.word(self.sq[1], tail + 1)
        self.queued += 1

    def add_splice(self, source, target, size, source_offset=HERE, target_offset=HERE, splice_flags=0, **options):
        self.add(SPLICE, target, source_offset, size, target_offset, splice_flags, second=source, **options)

    def add_open(self, name, mode=os.O_RDONLY, slot=0, **options):
        """`slot` is the place in the ring's table, plus one; 0: a descriptor."""
        self.add(OPENAT, AT_FDCWD, path(name), 0o644, 0, mode, second=slot, **options)

    def add_close(self, fd, slot=0, **options):
        self.add(CLOSE, fd, second=slot, **options)

    def splice(self, *arguments, **options):
        return self.result(self.add_splice, arguments, options)

    def open(self, *arguments, **options):
        return self.result(self.add_open, arguments, options)

    def close(self, *arguments, **options):
        return self.result(self.add_close, arguments, options)

    def submit(self, wait=0):
        """Submits what is queued; returns once so many have completed."""
        count, self.queued = self.queued, 0
        if not self.polled:
            return invoke(ENTER, self.fd, count, wait, GETEVENTS if wait else 0, 0, 0)
        while self.word(self.sq[0]) != self.word(self.sq[1]):
            if self.word(self.sq[4]) & NEED_WAKEUP:     # again and again: Python has no memory barrier
                invoke(ENTER, self.fd, 0, 0, SQ_WAKEUP, 0, 0)
            time.sleep(0.001)
        if wait:
            invoke(ENTER, self.fd, 0, wait, GETEVENTS, 0, 0)
        return count

    def reap(self):
        """(data, result) of everything that has completed."""
        head, tail, mask = self.word(self.cq[0]), self.word(self.cq[1]), self.word(self.cq[2])
        found = []
        while head != tail:
            data, result, _ = struct.unpack_from("<QiI", self.ring, self.cq[5] + 16 * (head & mask))
            found.append((data, result))
            head = (head + 1) & 0xFFFFFFFF
        self.word(self.cq[0], head)
        return found

    def all(self, count):
        """The results of the next so many requests that were submitted, by their data."""
        return dict(self.list(count))

    def list(self, count):
        """The same, (data, result) of each."""
        found = []
        while len(found) < count:
            invoke(ENTER, self.fd, 0, 1, GETEVENTS, 0, 0)
            found += self.reap()
        return found

    def one(self, op, fd, *arguments, **options):
        """The result of a request of its own."""
        return self.result(self.add, (op, fd, *arguments), options)

    def result(self, add, arguments, options):
        add(*arguments, **options)
        self.submit(1)
        (_, result), = self.reap()
        return result

    def register(self, op, address, count):
        return invoke(REGISTER, self.fd, op, address, count)

    def register_files(self, *fds):
        words = (ctypes.c_int32 * len(fds))(*fds)
        self.register(REGISTER_FILES, ctypes.addressof(words), len(fds))

'''


def trace_ring(place: Path, text: str, options: Sequence[str] = (), complete: bool = True) -> Traced:
    """Run a script that uses `Ring` under iotrace, as `trace` does."""
    return trace(place, RING + textwrap.dedent(text), options, complete)
