"""The objects of the JSON document, schema iotrace/1. It is a contract: keys are added, never renamed."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence, Tuple

from iotrace.profile.metrics import FILE, HEADER, SYSCALL, FileStats, Header, Metric, SyscallStats
from programs.facts.catalogue import WITHOUT_DATA

SCHEMA = "iotrace/1"
START = b'{"schema": "iotrace/'
"""What the header begins with, in this version and in every other one."""

Dump = Callable[[Any], Any]


def _converted(metrics: Sequence[Metric]) -> List[Tuple[str, Dump]]:
    """The metrics whose values have to be converted for JSON, and the conversions."""
    return [(metric.name, metric.kind.dump) for metric in metrics if metric.kind.dump is not None]


_IN_DOCUMENT = [metric for metric in SYSCALL if metric.in_document]
_OF_CALL, _OF_CALL_WITHOUT_DATA = (
    ([metric.name for metric in metrics], _converted(metrics))
    for metrics in (_IN_DOCUMENT, [metric for metric in _IN_DOCUMENT if not metric.of_transfers])
)
_OF_FILE = _converted(FILE)


def header_object(header: Header) -> Dict[str, object]:
    """The keys of the document before `files`."""
    return {"schema": SCHEMA, **{metric.name: metric.kind.dumped(getattr(header, metric.name)) for metric in HEADER}}


def syscall_object(syscall: str, call: SyscallStats) -> Dict[str, object]:
    """An entry of `syscalls`. System calls that move no data have neither bytes nor sizes."""
    names, converted = _OF_CALL_WITHOUT_DATA if syscall in WITHOUT_DATA else _OF_CALL
    values = vars(call)
    found = {name: values[name] for name in names}
    for name, dump in converted:
        found[name] = dump(found[name])
    return found


def file_object(file: FileStats) -> Dict[str, object]:
    """An element of `files`."""
    found = dict(vars(file))  # in the order of the fields
    for name, dump in _OF_FILE:
        found[name] = dump(found[name])
    found["syscalls"] = {name: syscall_object(name, call) for name, call in sorted(file.syscalls.items())}
    return found
