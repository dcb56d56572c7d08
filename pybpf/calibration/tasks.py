"""Tasks: what the kernel holds of threads, what they share, and how it counts them."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Dict, List, Tuple

from pybpf import syscalls
from pybpf.calibration import specimens
from pybpf.calibration.peek import PART, Task
from pybpf.calibration.search import Block, CalibrationError, Search, apart, places, pointers
from pybpf.calibration.specimens import CLONE_FILES, CLONE_FS, CLONE_NEWNS, Orphan, Sleepers, SpecimenError

__all__ = ["Tasks"]

_LEADER = "task_struct.group_leader"
_TASK_BYTES = 16384  # as much of a task_struct as is looked at
_FILES_BYTES, _SIGNAL_BYTES, _PROXY_BYTES, _NAMESPACE_BYTES = 1024, 2048, 128, 512


class Tasks:
    """The task_structs of the calling thread (`mine`), of threads that share everything with their process (`others`),
    and of two threads of the orphan: the first, which is a zombie, and one that lives (`of_orphan`).

    `may_be_files`, `may_be_fs` and `may_be_nsproxy` are the offsets that `leave` has found for these members.
    """

    def __init__(self, search: Search, orphan: Orphan, sleepers: Sleepers) -> None:
        """Read them, and find their names. Raises CalibrationError, PeekError."""
        self.search, self.orphan = search, orphan
        self.me = search.peek.current()
        named: List[Tuple[Task, bytes]] = [(self.me, search.peek.name), *sleepers.tasks]
        known = [orphan.first, orphan.other, *(task.address for task, _name in named)]
        self.bytes = min(_TASK_BYTES, apart(known))
        self.zombie, self.of_orphan, *blocks = (self._read(address) for address in known)
        self.mine, *self.others = blocks
        self._numbered = list(zip(blocks, [task.tid for task, _name in named]))
        wherever = [
            {match.start() for match in re.finditer(re.escape(name + b"\0"), block.data)}
            for block, (_task, name) in zip(blocks, named)
        ]
        search.found("task_struct.comm", set.intersection(*wherever))

    def _read(self, address: int) -> Block:
        return self.search.read(address, self.bytes)

    def leave(self) -> None:
        """Part from the other threads, one thing after the other, and see which pointers that changes."""
        self._threads_before = len(specimens.threads())
        states = [self._read(self.me.address)]
        self._mount_namespaces = [_inode("/proc/thread-self/ns/mnt")]
        for flag in (CLONE_FILES, CLONE_FS, CLONE_NEWNS):
            syscalls.unshare(flag)
            states.append(self._read(self.me.address))
        self._mount_namespaces.append(_inode("/proc/thread-self/ns/mnt"))
        self.may_be_files = self._left(states[0], states[1])
        self.may_be_fs = self._left(states[1], states[2])
        self.may_be_nsproxy = self._left(states[2], states[3])
        self.mine = states[3]

    def _left(self, before: Block, after: Block) -> List[int]:
        """Where a pointer that all threads had in common is another one in this thread now."""
        return [
            offset
            for offset in pointers([before, after])
            if before.word(offset) != after.word(offset)
            and all(other.word(offset) == before.word(offset) for other in self.others)
        ]

    def find_namespaces(self) -> None:
        """Mount namespaces, by their numbers: the one that we were in and our own, which `spaces` are."""
        search, chains = self.search, []
        for nsproxy in self.may_be_nsproxy:
            proxies = search.objects([task.word(nsproxy) for task in (self.others[0], self.mine)], _PROXY_BYTES)
            for namespace in pointers(proxies):
                spaces = search.objects([proxy.word(namespace) for proxy in proxies], _NAMESPACE_BYTES)
                chains += [(nsproxy, namespace, inum) for inum in places(zip(spaces, self._mount_namespaces), 4)]
        if len(chains) != 1:
            raise CalibrationError("mnt_namespace.ns.inum", f"found in {len(chains)} places, not one")
        members = ("task_struct.nsproxy", "nsproxy.mnt_ns", "mnt_namespace.ns.inum")
        for member, offset in zip(members, chains[0]):
            search.found(member, [offset])
        self.spaces = [
            proxy.word(search.members["nsproxy.mnt_ns"])
            for proxy in search.follow((self.others[0], self.mine), "task_struct.nsproxy", _PROXY_BYTES)
        ]

    def find_counts(self) -> None:
        """What counts threads: those that share a table of descriptors, and those of a process that are alive."""
        search, zombie, orphan = self.search, self.zombie, self.of_orphan
        groups: Dict[int, List[Tuple[Block, int]]] = {
            offset: []
            for offset in pointers([zombie, orphan, self.mine])
            if zombie.word(offset) == orphan.word(offset) != self.mine.word(offset)
            and all(other.word(offset) == self.mine.word(offset) for other in self.others)
        }
        users: List[Tuple[Block, int]] = []

        def look(more: int) -> None:
            tasks = (self.mine, orphan, self.others[0])
            counts = (1 + more, self.orphan.count, self._threads_before - 1)
            users.extend(zip(search.follow(tasks, "task_struct.files", _FILES_BYTES), counts))
            counts = (len(specimens.threads()), self.orphan.count, 0)
            for at, samples in groups.items():
                samples.extend(zip(search.objects([task.word(at) for task in tasks[:2]], _SIGNAL_BYTES), counts))

        look(0)
        with Sleepers(search.peek, [b"more", b"and more"]):
            look(2)
        with contextlib.suppress(syscalls.BpfError), self.orphan.one_about_to_end():
            look(0)
        search.found("files_struct.count", places(users, 4))
        live = {at: places(samples, 4) for at, samples in groups.items()}
        search.found("task_struct.signal", [at for at, offsets in live.items() if offsets])
        search.found("signal_struct.live", live[search.members["task_struct.signal"]])

    def find_leader(self) -> Dict[str, str]:
        """What leads to a process's first thread, which in a thread's case is another one; why, if it is not found.

        A thread may have other pointers to the first one, whom it has woken last, say. In all threads of this process
        none of those has the same value by chance.
        """
        samples = [(self.zombie, self.zombie.address), (self.of_orphan, self.zombie.address)]
        ours = [self.mine, *self.others]
        try:
            self.search.found(_LEADER, [at for at in places(samples, 8) if len({b.word(at) for b in ours}) == 1])
        except CalibrationError as error:
            return {_LEADER: str(error)}
        return {}

    def find_number(self) -> None:
        """A thread's number: an exec by other than the first thread changes it, and nothing else that counts tasks."""
        peek = self.search.peek
        peek.arm(0, min(PART, self.bytes))
        self.orphan.replace()
        answer = peek.fetch()
        if answer is None:
            raise SpecimenError("a thread cannot run a program")
        block = Block(answer.task.address, answer.data)
        self.search.found("task_struct.pid", places([*self._numbered, (block, answer.task.tid)], 4))


def _inode(path: str) -> int:
    return os.stat(path).st_ino
