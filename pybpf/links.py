"""Links: programs attached to events. A link lasts as long as its descriptor: closing it detaches the program."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress
from typing import Iterable, List, NoReturn, Optional, Set

from pybpf import parallel
from pybpf.attributes import PerfEventAttr, RawTracepointAttr
from pybpf.cpus import online_cpus
from pybpf.descriptor import Descriptor
from pybpf.programs import Program
from pybpf.syscalls import BpfError, Command, address, bpf, perf_event_open

__all__ = ["Link", "close_all", "events_without_programs", "raw_tracepoint", "tracepoint", "tracing"]

_PERF_TYPE_TRACEPOINT = 2
_PAUSE = 0.05  # seconds, about as long as closing takes
_DISABLED = 1  # the first of the flags of struct perf_event_attr
_PERF_EVENT_IOC_ENABLE = 0x2400
_PERF_EVENT_IOC_SET_BPF = 0x40042408


class Link(Descriptor):
    """A program attached to an event; `close` detaches it. `description` names the event for a reader."""

    def __init__(self, fd: int, description: str, event_id: Optional[int] = None) -> None:
        """Own the link behind `fd`, or the perf event that stands for it on the tracepoint `event_id`."""
        super().__init__(fd)
        self.description = description
        self.event_id = event_id

    def __repr__(self) -> str:
        return f"<Link {self.description}{' (closed)' if self.closed else ''}>"


def raw_tracepoint(program: Program, name: str) -> Link:
    """Attach a RAW_TRACEPOINT program to the kernel's tracepoint `name`, such as "sys_enter", on every CPU.

    4.17 (c4f6699dfcb8 "bpf: introduce BPF_RAW_TRACEPOINT"). Raises BpfError, ENOENT for a tracepoint that the kernel
    does not have.
    """
    encoded = name.encode()
    attr = RawTracepointAttr(name=address(encoded), prog_fd=program.fileno())
    what = f"raw tracepoint {name}"
    return Link(bpf(Command.RAW_TRACEPOINT_OPEN, attr, subject=f"{program.name} on {what}"), what)


def tracing(program: Program) -> Link:
    """Attach a TRACING program (fentry, fexit, tp_btf) to what it was loaded for.

    5.5 (fec56f5890d9 "bpf: Introduce BPF trampoline"). Raises BpfError.
    """
    fd = bpf(
        Command.RAW_TRACEPOINT_OPEN, RawTracepointAttr(prog_fd=program.fileno()), subject=f"{program.name} (tracing)"
    )
    return Link(fd, f"tracing {program.name}")


def tracepoint(program: Program, event_id: int) -> Link:
    """Attach a TRACEPOINT program to the perf tracepoint with that id (`Tracefs.event_id`).

    4.7 (98b5c2c65c29 "perf, bpf: allow bpf programs attach to tracepoints"). One event, for every process and on one
    CPU, is enough: the program belongs to the tracepoint and runs on all CPUs (kernel/trace/trace_event_perf.c).

    Raises BpfError: EEXIST for a program that is attached there already, and before 4.15 if any program is, since a
    tracepoint took no more than one (e87c6bc3852b "bpf: permit multiple bpf attachments for a single perf event").
    """
    what = f"tracepoint {event_id}"
    subject = f"{program.name} on {what}"
    attr = PerfEventAttr(type=_PERF_TYPE_TRACEPOINT, config=event_id, sample_period=1)
    link = Link(perf_event_open(attr, -1, online_cpus()[0], subject=subject), what, event_id)
    try:
        fcntl.ioctl(link, _PERF_EVENT_IOC_SET_BPF, program.fileno())
        fcntl.ioctl(link, _PERF_EVENT_IOC_ENABLE, 0)
    except OSError as error:
        link.close()
        hint = ""
        if error.errno == errno.EEXIST:
            hint = (
                "the program is attached to it already, or another tracer is, and before Linux 4.15 a tracepoint takes "
                "only one program: stop the other tracer"
            )
        raise BpfError(error.errno or 0, "PERF_EVENT_IOC_SET_BPF", subject, hint) from None
    return link


def close_all(links: Iterable[Link]) -> None:
    """Detach many programs, with little waiting.

    Since 6.13 each perf event with a program waits for a grace period when it is closed, some 50 ms (ef1b808e3b7c "bpf:
    Fix UAF via mismatching bpf_prog/attachment RCU flavors"); those that are closed at the same time share it. On any
    kernel the last event of a tracepoint waits for another, under one mutex (perf_trace_event_unreg in
    kernel/trace/trace_event_perf.c). So that the programs are gone at once, and nobody waits but for that, each
    tracepoint gets an event without a program, which a process that outlives this one closes.
    """
    detached = list(links)
    last = events_without_programs({link.event_id for link in detached if link.event_id is not None})
    parallel.close_all(detached)
    if last:
        _leave_closing(last)


def events_without_programs(event_ids: Iterable[int]) -> List[Descriptor]:
    """A disabled event of this process on each of these tracepoints, as far as descriptors, memory and rights go.

    As long as it is open, whoever closes another event of the tracepoint need not wait (`close_all`).
    """
    events: List[Descriptor] = []
    try:
        for event_id in event_ids:
            attr = PerfEventAttr(type=_PERF_TYPE_TRACEPOINT, config=event_id, sample_period=1, flags=_DISABLED)
            events.append(Descriptor(perf_event_open(attr, 0, -1)))
    except BpfError:
        pass
    return events


def _leave_closing(events: List[Descriptor]) -> None:
    """Have a process of its own close the events, which holds nothing else and is nobody's child."""
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError:
        child = -1  # no process may be made: wait
    if child == 0:
        _close_last({reading, *(event.fileno() for event in events)}, reading)
    os.close(reading)
    parallel.close_all(events)
    os.close(writing)  # now those of the other process are the last
    if child > 0:
        with suppress(ChildProcessError):  # where SIGCHLD is ignored nobody need wait
            os.waitpid(child, 0)


def _close_last(kept: Set[int], others_have_closed: int) -> NoReturn:
    """In a new process: close `kept` after everybody else has, and everything else at once.

    With pauses, so that whoever attaches to tracepoints in the meantime gets the kernel's mutex.
    """
    try:
        os.setsid()
        for fd in map(int, os.listdir("/proc/self/fd")):
            if fd not in kept:
                with suppress(OSError):  # that of the directory itself
                    os.close(fd)
        if os.fork() == 0:
            with open("/proc/self/comm", "wb") as comm:
                comm.write(b"bpf-detach")
            os.read(others_have_closed, 1)
            for fd in kept:
                os.close(fd)
                time.sleep(_PAUSE)
    finally:
        os._exit(0)
