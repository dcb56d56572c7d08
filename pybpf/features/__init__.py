"""What the running kernel can do, found out by trying and never by its version: distributions port features back.

A probe has three answers: the kernel has the feature, it has not, or the probe could not decide (then `error` says why:
a missing privilege, for instance). Only conclusive answers are kept. Every feature names the kernel that brought it.
That version never decides anything on this kernel: it is for messages, for tests, and for `pretend`, which hides what
a given kernel would not have had.

    if FEATURES["ring_buffer"].supported(): ...
    map_type(MapType.LRU_HASH).state

Probes prefer what costs the kernel least: a descriptor that cannot be one (EBADF where the command is known, EINVAL
where it is not), or a program of two instructions.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from pybpf.features.feature import Feature, State, Version, feature, pretend, pretended
from pybpf.features.probes import FEATURES

if TYPE_CHECKING:
    from pybpf.features.kinds import helper, map_type, program_type
    from pybpf.features.security import lockdown

__all__ = [
    "FEATURES",
    "Feature",
    "State",
    "Version",
    "feature",
    "helper",
    "lockdown",
    "map_type",
    "pretend",
    "pretended",
    "program_type",
]

_LATE = {
    "helper": "pybpf.features.kinds",
    "map_type": "pybpf.features.kinds",
    "program_type": "pybpf.features.kinds",
    "lockdown": "pybpf.features.security",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LATE[name]), name)
    globals()[name] = value
    return value
