"""Linux AIO in a profile: what a run saw of it."""

from __future__ import annotations

from typing import Iterable, Iterator, Mapping, Sequence, Tuple

from iotrace.tracing import processes
from programs.facts.catalogue import KIND_MASK, Kind
from programs.facts.kernel import Kernel
from programs.facts.records import ARGUMENT_WORDS, Call, PendingKey


def reapers(pid: int, kernel: Kernel, syscalls: Mapping[int, int]) -> Iterator[Tuple[int, bytes]]:
    """The threads of a process that wait for completions: thread id, and the Call record as if the entry were seen.

    Their wait may end with requests that are submitted once tracing has begun. `syscalls` has the descriptors of the
    calls that are traced, by number.
    """
    for tid, number, arguments in processes.under_way(pid):
        descriptor = syscalls.get(number, 0)
        if descriptor & KIND_MASK == Kind.AIO_REAP:
            words = [0] * ARGUMENT_WORDS
            for place, value in enumerate(arguments):
                words[kernel.argument(place)] = value
            yield tid, Call.pack(owner=tid, process=pid, call=descriptor, args=words)


CALLS = ("io_setup", "io_destroy", "io_submit", "io_getevents", "io_pgetevents")


def unfinished(requests: Iterable[Tuple[bytes, bytes]]) -> int:
    """How many requests were not seen to complete: still in flight, or reaped where no program looks."""
    return sum(1 for raw, _ in requests if PendingKey.unpack(raw)["owner"])


def coverage(left: int = 0, missing: Sequence[str] = ()) -> str:
    """For the profile; `left` is what `unfinished` said, `missing` are system calls that cannot be traced."""
    absent = [name for name in missing if name in CALLS]
    if absent:
        return f"none: no {', '.join(absent)}"
    return f"partial: {left} requests were not seen to complete" if left else "full"
