"""How long threads wait for a CPU, from when they could run until they did, as a histogram.

    sudo python3 -m pybpf.examples.scheduler_latency [--seconds S] [TID ...]

A thread can run from its wake-up on, or from when it was preempted. The programs on `sched_wakeup`, `sched_wakeup_new`
and `sched_switch` note these instants in a hash map; when the scheduler switches to the thread, the last of them takes
the time since then and counts it. Every kernel since 4.14 has all that is used here.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import Iterator, List, Sequence

from asm import U32, U64, Assembler, MapSpec, MapType, ProgramSpec, ProgramType, Register, r0, r1, r2, r6, r7, r8
from pybpf import Array, BpfError, HashMap, Tracefs, TracefsError, TracepointFormat, create, load, tracepoint

WAITING = MapSpec("waiting", MapType.HASH, U32, U64, 65536)  # thread id -> since when it can run, ns
LATENCIES = MapSpec("latencies", MapType.ARRAY, U32, U64, 64)  # [k]: how often it was 2^k to 2^(k+1) ns


def woken(event: TracepointFormat, threads: Sequence[int]) -> ProgramSpec:
    """On `sched_wakeup` and `sched_wakeup_new`: the thread `pid` can run from now on."""
    a = Assembler(event.name, ProgramType.TRACEPOINT)
    a.ldx(r6, r1.u32(event.fields["pid"].offset))
    can_run(a, r6, threads, "out")
    a.label("out")
    a.ret(0)
    return a.program()


def switched(event: TracepointFormat, threads: Sequence[int]) -> ProgramSpec:
    """On `sched_switch`: `prev_pid` leaves the CPU, which it may still want; `next_pid` gets it."""
    a = Assembler(event.name, ProgramType.TRACEPOINT)
    tid, bucket = a.slot("tid", U32), a.slot("bucket", U32)
    a.ldx(r6, r1.u32(event.fields["prev_pid"].offset))
    a.ldx(r7, r1.u32(event.fields["next_pid"].offset))
    a.ldx(r8, r1.u8(event.fields["prev_state"].offset), "its low byte is 0 for a thread that can go on")
    a.jeq(r8, 0, "preempted")
    a.stx(tid, r6)
    a.delete(WAITING, tid, "asleep: a wake-up before it had fallen asleep does not count")
    a.ja("next")
    a.label("preempted")
    can_run(a, r6, threads, "next")

    a.label("next")
    a.stx(tid, r7)
    a.lookup(WAITING, tid)
    a.jeq(r0, 0, "out", "not noted: it has waited since before we came")
    a.ldx(r6, r0[0])
    a.delete(WAITING, tid)
    a.call("ktime_get_ns")
    a.sub(r0, r6)
    highest_bit(a, r7, of=r0)
    a.stx(bucket, r7)
    a.lookup(LATENCIES, bucket)
    a.jeq(r0, 0, "out", "never, but the verifier does not know")
    a.mov(r1, 1)
    a.xadd(r0[0], r1)
    a.label("out")
    a.ret(0)
    return a.program()


def can_run(a: Assembler, thread: Register, threads: Sequence[int], out: str) -> None:
    """Note that `thread` can run from now on, if it is one of `threads`, or if there are none: a macro.

    Python's `if` and `for` decide what is assembled: without `threads` there is nothing to compare with.
    """
    tid, now = a.slot("tid", U32), a.slot("now", U64)
    a.jeq(thread, 0, out, "the idle thread of a CPU, which waits for nobody")
    if threads:
        for number in threads:
            a.jeq(thread, number, "chosen")
        a.ja(out)
        a.label("chosen")
    a.call("ktime_get_ns")
    a.stx(now, r0)
    a.stx(tid, thread)
    a.update(WAITING, tid, now)


def highest_bit(a: Assembler, result: Register, of: Register) -> None:
    """result = the number of the highest bit that is set in `of`, which is lost; 0 for 0."""
    a.mov(result, 0)
    for bits in (32, 16, 8, 4, 2, 1):
        lower = a.unique("lower")
        a.mov(r2, of)
        a.rsh(r2, bits)
        a.jeq(r2, 0, lower)
        a.mov(of, r2)
        a.add(result, bits)
        a.label(lower)


@contextmanager
def measuring(threads: Sequence[int]) -> Iterator[Array]:
    """Measure for as long as the context lasts, into the map that it gives."""
    with ExitStack() as stack:
        tracefs = stack.enter_context(Tracefs.open())  # mounted privately where it is not mounted
        waiting = stack.enter_context(create(WAITING, HashMap))
        latencies = stack.enter_context(create(LATENCIES, Array))
        maps = {"waiting": waiting, "latencies": latencies}
        for name, program in (("sched_switch", switched), ("sched_wakeup", woken), ("sched_wakeup_new", woken)):
            event = tracefs.format("sched", name)  # says where the fields lie on this kernel
            loaded = stack.enter_context(load(program(event, threads), maps))
            stack.enter_context(tracepoint(loaded, event.id))
        yield latencies


def histogram(counts: Sequence[int]) -> Iterator[str]:
    """A line for each bucket between the first and the last that are not empty."""
    used = [number for number, count in enumerate(counts) if count]
    for number in range(used[0], used[-1] + 1) if used else ():
        bar = "#" * round(50 * counts[number] / max(counts))
        yield f"{duration(1 << number):>8} to {duration(2 << number):8} {counts[number]:10}  {bar}".rstrip()


def duration(ns: float) -> str:
    for unit in ("ns", "us", "ms"):
        if ns < 1000:
            return f"{ns:.3g} {unit}"
        ns /= 1000
    return f"{ns:.3g} s"


def main() -> None:
    parser = argparse.ArgumentParser(description="How long threads wait for a CPU.")
    parser.add_argument("--seconds", type=float, metavar="S", help="how long to measure; until Ctrl-C without")
    parser.add_argument("threads", nargs="*", type=int, metavar="TID", help="these threads; all without")
    args = parser.parse_args()
    with measuring(args.threads) as latencies:
        with suppress(KeyboardInterrupt):
            print("Measuring. Ctrl-C ends it.", flush=True)
            time.sleep(args.seconds or 1 << 20)
        counts: List[int] = [int.from_bytes(latencies.at(bucket), "little") for bucket in range(latencies.max_entries)]
    print("\n".join(histogram(counts)))
    print(f"{sum(counts)} times a thread was given a CPU that it had waited for")


if __name__ == "__main__":
    try:
        main()
    except (BpfError, TracefsError) as error:
        raise SystemExit(str(error)) from None
