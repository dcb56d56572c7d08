"""Waits for completions of Linux AIO that began before tracing did."""

from __future__ import annotations

from typing import Iterator, Mapping, Tuple

from iotrace.tracing import processes
from programs.facts.catalogue import Kind
from programs.facts.kernel import Kernel
from programs.facts.records import ARGUMENT_WORDS, Call
from programs.facts.signatures import KIND_MASK


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
