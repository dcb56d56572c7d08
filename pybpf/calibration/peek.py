"""Reading the kernel's memory, a block at a time: a program that runs when a thread of ours renames itself.

`task:task_rename` is the way in because it is rare, costs other processes nothing, and happens in our own context
whenever we like: prctl(PR_SET_NAME). The program serves the thread that has a name which only we know, which works in
any PID namespace, and turns away all others at once. Reads go through bpf_probe_read (4.1), which cannot fault.

The program is the same for a perf tracepoint (4.7) and a raw tracepoint (4.17).
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from typing import NamedTuple, Optional

from asm import (
    U8,
    U32,
    U64,
    Assembler,
    Layout,
    MapSpec,
    MapType,
    ProgramSpec,
    ProgramType,
    field,
    r0,
    r1,
    r2,
    r3,
    r6,
    r7,
    r8,
    r9,
)
from pybpf import links
from pybpf.maps import Array, create
from pybpf.programs import load
from pybpf.syscalls import rename_thread
from pybpf.types.tracefs import Tracefs

__all__ = ["PART", "Answer", "Peek", "PeekError", "Task"]

CHUNK = 256  # bytes that one bpf_probe_read takes, so that what lies before a hole in memory is still read
CHUNKS = 32
PART = CHUNK * CHUNKS  # bytes that one renaming can read
_NAME = 16  # TASK_COMM_LEN
_ATTEMPTS = 5


class Request(Layout):
    """What is to be read, and by whom."""

    ticket = field(U64)  # 0: nothing
    name = field(U64, _NAME // 8)  # the thread that may be served
    address = field(U64)
    relative = field(U64)  # 1: the address counts from the thread's own task_struct
    length = field(U64)  # of each chunk, less 1
    chunks = field(U64)


class Reply(Layout):
    """What was read."""

    ticket = field(U64)  # that of the request
    task = field(U64)
    pid_tgid = field(U64)
    chunks = field(U64)
    data = field(U8, PART)


REQUEST = MapSpec("peek_request", MapType.ARRAY, U32, Request, 1)
REPLY = MapSpec("peek_reply", MapType.ARRAY, U32, Reply, 1)


class PeekError(RuntimeError):
    """The program was not run although a thread was renamed."""


class Task(NamedTuple):
    """A thread as the kernel sees it: where its task_struct is, and its numbers in the first pid namespace."""

    address: int
    tid: int
    pid: int


class Answer(NamedTuple):
    """The thread that was served, and what it read, which is less than was asked for where memory ends."""

    task: Task
    data: bytes


def program(raw: bool) -> ProgramSpec:
    """The program, for a raw tracepoint or for a perf tracepoint."""
    a = Assembler("peek", kind=ProgramType.RAW_TRACEPOINT if raw else ProgramType.TRACEPOINT)
    zero, name = a.slot("zero", U32), a.slot("name", (U8, _NAME))
    a.st(zero, 0)
    a.lookup(REQUEST, zero)
    a.jeq(r0, 0, "out")
    a.mov(r6, r0)
    a.ldx(r1, r6[Request.ticket])
    a.jeq(r1, 0, "out", "nothing is asked")
    a.addr(r1, name)
    a.mov(r2, _NAME)
    a.call("get_current_comm")
    for word in range(_NAME // 8):
        a.ldx(r1, name.at(8 * word, 8))
        a.ldx(r2, r6[Request.name[word]])
        a.jne(r1, r2, "out", "another thread")
    a.lookup(REPLY, zero)
    a.jeq(r0, 0, "out")
    a.mov(r7, r0)
    a.call("get_current_pid_tgid")
    a.stx(r7[Reply.pid_tgid], r0)
    a.call("get_current_task")
    a.stx(r7[Reply.task], r0)
    a.ldx(r8, r6[Request.address])
    a.ldx(r1, r6[Request.relative])
    a.jeq(r1, 0, "absolute")
    a.add(r8, r0)
    a.label("absolute")
    a.st(r7[Reply.chunks], 0)
    a.ldx(r9, r6[Request.chunks])
    for number in range(CHUNKS):
        a.jle(r9, number, "served")
        a.mov(r1, r7)
        a.add(r1, Reply.data.offset + number * CHUNK)
        a.ldx(r2, r6[Request.length])
        a.and_(r2, CHUNK - 1, "which the verifier cannot know")
        a.add(r2, 1)
        a.mov(r3, r8)
        a.add(r3, number * CHUNK)
        a.call("probe_read")
        a.jne(r0, 0, "served", "memory ends here")
        a.st(r7[Reply.chunks], number + 1)
    a.label("served")
    a.ldx(r1, r6[Request.ticket])
    a.stx(r7[Reply.ticket], r1)
    a.st(r6[Request.ticket], 0)
    a.label("out")
    a.ret(0)
    return a.program()


class Peek:
    """The program, loaded and attached. Threads that are to read call `adopt` first, which gives them its name.

    `name` is that name, as bytes.
    """

    def __init__(self, tracefs: Optional[Tracefs] = None) -> None:
        """Attach to the perf tracepoint with a `tracefs`, else to the raw one. Raises BpfError, TracefsError."""
        # As long as a name can be: some kernels (6.1) do not clear what is behind the end of a shorter one.
        self.name = b"peek" + os.urandom(6).hex().encode()[: _NAME - 5]
        self._lock = threading.Lock()
        self._ticket = 0
        self._length = 0
        with contextlib.ExitStack() as stack:
            self._request = stack.enter_context(create(REQUEST, Array))
            self._reply = stack.enter_context(create(REPLY, Array))
            bound = {REQUEST.name: self._request, REPLY.name: self._reply}
            loaded = stack.enter_context(load(program(raw=tracefs is None), bound, btf=False))
            if tracefs is None:
                self._link = links.raw_tracepoint(loaded, "task_rename")
            else:
                self._link = links.tracepoint(loaded, tracefs.event_id("task", "task_rename"))
            stack.enter_context(self._link)
            self._stack = stack.pop_all()

    def adopt(self) -> None:
        """Give the calling thread the name of those that are served, which may be in one process at a time."""
        self.rename(self.name)

    def rename(self, name: bytes) -> None:
        """Give the calling thread another name, whichever it has now."""
        with self._lock:  # else it would be served now, in place of another one
            rename_thread(name)

    def current(self) -> Task:
        """The calling thread, which must have been adopted. Raises PeekError."""
        return self._ask(0, 0).task

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes of kernel memory from `address` on, or fewer where memory ends; read by the calling thread.

        It must have been adopted. Raises PeekError.
        """
        data = b""
        while len(data) < size:
            wanted = min(size - len(data), PART)
            part = self._ask(address + len(data), wanted).data
            data += part
            if len(part) < wanted:
                break
        return data

    def arm(self, offset: int, size: int) -> None:
        """Have the next thread with the name read `size` bytes, at most PART, from `offset` in its task_struct on.

        `fetch` gives what it read.
        """
        self._put(offset, size, relative=True)

    def fetch(self) -> Optional[Answer]:
        """What was read since `arm`; None if no such thread was renamed."""
        raw = self._reply.at(0)
        ticket, task, pid_tgid, chunks = Reply.struct.unpack_from(raw)[:4]
        if ticket != self._ticket:
            return None
        data = raw[Reply.data.offset : Reply.data.offset + min(chunks * CHUNK, self._length)]
        return Answer(Task(task, pid_tgid & 0xFFFFFFFF, pid_tgid >> 32), data if chunks else b"")

    def _ask(self, address: int, size: int) -> Answer:
        with self._lock:
            for _attempt in range(_ATTEMPTS):  # the kernel skips a program while another one runs on that CPU
                self._put(address, size, relative=False)
                rename_thread(self.name)
                answer = self.fetch()
                if answer is not None:
                    return answer
        raise PeekError("the program on task:task_rename is not run when a thread is renamed")

    def _put(self, address: int, size: int, *, relative: bool) -> None:
        self._ticket += 1
        self._length = size
        self._request.set(
            0,
            Request.pack(
                ticket=self._ticket,
                name=struct.unpack("<2Q", self.name + b"\0"),
                address=address & 0xFFFFFFFFFFFFFFFF,
                relative=int(relative),
                length=min(size, CHUNK) - 1 if size else 0,
                chunks=(size + CHUNK - 1) // CHUNK,
            ),
        )

    def close(self) -> None:
        """Detach and release everything. Closing again does nothing."""
        self._stack.close()

    def __enter__(self) -> Peek:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
