"""Reading a BPF ring buffer (5.8, 457f44363a88): one ring for all CPUs, in the order of reservation.

The first page holds the consumer's position, which we write, the second the producer's. The data follow, mapped twice
in a row so that a record never has to be pieced together (Documentation/bpf/ringbuf.rst). A record whose busy bit is
set is still being written, and everything behind it waits. A full ring refuses reservations, which programs have to
count, since the kernel does not.

Memory is ordered as `pybpf.events.perf` says.
"""

from __future__ import annotations

import errno
import select
from mmap import MAP_SHARED, PAGESIZE, PROT_READ, PROT_WRITE
from mmap import mmap as MemoryMap
from typing import Callable

from pybpf.events.perf import barrier
from pybpf.maps import RingBuf
from pybpf.syscalls import BpfError

__all__ = ["RingBuffer"]

_BUSY, _DISCARD = 1 << 31, 1 << 30
_FREE_EVERY = 1 << 16  # bytes; the kernel looks at the consumer's position for each record
_HEADER_SIZE = 8  # length with the two bits, offset of the page (kernel/bpf/ringbuf.c, struct bpf_ringbuf_hdr)


class RingBuffer:
    """The reader of a ring. There may be only one at a time."""

    def __init__(self, ring: RingBuf) -> None:
        """Map `ring`, which is still its owner's to close, after the reader. Raises OSError."""
        self.size = ring.max_entries
        fd = ring.fileno()
        self._consumer_map = MemoryMap(fd, PAGESIZE, MAP_SHARED, PROT_READ | PROT_WRITE)
        self._producer_map = MemoryMap(fd, PAGESIZE + 2 * self.size, MAP_SHARED, PROT_READ, offset=PAGESIZE)
        self._consumer = memoryview(self._consumer_map).cast("Q")
        self._producer = memoryview(self._producer_map)[:8].cast("Q")
        self._lengths = memoryview(self._producer_map)[PAGESIZE:].cast("I")
        self._data = memoryview(self._producer_map)[PAGESIZE:]
        self._epoll = select.epoll()
        self._epoll.register(fd, select.EPOLLIN)

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to read."""
        return self._epoll.fileno()

    def poll(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds (-1: for ever) for records; whether there are any."""
        return bool(self._epoll.poll(timeout))

    def read(self, callback: Callable[[bytes], None]) -> int:
        """Pass every finished record to `callback`, oldest first; how many there were.

        Raises BpfError (EIO) for a ring that makes no sense.
        """
        count = 0
        size, lengths, data = self.size, self._lengths, self._data
        position = freed = self._consumer[0]
        head = self._producer[0]
        barrier()
        try:
            while position < head:
                start = position % size
                word = lengths[start >> 2]
                if word & _BUSY:
                    break
                barrier()  # the record may be read once it is seen not to be busy
                length = word & ~_DISCARD
                if length > size - _HEADER_SIZE:
                    raise BpfError(errno.EIO, "reading events", "ring buffer", "the ring holds an impossible record")
                record = data[start + _HEADER_SIZE : start + _HEADER_SIZE + length].tobytes()
                position += (_HEADER_SIZE + length + 7) & ~7
                if position - freed > _FREE_EVERY:
                    barrier()
                    self._consumer[0] = freed = position
                if not word & _DISCARD:
                    count += 1
                    callback(record)
        finally:  # a callback that raises has had its record
            barrier()
            self._consumer[0] = position
        return count

    def close(self) -> None:
        """Unmap everything. Closing again does nothing."""
        if self._epoll.closed:
            return
        self._epoll.close()
        for view in (self._consumer, self._producer, self._lengths, self._data):
            view.release()
        self._consumer_map.close()
        self._producer_map.close()

    def __enter__(self) -> RingBuffer:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
