"""Where the kernel keeps the numbers of processes: needed where iotrace is not in the initial PID namespace."""

from __future__ import annotations

from typing import Mapping, Optional

from iotrace.errors import Failure, words
from iotrace.kernel.offsets import PID_CHAIN, Offsets
from programs.facts.kernel import Pids
from programs.facts.members import PID_MEMBERS
from pybpf.types.tracefs import Tracefs, TracefsError

_POINTER = 8
_LINK = 16  # bytes of a struct hlist_node


def find(known: Offsets, tracefs: Optional[Tracefs]) -> Pids:
    """From `known` offsets, or if they are not among these from the kernel's memory. Raises Failure.

    Looking there goes through perf tracepoints with a `tracefs`. It takes that iotrace is not in the initial namespace,
    in which a process has no other numbers.
    """
    found = from_members(known.members)
    if found is not None:
        return found
    from pybpf.calibration.calibrate import CalibrationError, calibrate_numbers  # noqa: PLC0415 - most kernels have BTF

    try:
        return Pids(**calibrate_numbers(tracefs))
    except (CalibrationError, OSError, TracefsError) as error:
        raise Failure(
            f"iotrace is in a PID namespace of its own, and where this kernel keeps the numbers of processes could not "
            f"be made out: {words(error)}; run it outside of the container"
        ) from error


def from_members(members: Mapping[str, int]) -> Optional[Pids]:
    """From offsets by dotted members; None if one is missing."""
    offsets = {}
    for key, alternatives in PID_MEMBERS.items():
        there = [name for name in alternatives if name in members]
        if not there:
            return None
        offsets[key] = members[there[0]]
        if there[0] == "task_struct.pids":  # struct pid_link: a link, and the pointer; the first is the thread's own
            offsets[key] += _LINK
    return Pids(
        proc_pid=offsets["proc.pid"] - offsets["proc.inode"],
        level=offsets["pid.level"],
        number=offsets["pid.numbers"] + offsets["upid.nr"],
        namespace=offsets["pid.numbers"] + offsets["upid.ns"],
        stride=members[PID_CHAIN] + _LINK if PID_CHAIN in members else offsets["upid.ns"] + _POINTER,
        thread_pid=offsets["task.thread_pid"],
    )
