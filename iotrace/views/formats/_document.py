"""The objects of the JSON document, schema iotrace/1: a contract, so keys are added and never renamed."""

from __future__ import annotations

from typing import Dict

from iotrace.profile.metrics import FILE, HEADER, SYSCALL, FileStats, Header, SyscallStats
from programs.facts.catalogue import WITHOUT_DATA

SCHEMA = "iotrace/1"

_OF_CALLS = [metric for metric in SYSCALL if metric.in_document]
_WITHOUT_DATA = [metric for metric in _OF_CALLS if not metric.of_transfers]
_KINDS = {metric.name: metric.kind for metric in FILE}


def header_object(header: Header) -> Dict[str, object]:
    """The document's keys before `files`."""
    return {"schema": SCHEMA, **{metric.name: metric.kind.dumped(getattr(header, metric.name)) for metric in HEADER}}


def syscall_object(name: str, call: SyscallStats) -> Dict[str, object]:
    """One system call; those that move no data have neither bytes nor sizes."""
    metrics = _WITHOUT_DATA if name in WITHOUT_DATA else _OF_CALLS
    return {metric.name: metric.kind.dumped(getattr(call, metric.name)) for metric in metrics}


def file_object(file: FileStats) -> Dict[str, object]:
    """One element of the document's `files`."""
    found: Dict[str, object] = {}
    for name, value in vars(file).items():  # in the order of the fields
        found[name] = _KINDS[name].dumped(value) if name in _KINDS else value
    found["syscalls"] = {name: syscall_object(name, call) for name, call in sorted(file.syscalls.items())}
    return found
