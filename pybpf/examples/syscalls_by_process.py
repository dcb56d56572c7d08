"""Which process makes how many system calls.

    sudo python3 -m pybpf.examples.syscalls_by_process [--top ROWS] [SECONDS]

One program runs at the entry of every system call, in the thread that makes it. It counts in a hash map with an element
for each process, which Python reads at the end: after SECONDS, or on Ctrl-C.
"""

from __future__ import annotations

import argparse
import time
from contextlib import contextmanager, suppress
from typing import Iterator

from asm import U8, U32, U64, Assembler, Layout, MapSpec, MapType, ProgramSpec, ProgramType, field, r0, r1, r2
from pybpf import (
    FEATURES,
    NOEXIST,
    BpfError,
    HashMap,
    Tracefs,
    TracefsError,
    create,
    load,
    raw_tracepoint,
    tracepoint,
)


class Process(Layout):
    """What is known of a process. The same definition gives the program its offsets and Python its unpacking."""

    calls = field(U64)
    name = field(U8, 16)  # of the thread that was seen first


COUNTS = MapSpec("counts", MapType.HASH, U32, Process, 16384)  # process id -> Process


def counter(kind: ProgramType) -> ProgramSpec:
    """Count one call for the process that makes it."""
    a = Assembler("count_syscall", kind)
    pid, fresh = a.slot("pid", U32), a.slot("fresh", Process)

    a.call("get_current_pid_tgid")
    a.rsh(r0, 32, "the process; the low half is the thread")
    a.stx(pid, r0, "keys lie on the stack")
    a.lookup(COUNTS, pid)
    a.jne(r0, 0, "known")

    a.zero(fresh)
    a.addr(r1, fresh[Process.name])
    a.mov(r2, 16)
    a.call("get_current_comm")
    a.update(COUNTS, pid, fresh, NOEXIST, "another thread may be faster, and then its element counts")
    a.lookup(COUNTS, pid)
    a.jeq(r0, 0, "out", "the map is full")

    a.label("known")
    a.mov(r1, 1)
    a.xadd(r0[Process.calls], r1, "atomic: other threads count here, too")
    a.label("out")
    a.ret(0)
    return a.program()


@contextmanager
def counting() -> Iterator[HashMap]:
    """Count for as long as the context lasts, into the map that it gives. Closing everything detaches the program."""
    raw = FEATURES["raw_tracepoints"].supported()  # the cheaper way in, which 4.17 brought
    program = counter(ProgramType.RAW_TRACEPOINT if raw else ProgramType.TRACEPOINT)
    with create(COUNTS, HashMap) as counts, load(program, {"counts": counts}) as loaded:
        if raw:
            link = raw_tracepoint(loaded, "sys_enter")
        else:
            with Tracefs.open() as tracefs:
                link = tracepoint(loaded, tracefs.event_id("raw_syscalls", "sys_enter"))
        with link:
            yield counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Which process makes how many system calls.")
    parser.add_argument("seconds", nargs="?", type=float, metavar="SECONDS", help="how long; until Ctrl-C without")
    parser.add_argument("--top", type=int, default=20, metavar="ROWS", help="how many processes to show (20)")
    args = parser.parse_args()
    with counting() as counts:
        with suppress(KeyboardInterrupt):
            print("Counting system calls. Ctrl-C ends it.", flush=True)
            time.sleep(args.seconds or 1 << 20)
        found = [(Process.unpack(value), int.from_bytes(key, "little")) for key, value in counts.items()]
    print(f"{'calls':>12} {'pid':>8}  process")
    for process, pid in sorted(found, key=lambda each: each[0]["calls"], reverse=True)[: args.top]:
        name = bytes(process["name"]).partition(b"\0")[0].decode("utf-8", "replace")
        print(f"{process['calls']:12} {pid:8}  {name}")


if __name__ == "__main__":
    try:
        main()
    except (BpfError, TracefsError) as error:
        raise SystemExit(str(error)) from None
