"""iotrace's BPF programs, as data: functions that emit instructions, the same everywhere for the same kernel facts.

The way of a system call through this package::

    way/enter     the entry: whom, which call, the thread's Call record
    way/exit      the exit: the Call record, and on by the kind of the call
    files/        which file, and its path, once
    calls/        what a call of this kind adds; requests/ for those that complete later
    counting/     the counters

`README.md` has the picture: programs, tail calls, maps, registers, words. Names are imported when first asked for, as a
run whose programs were assembled before needs few of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from programs.build import ProgramSet
    from programs.facts.hooks import Hook
    from programs.facts.kernel import Kernel, Options, Uring
    from programs.facts.maps import Maps, declare

__all__ = ["Hook", "Kernel", "Maps", "Options", "ProgramSet", "Uring", "declare"]

_HOME = {
    "Hook": "facts.hooks",
    "Kernel": "facts.kernel",
    "Maps": "facts.maps",
    "Options": "facts.kernel",
    "ProgramSet": "build",
    "Uring": "facts.kernel",
    "declare": "facts.maps",
}

if not TYPE_CHECKING:  # or any name would pass for one of ours

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"programs.{_HOME[name]}"), name)
        globals()[name] = value
        return value
