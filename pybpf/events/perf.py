"""Reading what programs send with perf_event_output: one ring for each online CPU, shared with the kernel (4.4).

The kernel writes records and moves `data_head`; we read and move `data_tail` (include/uapi/linux/perf_event.h, struct
perf_event_mmap_page). A ring that is full drops records and says later how many, in a record of its own.

Memory ordering. Positions are read and written as whole aligned words through a memoryview (a single load or store of
the C compiler's). `barrier` stands after the load of the head and before the store of the tail. On x86_64 it does
nothing, since neither loads nor stores are reordered with older loads. Elsewhere it is the release and the acquire of a
lock, which no access can pass together (Arm ARM B2.3: an acquire does not overtake an older release).
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import threading
from mmap import MAP_SHARED, PAGESIZE, PROT_READ, PROT_WRITE
from mmap import mmap as MemoryMap
from typing import Callable, List

from pybpf.attributes import PerfEventAttr
from pybpf.cpus import online_cpus
from pybpf.descriptor import Descriptor
from pybpf.maps import PerfEventArray
from pybpf.syscalls import BpfError, perf_event_open

__all__ = ["PerfBuffer", "barrier"]

_PERF_TYPE_SOFTWARE = 1
_PERF_COUNT_SW_BPF_OUTPUT = 10
_PERF_SAMPLE_RAW = 1 << 10
_PERF_EVENT_IOC_ENABLE = 0x2400
_RECORD_LOST, _RECORD_SAMPLE = 2, 9
_HEAD, _TAIL = 1024 // 8, 1032 // 8  # of data_head and data_tail in the first page, in words
_HEADER = struct.Struct("<IHH")  # type, misc, size: struct perf_event_header


def _make_barrier() -> Callable[[], None]:
    if os.uname().machine == "x86_64":
        return lambda: None
    lock = threading.Lock()
    lock.acquire()

    def release_acquire() -> None:
        lock.release()
        lock.acquire()

    return release_acquire


barrier = _make_barrier()
"""Orders the memory accesses before it before those after it; for one thread at a time."""


class _Ring(Descriptor):
    """The ring of one CPU."""

    def __init__(self, cpu: int, pages: int, wakeup: int) -> None:
        """Map a ring of `pages` pages for `cpu`, which wakes a reader after `wakeup` records. Raises BpfError."""
        attr = PerfEventAttr(
            type=_PERF_TYPE_SOFTWARE,
            config=_PERF_COUNT_SW_BPF_OUTPUT,
            sample_type=_PERF_SAMPLE_RAW,
            sample_period=1,
            wakeup_events=wakeup,
        )
        super().__init__(perf_event_open(attr, -1, cpu, subject=f"event buffer of CPU {cpu}"))
        self.size = pages * PAGESIZE
        try:
            self._memory = MemoryMap(self.fileno(), PAGESIZE + self.size, MAP_SHARED, PROT_READ | PROT_WRITE)
        except OSError as error:
            super().close()
            hint = "kernel.perf_event_mlock_kb and RLIMIT_MEMLOCK allow no more: ask for fewer pages"
            raise BpfError(error.errno or 0, "mmap", f"{pages} pages of event buffer for CPU {cpu}", hint) from None
        self._bytes = memoryview(self._memory)
        self._words = self._bytes.cast("Q")
        self._data = self._bytes[PAGESIZE:]
        fcntl.ioctl(self, _PERF_EVENT_IOC_ENABLE, 0)

    def _copy(self, position: int, length: int) -> bytes:
        """`length` bytes from `position` on, which may go around the end of the ring."""
        start = position % self.size
        first = bytes(self._data[start : start + length])
        return first if len(first) == length else first + bytes(self._data[: length - len(first)])

    def read(self, callback: Callable[[bytes], None]) -> int:
        """Pass every complete sample to `callback`; the number of samples that were lost."""
        lost = 0
        tail = self._words[_TAIL]
        head = self._words[_HEAD]
        barrier()
        try:
            while tail != head:
                kind, _misc, size = _HEADER.unpack(self._copy(tail, _HEADER.size))
                if size < _HEADER.size or size > head - tail:
                    raise BpfError(errno.EIO, "reading events", "perf ring", "the ring holds an impossible record")
                record = self._copy(tail, size)
                tail += size
                if kind == _RECORD_SAMPLE:
                    (length,) = struct.unpack_from("<I", record, _HEADER.size)
                    callback(record[_HEADER.size + 4 : _HEADER.size + 4 + length])
                elif kind == _RECORD_LOST:
                    lost += struct.unpack_from("<QQ", record, _HEADER.size)[1]
        finally:  # a callback that raises has had its record
            barrier()
            self._words[_TAIL] = tail
        return lost

    def close(self) -> None:
        if not self.closed:
            for view in (self._data, self._words, self._bytes):
                view.release()
            self._memory.close()
        super().close()


class PerfBuffer:
    """The rings of all online CPUs, put into a PERF_EVENT_ARRAY for programs to write to.

    The kernel pads samples to a multiple of 8 bytes, less the 4 of their length, so a record may be longer than what
    the program sent. A CPU that comes online later has no ring: perf_event_output fails there, which a program should
    count. `lost` is how many records the kernel has dropped so far, as far as it has said so.
    """

    def __init__(self, events: PerfEventArray, pages: int = 64, wakeup: int = 1) -> None:
        """Map the rings, of `pages` pages each (a power of two); `poll` returns after `wakeup` records of one CPU.

        Raises BpfError, and ValueError for a number of pages that is not a power of two.
        """
        if pages < 1 or pages & (pages - 1):
            raise ValueError(f"{pages} pages: not a power of two")
        self.lost = 0
        self._rings: List[_Ring] = []
        self._epoll = select.epoll()
        try:
            for cpu in online_cpus():
                ring = _Ring(cpu, pages, wakeup)
                self._rings.append(ring)
                events.set(cpu, ring)
                self._epoll.register(ring, select.EPOLLIN)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to read."""
        return self._epoll.fileno()

    def poll(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds (-1: for ever) for new records; whether there are any.

        The kernel reports a wake-up once (perf_poll): read after it, or the next wait is for the next record.
        """
        return bool(self._epoll.poll(timeout))

    def read(self, callback: Callable[[bytes], None]) -> int:
        """Pass the records that all rings hold to `callback`, those of each CPU in their order; how many there were.

        What the kernel had to drop is added to `lost`. Raises BpfError (EIO) for a ring that makes no sense.
        """
        count = 0

        def counted(record: bytes) -> None:
            nonlocal count
            count += 1
            callback(record)

        for ring in self._rings:
            self.lost += ring.read(counted)
        return count

    def close(self) -> None:
        """Unmap and close everything. Closing again does nothing."""
        self._epoll.close()
        for ring in self._rings:
            ring.close()

    def __enter__(self) -> PerfBuffer:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
