"""What the programs must know about the running kernel, found by probing it.

Nothing here compares version numbers: offsets come from where `kernel.offsets` finds them, tracepoint fields from
tracefs, abilities from the probes that `kernel.quirks` names.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Dict, Optional

from iotrace.errors import Failure
from iotrace.kernel import offsets, pids, procfs, quirks, uring
from programs.facts.abi import REGISTERS
from programs.facts.kernel import Kernel
from programs.facts.members import CACHE_FIELD, CACHE_MEMBERS, CAST, FIELDS, TYPED, TYPED_MEMBERS, TYPED_OPTIONAL
from pybpf.features import FEATURES, pretended
from pybpf.types.btf import Btf, MissingMember
from pybpf.types.tracefs import Tracefs, TracefsError

MAX_DIRECT_SLOTS = 32768
SHARED_SLOTS = 16384
CREATED_SINCE = (4, 19)  # FMODE_CREATED, which an older kernel that is pretended has not


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
    category, event, field = CACHE_FIELD
    with suppress(TracefsError, KeyError):  # kernels that bring in one page at a time do not have it
        found[f"page_cache.{field}"] = tracefs.format(category, event).fields[field].offset
    return found


def _page_cache(btf: Btf) -> Dict[str, int]:
    """The offsets of CACHE_MEMBERS that this kernel has; none of them if it has folios of sizes that nobody sees."""
    places = btf.offsets([], optional=[member for members in CACHE_MEMBERS.values() for member in members])
    found = {key: [places[name].offset for name in names if name in places] for key, names in CACHE_MEMBERS.items()}
    if "folio.mapping" in places and not (found["folio.head"] and found["folio.order"]):
        return {}
    return {key: known[0] for key, known in found.items() if known}


def pid_max() -> int:
    """One more than the largest thread id in this PID namespace: since 6.14 each has a limit of its own (7863dcc72d0f,
    "pid: allow pid_max to be set per pid namespace")."""
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
    btf = offsets.kernel_types() if FEATURES["kernel_btf"].supported() else None
    found = offsets.find(name, source, vmlinux, tracefs, btf)
    members, one_reference = found.for_programs(name)
    types = _typed_reads(btf) if btf is not None and found.source == offsets.BTF else {}
    if types and btf is not None:
        members.update({key: btf.offsets(names)[names[0]].offset for key, names in TYPED_MEMBERS.items()})
    if btf is not None and found.source == offsets.BTF:
        members.update(_page_cache(btf))
    abilities = quirks.facts()
    initial = procfs.is_initial()
    direct = initial and pid_max() <= MAX_DIRECT_SLOTS
    kernel = Kernel(
        machine=name,
        offsets=members,
        fields=tracepoint_fields(tracefs) if tracefs else {},
        one_reference=one_reference,
        tid_slots=MAX_DIRECT_SLOTS if direct else SHARED_SLOTS if abilities["fetch_atomics"] else 0,
        tid_direct=direct,
        types=types,
        page_bits=os.sysconf("SC_PAGE_SIZE").bit_length() - 1,
        shows_created=found.shows_created and (pretended() or CREATED_SINCE) >= CREATED_SINCE,
        uring=uring.find(btf) if btf is not None else None,
        pids=None if initial else pids.find(found, tracefs),
        **abilities,
    )
    return Facts(kernel, preallocate=not FEATURES["atomic_allocation"].supported(), offsets_from=found.source)


def _typed_reads(btf: Btf) -> Dict[str, int]:
    """The BTF ids that plain loads from kernel memory take: of the cast and of the structs in TYPED; empty where
    programs may not use them."""
    if not FEATURES["typed_reads"].supported():
        return {}
    try:
        types = {name: btf.type_id("struct", name) for name in TYPED}
        types[CAST] = btf.type_id("func", CAST)
    except MissingMember:
        return {}
    for name in TYPED_OPTIONAL:
        with suppress(MissingMember):
            types[name] = btf.type_id("struct", name)
    return types
