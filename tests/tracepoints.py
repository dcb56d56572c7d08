"""Tracepoints that stay in use while the tests run, so that whoever detaches from them need not wait.

When the last perf event of a tracepoint is closed, the kernel waits for everything that may still run there, some 50 ms
for each and one after the other (perf_trace_event_unreg in kernel/trace/trace_event_perf.c); a run with `--attach perf`
has about a hundred. An event of the tests' own, disabled and with no program, keeps iotrace's from being the last.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import Iterator, List

from programs.facts.catalogue import SYSTEM_CALLS
from pybpf.attributes import PerfEventAttr
from pybpf.descriptor import Descriptor
from pybpf.parallel import close_all
from pybpf.syscalls import BpfError, perf_event_open
from pybpf.types.tracefs import Tracefs, TracefsError

_PERF_TYPE_TRACEPOINT = 2  # enum perf_type_id in include/uapi/linux/perf_event.h
_DISABLED = 1  # the first of the flags of struct perf_event_attr
_OTHERS = (
    ("task", "task_newtask"),
    ("task", "task_rename"),
    ("sched", "sched_process_exec"),
    ("sched", "sched_process_exit"),
    ("signal", "signal_deliver"),
)


@contextmanager
def kept_in_use() -> Iterator[None]:
    """Hold an event on each tracepoint that iotrace attaches to; where that is refused, the tests take longer."""
    calls = [("syscalls", f"sys_{way}_{call.event}") for call in SYSTEM_CALLS for way in ("enter", "exit")]
    held: List[Descriptor] = []
    with ExitStack() as stack:
        stack.callback(close_all, held)
        try:
            with Tracefs.open() as tracefs:
                for category, name in [*calls, *_OTHERS]:
                    if tracefs.exists(category, name):
                        held.append(_event(tracefs.event_id(category, name)))
        except (BpfError, TracefsError, OSError):
            pass
        yield


def _event(number: int) -> Descriptor:
    attr = PerfEventAttr(type=_PERF_TYPE_TRACEPOINT, config=number, sample_period=1, flags=_DISABLED)
    return Descriptor(perf_event_open(attr, os.getpid(), -1))
