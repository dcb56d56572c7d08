"""Tracepoints that stay in use while the tests run, so that whoever detaches from them need not wait.

When the last perf event of a tracepoint is closed, the kernel waits for everything that may still run there, some 50 ms
for each and one after the other (perf_trace_event_unreg in kernel/trace/trace_event_perf.c); a run with `--attach perf`
has about a hundred. An event of the tests' own, disabled and with no program, keeps iotrace's from being the last.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import Iterator, List

from programs.facts.catalogue import SYSTEM_CALLS
from pybpf.descriptor import Descriptor
from pybpf.links import events_without_programs
from pybpf.parallel import close_all
from pybpf.types.tracefs import Tracefs, TracefsError

_OTHERS = (
    ("task", "task_newtask"),
    ("task", "task_rename"),
    ("sched", "sched_process_exec"),
    ("sched", "sched_process_exit"),
    ("signal", "signal_deliver"),
    ("filemap", "mm_filemap_add_to_page_cache"),
)


@contextmanager
def kept_in_use() -> Iterator[None]:
    """Hold an event on each tracepoint that iotrace attaches to; where that is refused, the tests take longer."""
    calls = [("syscalls", f"sys_{way}_{call.event}") for call in SYSTEM_CALLS for way in ("enter", "exit")]
    held: List[Descriptor] = []
    with suppress(TracefsError, OSError), Tracefs.open() as tracefs:
        there = [each for each in [*calls, *_OTHERS] if tracefs.exists(*each)]
        held = events_without_programs(tracefs.event_id(*each) for each in there)
    try:
        yield
    finally:
        close_all(held)
