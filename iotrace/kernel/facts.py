"""What the programs must be told about the running kernel, found by asking it.

Nothing here compares version numbers: offsets come from where `iotrace.offsets` finds them, tracepoint fields from
tracefs, abilities from probes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Dict, Optional

from iotrace.errors import Failure
from iotrace.kernel import offsets, uring
from iotrace.kernel.casts import typed_reads
from programs.facts.kernel import FIELDS, REGISTERS, TYPED_MEMBERS, Kernel
from pybpf import features
from pybpf.types.tracefs import Tracefs, TracefsError

MAX_DIRECT_SLOTS = 32768
SHARED_SLOTS = 16384
SPARES = 3


@dataclass(frozen=True)
class Facts:
    """The kernel as the programs need it, and what this says about the maps."""

    kernel: Kernel
    preallocate: bool  # maps must take all their memory at once
    offsets_from: str


def machine() -> str:
    """This machine's name. Raises Failure on one that is not supported."""
    name = os.uname().machine
    if name not in REGISTERS:
        raise Failure(f"this is a {name} machine; iotrace knows {' and '.join(REGISTERS)}")
    return name


def tracepoint_fields(tracefs: Tracefs) -> Dict[str, int]:
    """The offset of everything in FIELDS. Raises Failure if a tracepoint is missing or has an unknown shape."""
    found = {}
    for key, (category, event, field) in FIELDS.items():
        try:
            shape = tracefs.format(category, event)
        except TracefsError as error:
            raise Failure(
                f"this kernel has no tracepoint {category}:{event}: it needs CONFIG_FTRACE_SYSCALLS ({error})"
            ) from error
        if field not in shape.fields:
            raise Failure(f"the tracepoint {category}:{event} has no field {field} on this kernel")
        found[key] = shape.fields[field].offset
    return found


def pid_max() -> int:
    """One more than the largest thread id."""
    try:
        with open("/proc/sys/kernel/pid_max", encoding="ascii") as source:
            return int(source.read())
    except (OSError, ValueError):
        return 1 << 22


def gather(tracefs: Optional[Tracefs], source: str = "auto", vmlinux: Optional[str] = None) -> Facts:
    """All facts; tracepoint fields only with a tracefs, that is for the perf form.

    `source` and `vmlinux` say where offsets come from, as in `offsets.find`. Raises Failure, UserError.
    """
    name = machine()
    btf = offsets.kernel_types() if features.FEATURES["kernel_btf"].supported() else None
    found = offsets.find(name, source, vmlinux, tracefs, btf)
    members, one_reference = found.for_programs(name)
    fetch_atomics = features.FEATURES["fetch_atomics"].supported()
    direct = pid_max() <= MAX_DIRECT_SLOTS
    types = typed_reads(btf) if btf is not None and found.source == offsets.BTF else {}
    if types and btf is not None:
        members.update({key: btf.offsets(names)[names[0]].offset for key, names in TYPED_MEMBERS.items()})
    kernel = Kernel(
        machine=name,
        offsets=members,
        fields=tracepoint_fields(tracefs) if tracefs else {},
        one_reference=one_reference,
        fetch_atomics=fetch_atomics,
        big_values=features.FEATURES["map_value_arguments"].supported(),
        ring_buffer=features.FEATURES["ring_buffer"].supported(),
        tid_slots=MAX_DIRECT_SLOTS if direct else SHARED_SLOTS if fetch_atomics else 0,
        tid_direct=direct,
        spares=SPARES if features.FEATURES["preempted_programs"].supported() else 0,
        types=types,
        loops=features.FEATURES["loops"].supported(),
        back_jumps=_has_back_jumps(),
        uring=uring.find(btf) if btf is not None else None,
    )
    return Facts(kernel, preallocate=not features.FEATURES["atomic_allocation"].supported(), offsets_from=found.source)


def _has_back_jumps() -> bool:
    """Whether a program may loop, and the verifier follow it far enough: some kernels allow 131,072 steps alone."""
    return all(features.FEATURES[name].supported() for name in ("bounded_loops", "large_programs"))
