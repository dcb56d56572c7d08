"""Whom a run traces: the map of targets as this side fills it.

From then on the programs keep that map up to date: they see children, changes of name and the ends of processes.
Here processes become targets that were chosen by number, that run already, or that are the command of the run.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Iterator, List, Set, Tuple

from iotrace.errors import Failure
from iotrace.tracing import processes
from iotrace.tracing.loader import Loaded
from iotrace.tracing.numbers import Numbers
from iotrace.tracing.settings import Settings
from programs.facts import maps
from programs.facts.catalogue import Kind
from programs.facts.records import (
    ARGUMENT_WORDS,
    COMM_SEEN,
    TARGET_COMM,
    TARGET_DESCENT,
    TARGET_FOLLOW,
    TARGET_NONE,
    TARGET_PID,
    Call,
    CommWords,
    Target,
)
from programs.facts.signatures import KIND_MASK
from programs.way import patterns
from pybpf.maps import Array
from pybpf.syscalls import BpfError

_GENERATIONS = 1 << 20


class Targets:
    """The targets of one run. Every method raises BpfError, and Failure where there is no room for a process."""

    def __init__(self, loaded: Loaded, settings: Settings) -> None:
        self._loaded = loaded
        self._maps = loaded.maps
        self._settings = settings
        self._numbers = Numbers(loaded)
        self._all_stacks = False
        self._matched: Set[bytes] = set()  # globs of names, by processes that ran already

    def prepare(self) -> None:
        """Before anything is attached: where everything is traced, or a cgroup, leave this process out."""
        self._numbers.settle()
        self.exempt(os.getpid())

    def exempt(self, pid: int) -> None:
        """Leave a process of ours out where everything is traced, or a cgroup: this one, or one that asks for files."""
        if self._settings.everything or self._settings.cgroups:
            self._set(pid, TARGET_PID if self._settings.everything else TARGET_NONE)

    def begin(self) -> None:
        """Once the programs are attached, and before they count: where everything is traced, or a cgroup, note who
        waits."""
        settings = self._settings
        for pid in processes.names() if settings.everything else processes.in_cgroups(settings.cgroups):
            self._note_reapers(pid)

    def add(self, pid: int, *, follow: bool) -> None:
        """Make a process a target, with its descendants from now on if `follow`.

        Where everything is traced it is one already: what the map lists then is left out.
        """
        if self._settings.everything:
            return
        self._add(pid, TARGET_PID | (TARGET_FOLLOW if follow else 0))
        self._new_generation()

    def add_running(self) -> int:
        """Make those targets that run already and match by name, and the descendants of all that were chosen.

        Returns how many matched. Call it once the programs are attached, so that none is missed.
        """
        settings, found = self._settings, 0
        if settings.everything:
            return found
        follow = TARGET_FOLLOW if settings.follow else 0
        roots = list(settings.pids)
        for pid in processes.names() if settings.comms else ():
            name = processes.comm(pid)
            if name is not None and pid != os.getpid() and patterns.matches(settings.comms, name):
                self._add(pid, TARGET_COMM | follow)
                self._matched.update(glob for glob in settings.comms if patterns.matches([glob], name))
                roots.append(pid)
                found += 1
        if follow and roots:
            for pid in processes.descendants(roots):
                self._add(pid, TARGET_DESCENT | TARGET_FOLLOW)
        self._not_ourselves()
        self._new_generation()
        return found

    def descendants(self) -> List[int]:
        """The targets by descent that live: programs take out whoever ends."""
        found = self._descendants()
        return sorted(self._numbers.back(found, processes.names()).values()) if found else []

    def has_descendants(self) -> bool:
        """Whether there are any."""
        return bool(self._descendants())

    def count(self) -> int:
        """How many processes are traced now."""
        settings = self._settings
        if settings.everything:
            return sum(1 for pid in processes.names() if pid != os.getpid())
        listed = self._flagged(~TARGET_NONE)
        if not settings.cgroups:
            return len(listed)
        members = {pid for pid in processes.in_cgroups(settings.cgroups) if pid != os.getpid()}
        return len(members.union(self._numbers.back(listed, processes.names()).values()))

    def _descendants(self) -> List[int]:
        """Their numbers as the programs have them."""
        if self._settings.everything:
            return []
        return self._flagged(TARGET_DESCENT)

    def _flagged(self, mask: int) -> List[int]:
        """The targets that have one of these flags, by their numbers as the programs have them."""
        found = self._maps["targets"].items()
        return [int.from_bytes(key, "little") for key, value in found if Target.unpack(value)["flags"] & mask]

    def _not_ourselves(self) -> None:
        """Where numbers are asked for, a thread of ours may have changed its name, and so matched by it."""
        own = self._numbers.of(os.getpid())
        if self._loaded.kernel.pids is not None and own is not None and os.getpid() not in self._settings.pids:
            with suppress(BpfError):
                self._maps["targets"].delete(own.to_bytes(4, "little"))
            self.exempt(os.getpid())

    def unmatched(self) -> List[bytes]:
        """The globs of names that no process has matched so far."""
        if self._settings.everything or not self._settings.comms:
            return []
        seen = CommWords.unpack(self._maps["comm"].lookup(COMM_SEEN.to_bytes(4, "little")) or b"")["words"]
        globs = zip(self._settings.comms, patterns.accepting(self._settings.comms))
        return [glob for glob, (word, bit) in globs if glob not in self._matched and not seen[word] >> bit & 1]

    def _add(self, pid: int, flags: int) -> None:
        """Make a process that may run already a target. What its threads note is their own once it is one."""
        number = self._numbers.of(pid)
        if number is not None and self._maps["targets"].lookup(number.to_bytes(4, "little")) is None:
            self._note_reapers(pid)
        self._set(pid, flags)

    def _set(self, pid: int, flags: int) -> None:
        number = self._numbers.of(pid)
        if number is None:
            return  # it has gone
        try:
            self._maps["targets"].update(number.to_bytes(4, "little"), Target.pack(flags=flags))
        except BpfError as error:
            if error.errno == errno.E2BIG:
                raise Failure(f"more than {maps.TARGETS} processes to trace at once") from error
            raise

    def _new_generation(self) -> None:
        """Have every thread look again whether it is a target's: to be called after the targets were changed.

        Programs count on at the same time, one by one: a step that is larger than all they can count between the two
        calls leaves a number that was never there before.
        """
        counter = Array.of(self._maps["generation"])
        generation = int.from_bytes(counter.at(0), "little")
        counter.set(0, (generation + _GENERATIONS).to_bytes(8, "little"))

    # -- waits for completions that began before the tracing ----------------------------------------------------------

    def _note_reapers(self, pid: int) -> None:
        """Note the waits for completions of Linux AIO that a process is in, before its calls are traced.

        Where they have no entry they count when they return.
        """
        if self._settings.light:
            return
        where = self._maps["slots" if self._loaded.kernel.tid_direct else "calls"]
        for tid, record in self._reapers(pid):
            where.update(tid.to_bytes(4, "little"), record.ljust(where.value_size, b"\0"))
            self._mark_stacks()

    def _reapers(self, pid: int) -> Iterator[Tuple[int, bytes]]:
        """The threads of a process that wait for completions: the programs' number for each, and the Call record as if
        the entry of the call had been seen. Their wait may end with requests that are submitted once tracing has
        begun."""
        kernel, syscalls = self._loaded.kernel, self._loaded.plan.form.syscalls
        for tid, number, arguments in processes.under_way(pid):
            descriptor = syscalls.get(number, 0)
            if descriptor & KIND_MASK == Kind.AIO_REAP:
                words = [0] * ARGUMENT_WORDS
                for place, value in enumerate(arguments):
                    words[kernel.argument(place)] = value
                process, thread = self._numbers.of(pid), self._numbers.of(pid, tid)
                if process is not None and thread is not None:
                    yield thread, Call.pack(owner=thread, process=process, call=descriptor, args=words)

    def _mark_stacks(self) -> None:
        """Have no exit turned away by its stack: calls that were noted from /proc have no known stack, so all are
        marked."""
        stacks = self._maps.get("stacks")
        if stacks is not None and not self._all_stacks:
            for row in range(maps.STACKS):
                stacks.update(row.to_bytes(4, "little"), (1).to_bytes(8, "little"))
            self._all_stacks = True
