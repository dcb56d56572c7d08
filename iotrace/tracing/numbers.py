"""The numbers that the programs have for processes: those of the initial PID namespace.

Where iotrace is in another one, a process has other numbers here. Its directory in proc leads to the process itself,
also if its number is given to another one meanwhile, and the kernel's side is asked what number that one has.
"""

from __future__ import annotations

import os
import struct
import threading
from contextlib import suppress
from typing import Dict, Iterable, NamedTuple, Optional

from iotrace.errors import Failure
from iotrace.kernel import procfs
from iotrace.tracing.loader import Loaded
from programs.facts.records import COMM_BYTES, Home, Numbering
from pybpf.maps import Array
from pybpf.syscalls import rename_thread

_ATTEMPTS = 5  # the kernel skips a program while another one runs on that CPU


class Number(NamedTuple):
    """A process's number in the initial PID namespace; the namespace that it is in, and how far that is below."""

    number: int
    level: int
    namespace: int


class Numbers:
    """Asks for numbers. Every method raises BpfError, and Failure where there is no answer."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._same = loaded.kernel.pids is None

    def of(self, pid: int, tid: Optional[int] = None) -> Optional[int]:
        """The programs' number for a process of this PID namespace, or for a thread of it; None if that has gone."""
        if self._same:
            return pid if tid is None else tid
        found = self._ask(f"{pid}" if tid is None else f"{pid}/task/{tid}")
        return None if found is None else found.number

    def back(self, numbers: Iterable[int], pids: Iterable[int]) -> Dict[int, int]:
        """Which of `pids` have one of these numbers of the programs: those by these."""
        if self._same:
            return {number: number for number in numbers}
        here = {self.of(pid): pid for pid in pids}
        return {number: here[number] for number in numbers if number in here}

    def settle(self) -> None:
        """Tell the programs which namespace iotrace is in: then they can tell who else is."""
        pids, home = self._loaded.kernel.pids, self._loaded.maps.get("home")
        if pids is None or home is None:
            return
        own = self._ask(str(os.getpid()))
        assert own is not None
        place = pids.namespace + own.level * pids.stride
        Array.of(home).set(0, Home.pack(namespace=own.namespace, level=own.level, place=place))

    def _ask(self, directory: str) -> Optional[Number]:
        try:
            descriptor = procfs.open_path(directory, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return None
        try:
            return self._answer(descriptor)
        finally:
            os.close(descriptor)

    def _answer(self, descriptor: int) -> Number:
        asked, program = Array.of(self._loaded.maps["numbering"]), self._loaded.numbers
        assert program is not None
        asked.set(0, Numbering.pack(descriptor=descriptor))
        if program.run():
            return _number(asked)
        before = _thread_name()
        # As long as a name can be: some kernels (6.1) do not clear what is behind the end of a shorter one.
        name = os.urandom(COMM_BYTES // 2).hex().encode()[: COMM_BYTES - 1]
        rename_thread(name)
        try:
            for _attempt in range(_ATTEMPTS):
                asked.set(0, Numbering.pack(name=struct.unpack("<2Q", name + b"\0"), descriptor=descriptor))
                rename_thread(name)  # the event comes before the new name
                if Numbering.struct.unpack(asked.at(0))[Numbering.answered.index]:
                    break
        finally:
            rename_thread(before)
        return _number(asked)


def _number(asked: Array) -> Number:
    row = Numbering.struct.unpack(asked.at(0))
    if not row[Numbering.answered.index]:
        raise Failure(
            "iotrace is in a PID namespace of its own, and the kernel does not tell which processes are there"
        )
    return Number(*(row[place.index] for place in (Numbering.number, Numbering.level, Numbering.namespace)))


def _thread_name() -> bytes:
    with suppress(OSError):
        return procfs.read(f"{os.getpid()}/task/{threading.get_native_id()}/comm").rstrip(b"\n")
    return b"iotrace"
