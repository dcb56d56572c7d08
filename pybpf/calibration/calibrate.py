"""Where the members of kernel structs lie, found on the running kernel without BTF, headers or debug information.

A thread of ours looks at kernel objects of its own through `peek` and searches them for what it knows anyway: its
number, the position of an open file, an inode's number, the name of a directory. Each member is looked for in
several objects, and in different states of them, at once: only where all hold what they should is the member, and if
that is nowhere, or in two places, then CalibrationError names it. Nothing is guessed, so randomised layouts and
kernels that nobody has seen do not matter.

What is taken for granted is C: alignment, little-endian integers, and that a name's length lies behind its hash
(struct qstr).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import threading
from typing import Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from pybpf import syscalls
from pybpf.calibration import specimens
from pybpf.calibration.peek import Peek, PeekError, Task
from pybpf.calibration.renamer import image
from pybpf.calibration.search import Block, CalibrationError, Search, apart, is_pointer, places, pointers
from pybpf.calibration.specimens import (
    CLONE_FILES,
    CLONE_FS,
    CLONE_NEWNS,
    Laboratory,
    Orphan,
    Sleepers,
    Specimen,
    SpecimenError,
)
from pybpf.types.tracefs import Tracefs

__all__ = ["Calibration", "CalibrationError", "calibrate"]

_ATTEMPTS = 3
_TASK_BYTES, _FILE_BYTES, _INODE_BYTES, _DENTRY_BYTES, _SUPER_BYTES = 16384, 320, 1024, 256, 2048
_FDTABLE_BYTES = 64
_MIN_ROUNDS, _MAX_ROUNDS = 3, 24  # of the programs that show 32-bit tasks
_BEFORE_MOUNT = 256  # bytes that a struct mount may have before its vfsmount
_MNT_NS_INTERNAL = -22 & 0xFFFFFFFFFFFFFFFF  # ERR_PTR(-EINVAL), fs/mount.h: the pipes' mount and its like
_TS_COMPAT, _TIF_32BIT = 0x2, 1 << 22


class Calibration(NamedTuple):
    """Offsets in bytes by dotted members, such as "file.f_path.dentry"; of `file.f_ref` (6.13) and `file.f_count` the
    one that this kernel has. `missing` are members that nothing depends on here, with the reason."""

    members: Dict[str, int]
    missing: Dict[str, str]


def calibrate(tracefs: Optional[Tracefs] = None) -> Calibration:
    """Find all members; through the raw tracepoint, or the perf one of `tracefs`.

    Takes a fraction of a second, CAP_SYS_ADMIN, and file systems that nobody else sees (tmpfs, ramfs); nothing is left
    of it. Raises CalibrationError, BpfError, TracefsError.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _calibrate(tracefs)
        except (CalibrationError, SpecimenError, PeekError) as error:
            # Something else of this process may have changed meanwhile, such as how many threads it has.
            if attempt + 1 == _ATTEMPTS:
                if isinstance(error, CalibrationError):
                    raise
                raise CalibrationError("kernel memory", str(error)) from error
    raise AssertionError("unreachable")


def _calibrate(tracefs: Optional[Tracefs]) -> Calibration:
    anchors = [os.open("/", os.O_RDONLY | os.O_DIRECTORY), *os.pipe2(os.O_CLOEXEC)]
    try:
        with Peek(tracefs) as peek, Orphan(peek) as orphan:
            worker = _Worker(peek, orphan, anchors)
            worker.start()
            worker.end()
    finally:
        for fd in anchors:
            os.close(fd)
    if worker.error is not None:
        raise worker.error
    return Calibration(worker.members, worker.missing)


class _Worker(threading.Thread):
    """The thread that does it all, since it has to leave what it shares with its process."""

    def __init__(self, peek: Peek, orphan: Orphan, anchors: List[int]) -> None:
        super().__init__(daemon=True)
        self._peek = peek
        self._examination = _Examination(peek, orphan, anchors)
        self._tid = 0
        self.members: Dict[str, int] = {}
        self.missing: Dict[str, str] = {}
        self.error: Optional[BaseException] = None

    def run(self) -> None:
        try:
            self._tid = threading.get_native_id()
            self._peek.adopt()
            self._examination.run()
            self.members, self.missing = self._examination.search.members, self._examination.missing
        except BaseException as error:  # raised where it is waited for
            self.error = error

    def end(self) -> None:
        """Wait until the thread is gone from the kernel, and with it all that it has opened and mounted."""
        try:
            self.join()
        finally:  # Ctrl-C waits too: it is a fraction of a second
            self.join()
            specimens.wait_for("the thread does not end", lambda: self._tid not in specimens.threads())


class _Examination:
    """Who is examined, and in which order one thing leads to the next.

    `anchors` are descriptors that were open before anything began: of the root directory and of both ends of a pipe.
    """

    def __init__(self, peek: Peek, orphan: Orphan, anchors: List[int]) -> None:
        self.peek, self.orphan, self.anchors = peek, orphan, anchors
        self.search = Search(peek)
        self.missing: Dict[str, str] = {}

    def run(self) -> None:
        """Find everything. In a thread that ends then, with all that it has mounted and opened."""
        with Sleepers(self.peek, [b"sleeper-1", b"the-second", b"3"]) as sleepers:
            self._tasks(sleepers)
            self._leave()
            self.laboratory = Laboratory()
            self._descriptors(sleepers.tid)
            self._namespaces()
            self._open_files()
            self._file_systems()
            self._names()
            self._mounts()
            self._directories()
            self._threads()
            self._numbers()
            self._tell_32_bit_tasks()

    # -- threads and what they share ------------------------------------------------------------------------------

    def _task(self, address: int) -> Block:
        return self.search.read(address, self.task_bytes)

    def _tasks(self, sleepers: Sleepers) -> None:
        """The threads, and their names."""
        self.me = self.peek.current()
        named: List[Tuple[Task, bytes]] = [(self.me, self.peek.name), *sleepers.tasks]
        known = [self.orphan.first, self.orphan.other, *(task.address for task, _name in named)]
        self.task_bytes = min(_TASK_BYTES, apart(known))
        self.zombie, self.orphan_task, *blocks = (self._task(address) for address in known)
        self.others = blocks[1:]
        self.numbered = list(zip(blocks, [task.tid for task, _name in named]))
        wherever = [
            {match.start() for match in re.finditer(re.escape(name + b"\0"), block.data)}
            for block, (_task, name) in zip(blocks, named)
        ]
        self.search.found("task_struct.comm", set.intersection(*wherever))

    def _leave(self) -> None:
        """Part from the other threads, one thing after the other, and see which pointers that changes."""
        self.threads_before = len(specimens.threads())
        states = [self._task(self.me.address)]
        self.mount_namespaces = [_inode("/proc/thread-self/ns/mnt")]
        for flag in (CLONE_FILES, CLONE_FS, CLONE_NEWNS):
            syscalls.unshare(flag)
            states.append(self._task(self.me.address))
        self.mount_namespaces.append(_inode("/proc/thread-self/ns/mnt"))
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

    def _descriptors(self, other: int) -> None:
        """From a task to its table of descriptors, and the files that are open in it.

        Three tables are compared: the one that the threads share, our own, which has outgrown its first size, and that
        of another process.
        """
        search, laboratory = self.search, self.laboratory
        laboratory.grow_table()
        tasks = (self.mine, self.others[0], self.orphan_task)
        unused = os.dup(self.anchors[0])
        os.close(unused)
        chains, arrays = [], {}
        for files in self.may_be_files:
            tables = search.objects([task.word(files) for task in tasks], 1024)
            for fdt in pointers(tables):
                fdtables = search.objects([table.word(fdt) for table in tables], _FDTABLE_BYTES)
                for fd in pointers(fdtables):
                    chain = (files, fdt, fd)
                    arrays[chain] = [fdtable.word(fd) for fdtable in fdtables]
                    if self._are_ours(arrays[chain], unused):
                        chains.append(chain)
        if len(chains) != 1:
            raise CalibrationError("task_struct.files", f"{len(chains)} ways lead to the files of descriptors, not one")
        for member, offset in zip(("task_struct.files", "files_struct.fdt", "fdtable.fd"), chains[0]):
            search.found(member, [offset])
        self.array = arrays[chains[0]][0]
        fdtables = search.follow(search.follow(tasks, "task_struct.files", 1024), "files_struct.fdt", _FDTABLE_BYTES)
        sizes = [specimens.table_size(tid) for tid in (threading.get_native_id(), other, self.orphan.living)]
        search.found("fdtable.max_fds", places(zip(fdtables, sizes), 4))

    def _file(self, fd: int, array: int = 0) -> int:
        """The address of the open file behind a descriptor."""
        return self.search.read((array or self.array) + 8 * fd, 8).word(0)

    def _files(self, fds: Sequence[int]) -> List[Block]:
        """The open files behind descriptors."""
        return self.search.objects([self._file(fd) for fd in fds], _FILE_BYTES)

    def _are_ours(self, arrays: List[int], unused: int) -> bool:
        """Whether all these arrays of files have the anchors, and the first of them the laboratory's files."""
        own, *others = arrays
        anchors = [self._file(fd, own) for fd in self.anchors]
        if self._file(unused, own):
            return False
        if any([self._file(fd, other) for fd in self.anchors] != anchors for other in others):
            return False
        every = [{self._file(fd, own) for fd in (file.fd, *file.duplicates)} for file in self.laboratory.files]
        files = [file for group in every for file in group]
        return (
            len(files) == len(every)
            and len({*files, *anchors}) == len(files) + len(anchors)
            and all(is_pointer(file) for file in (*files, *anchors))
        )

    def _namespaces(self) -> None:
        """Mount namespaces, by their numbers: the one that we were in and our own."""
        search, chains = self.search, []
        for nsproxy in self.may_be_nsproxy:
            proxies = search.objects([task.word(nsproxy) for task in (self.others[0], self.mine)], 128)
            for namespace in pointers(proxies):
                spaces = search.objects([proxy.word(namespace) for proxy in proxies], 512)
                chains += [(nsproxy, namespace, inum) for inum in places(zip(spaces, self.mount_namespaces), 4)]
        if len(chains) != 1:
            raise CalibrationError("mnt_namespace.ns.inum", f"found in {len(chains)} places, not one")
        members = ("task_struct.nsproxy", "nsproxy.mnt_ns", "mnt_namespace.ns.inum")
        for member, offset in zip(members, chains[0]):
            search.found(member, [offset])
        self.spaces = [
            proxy.word(search.members["nsproxy.mnt_ns"])
            for proxy in search.follow((self.others[0], self.mine), "task_struct.nsproxy", 128)
        ]

    # -- open files and inodes -------------------------------------------------------------------------------------

    def _open_files(self) -> None:
        """What an open file and its inode say of themselves, before and after everything about them has changed."""
        search, laboratory = self.search, self.laboratory
        some = [*laboratory.files, *laboratory.directories]
        blocks = self._files([file.fd for file in some])
        stats = [os.fstat(file.fd) for file in some]

        def are_inodes(targets: List[Block]) -> bool:
            return bool(places(zip(targets, [stat.st_ino for stat in stats]), 8)) and bool(
                places(zip(targets, [stat.st_mode for stat in stats]), 2)
            )

        search.through("file.f_inode", blocks, _INODE_BYTES, are_inodes)
        states = [self._values()]
        laboratory.change(2)
        states.append(self._values())
        for member, size in _OF_FILES.items():
            search.found(member, places([sample for state in states for sample in state[member]], size))
        self._references(states)
        self._generation(states)

    def _values(self) -> Dict[str, List[Tuple[Block, int]]]:
        """For each member of _OF_FILES, every file with the value that it must have there now."""
        found: Dict[str, List[Tuple[Block, int]]] = {member: [] for member in (*_OF_FILES, "references", "handle")}
        specimens = self.laboratory.files
        files = self._files([specimen.fd for specimen in specimens])
        inodes = self.search.follow(files, "file.f_inode", _INODE_BYTES)
        for specimen, file, inode in zip(specimens, files, inodes):
            stat = os.fstat(specimen.fd)
            for member, value in (
                ("file.f_pos", os.lseek(specimen.fd, 0, os.SEEK_CUR)),
                ("file.f_flags", fcntl.fcntl(specimen.fd, fcntl.F_GETFL)),
                ("references", specimen.references),
            ):
                found[member].append((file, value))
            for member, value in (
                ("inode.i_ino", stat.st_ino),
                ("inode.i_mode", stat.st_mode),
                ("inode.i_size", stat.st_size),
                ("inode.i_nlink", stat.st_nlink),
                ("handle", specimen.fd),
            ):
                found[member].append((inode, value))
        return found

    def _references(self, states: Sequence[Dict[str, List[Tuple[Block, int]]]]) -> None:
        """The counter of references: since 6.13 it starts at 0 (90ee6ed776c0 "fs: port files to file_ref")."""
        samples = [sample for state in states for sample in state["references"]]
        counts = places(samples, 8)
        refs = places([(block, count - 1) for block, count in samples], 8)
        if counts and refs:
            raise CalibrationError("file.f_ref", "there are two counters")
        self.search.found("file.f_ref" if refs else "file.f_count", refs or counts)

    def _generation(self, states: Sequence[Dict[str, List[Tuple[Block, int]]]]) -> None:
        """The inode's generation, as handles of files contain it: the word that is not the number and no time."""
        handles = self.laboratory.handles()
        samples: List[Set[int]] = []
        for block, fd in (sample for state in states for sample in state["handle"]):
            stat = os.fstat(fd)
            handle = handles.get(fd, b"")
            words = {handle[at : at + 4] for at in range(0, len(handle) - 3, 4)}
            words -= {bytes(4), *(stat.st_ino.to_bytes(8, "little")[at : at + 4] for at in (0, 4))}
            if words:
                samples.append(
                    {
                        at
                        for at in range(0, len(block.data) - 3, 4)
                        if block.data[at : at + 4] in words and not _is_time(block, at, stat)
                    }
                )
        common = set.intersection(*samples) if samples else set()
        if len(common) == 1:
            self.search.found("inode.i_generation", common)
        else:
            self.missing["inode.i_generation"] = "the file systems at hand do not tell it"

    def _file_systems(self) -> None:
        """Super blocks, of file systems whose numbers and types are known; nobody has mounted that of the pipes."""
        search, laboratory = self.search, self.laboratory
        fds = [laboratory.stages["first"].root, laboratory.stages["second"].root, laboratory.stages["third"].root]
        names = [laboratory.stages[label].filesystem.encode() for label in ("first", "second", "third")]
        fds, names = [*fds, self.anchors[1]], [*names, b"pipefs"]
        devices = [_kernel_device(os.fstat(fd).st_dev) for fd in fds]
        magics = [syscalls.file_system_magic(fd) for fd in fds]
        files = self._files(fds)
        inodes = search.follow(files, "file.f_inode", _INODE_BYTES)

        def are_super_blocks(targets: List[Block]) -> bool:
            return bool(places(zip(targets, devices), 4)) and bool(places(zip(targets, magics), 8))

        search.through("inode.i_sb", inodes, _SUPER_BYTES, are_super_blocks)
        blocks = search.follow(inodes, "inode.i_sb", _SUPER_BYTES)
        search.found("super_block.s_dev", places(zip(blocks, devices), 4))
        search.found("super_block.s_magic", places(zip(blocks, magics), 8))
        search.through(
            "super_block.s_type",
            blocks,
            128,
            lambda types: self._named(types, names),
            among=lambda types: types[0] == types[1] and len(set(types)) == len(set(names)),
        )
        search.found("file_system_type.name", self._named(search.follow(blocks, "super_block.s_type", 128), names))

    def _named(self, targets: Sequence[Block], names: Sequence[bytes]) -> List[int]:
        """The offsets at which objects have pointers to their names."""
        return [
            offset
            for offset in pointers(targets)
            if all(self.search.has_text(target.word(offset), name) for target, name in zip(targets, names))
        ]

    # -- names and mounts ------------------------------------------------------------------------------------------

    def _names(self) -> None:
        """Dentries: names and the directories that they are in."""
        search, laboratory = self.search, self.laboratory
        some = [*laboratory.files, *laboratory.directories]
        names = [file.name for file in some]
        files = self._files([file.fd for file in some])
        search.through("file.f_path.dentry", files, _DENTRY_BYTES, lambda targets: self._named(targets, names))
        samples: List[Tuple[Block, Specimen]] = []
        named = []
        for state in (1, 2):
            if state == 2:
                laboratory.move()
            some = [*laboratory.files, *laboratory.directories]
            dentries = search.follow(files, "file.f_path.dentry", _DENTRY_BYTES)
            named.append(set(self._named(dentries, [file.name for file in some])))
            samples += zip(dentries, some)
        search.found("dentry.d_name.name", set.intersection(*named))
        lengths = places([(block, len(file.name)) for block, file in samples], 4)
        search.found("dentry.d_name.hash_len", [length - 4 for length in lengths if length % 8 == 4])
        parents = [(block, self._dentry(file.parent)) for block, file in samples if file.parent is not None]
        search.found("dentry.d_parent", places(parents, 8))

    def _dentry(self, fd: int) -> int:
        return self._path(fd, "file.f_path.dentry")

    def _path(self, fd: int, member: str) -> int:
        return self.search.read(self._file(fd) + self.search.members[member], 8).word(0)

    def _mounts(self) -> None:
        """Mounts: which files are on the same one, what they cover, and where that lies."""
        search, stages = self.search, self.laboratory.stages
        some = [*self.laboratory.files, *self.laboratory.directories]
        files = self._files([file.fd for file in some])
        labels = [file.mount for file in some]
        search.found(
            "file.f_path.mnt",
            [at for at in pointers(files) if _one_to_one(labels, [block.word(at) for block in files])],
        )
        mounts = {label: self._path(stage.root, "file.f_path.mnt") for label, stage in stages.items()}
        mounts.update({f"anchor {fd}": self._path(fd, "file.f_path.mnt") for fd in self.anchors[:2]})
        size = apart(mounts.values())
        around = {label: search.read(mount - _BEFORE_MOUNT, _BEFORE_MOUNT + size) for label, mount in mounts.items()}
        roots = places([(around[label], self._dentry(stage.root)) for label, stage in stages.items()], 8)
        search.found("vfsmount.mnt_root", [at - _BEFORE_MOUNT for at in roots if at >= _BEFORE_MOUNT])
        inside = self._parents(around, mounts)
        begin = _BEFORE_MOUNT - inside
        covered = places([(around[label], self._dentry(stage.covered)) for label, stage in stages.items()], 8)
        search.found("mount.mnt_mountpoint", [at - begin for at in covered if 0 <= at - begin < size])
        spaces = [*([self.spaces[1]] * len(stages)), self.spaces[0], _MNT_NS_INTERNAL]
        owned = places(zip(around.values(), spaces), 8)
        search.found("mount.mnt_ns", [at - begin for at in owned if 0 <= at - begin < size])

    def _parents(self, around: Dict[str, Block], mounts: Dict[str, int]) -> int:
        """How far a vfsmount lies inside its mount: the parent is named by its beginning, and known by its vfsmount."""
        known = [
            (around[label], mounts[stage.parent]) for label, stage in self.laboratory.stages.items() if stage.parent
        ]
        found = []
        for at in pointers([block for block, _parent in known]):
            distances = {parent - block.word(at) for block, parent in known}
            inside = distances.pop()
            if not distances and 0 <= inside <= _BEFORE_MOUNT and at >= _BEFORE_MOUNT - inside:
                found.append((at, inside))
        if len(found) != 1:
            raise CalibrationError("mount.mnt_parent", f"found in {len(found)} places, not one")
        at, inside = found[0]
        self.search.found("mount.mnt", [inside])
        self.search.found("mount.mnt_parent", [at - _BEFORE_MOUNT + inside])
        return inside

    def _directories(self) -> None:
        """The root and the working directory of a thread: ours goes from one to another."""
        search = self.search
        states: Dict[int, Dict[str, List[Tuple[Block, int]]]] = {at: {} for at in self.may_be_fs}
        for directory, task in (("", self.others[0]), ("a", self.mine), ("two", self.mine)):
            known = {"fs_struct.root": self.anchors[0]}
            if directory:
                os.chdir(f"{self.laboratory.base}/{directory}")
                known = {f"fs_struct.{what}": os.open(where, os.O_RDONLY) for what, where in _DIRECTORIES.items()}
            for at, samples in states.items():
                block = search.read(task.word(at), 128)
                for what, fd in known.items():
                    for part in ("mnt", "dentry"):
                        value = self._path(fd, f"file.f_path.{part}")
                        samples.setdefault(f"{what}.{part}", []).append((block, value))
        found = {at: {member: places(pairs, 8) for member, pairs in samples.items()} for at, samples in states.items()}
        passed = [at for at, members in found.items() if all(members.values())]
        # Newer kernels (7.3) have a `real_fs` too, which differs only while the kernel opens files on its own behalf.
        tasks = [self.mine, self.zombie, self.orphan_task, *self.others]
        alike = len({tuple(task.word(at) for task in tasks) for at in passed}) == 1
        offset = search.found("task_struct.fs", passed[-1:] if alike else passed)
        for member, offsets in found[offset].items():
            search.found(member, offsets)

    # -- how many threads there are --------------------------------------------------------------------------------

    def _threads(self) -> None:
        """What counts threads: those that share a table of descriptors, and those of a process that are alive."""
        search, zombie, orphan = self.search, self.zombie, self.orphan_task
        groups: Dict[int, List[Tuple[Block, int]]] = {
            offset: []
            for offset in pointers([zombie, orphan, self.mine])
            if zombie.word(offset) == orphan.word(offset) != self.mine.word(offset)
            and all(other.word(offset) == self.mine.word(offset) for other in self.others)
        }
        users: List[Tuple[Block, int]] = []

        def look(more: int) -> None:
            tasks = (self.mine, orphan, self.others[0])
            counts = (1 + more, self.orphan.count, self.threads_before - 1)
            users.extend(zip(search.follow(tasks, "task_struct.files", 1024), counts))
            counts = (len(specimens.threads()), self.orphan.count, 0)
            for at, samples in groups.items():
                samples.extend(zip(search.objects([task.word(at) for task in tasks[:2]], 2048), counts))

        look(0)
        with Sleepers(self.peek, [b"more", b"and more"]):
            look(2)
        with contextlib.suppress(syscalls.BpfError), self.orphan.one_about_to_end():
            look(0)
        search.found("files_struct.count", places(users, 4))
        live = {at: places(samples, 4) for at, samples in groups.items()}
        search.found("task_struct.signal", [at for at, offsets in live.items() if offsets])
        search.found("signal_struct.live", live[search.members["task_struct.signal"]])

    def _numbers(self) -> None:
        """A thread's number: an exec by other than the first thread changes it, and nothing else that counts tasks."""
        self.peek.arm(0, min(_PART, self.task_bytes))
        self.orphan.replace()
        answer = self.peek.fetch()
        if answer is None:
            raise SpecimenError("a thread cannot run a program")
        block = Block(answer.task.address, answer.data)
        self.search.found("task_struct.pid", places([*self.numbered, (block, answer.task.tid)], 4))

    # -- 32-bit tasks ----------------------------------------------------------------------------------------------

    def _tell_32_bit_tasks(self) -> None:
        """The bit by which a 32-bit task is told: in one program built for both, whatever else these have in common."""
        machine = os.uname().machine
        member = "task_struct.thread_info." + ("status" if machine == "x86_64" else "flags")
        wide, narrow = [self.mine, *self.others, self.orphan_task], []
        may_be: Set[int] = set()
        for number in range(_MAX_ROUNDS):  # other flags of a task come and go, and may do so as this one does
            try:
                wide.append(self._run(image(machine, 64, self.peek.name)))
                narrow.append(self._run(image(machine, 32, self.peek.name)))
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise CalibrationError(member, f"the program that shows it is refused: {error.strerror}") from error
                self.missing[member] = "this kernel runs no 32-bit programs"
                return
            may_be = self._compat(machine, wide, narrow)
            if len(may_be) <= 1 and number + 1 >= _MIN_ROUNDS:
                break
        self.search.found(member, may_be)

    @staticmethod
    def _compat(machine: str, wide: List[Block], narrow: List[Block]) -> Set[int]:
        if machine == "x86_64":
            size = apart(block.address for block in (*wide, *narrow))
            states = [*((block, _TS_COMPAT) for block in narrow), *((block, 0) for block in wide)]
            return {at for at in places(states, 4) if at < size}
        # thread_info is the first member of task_struct and has the flags first: CONFIG_THREAD_INFO_IN_TASK
        told = [{bool(block.word(0, 4) & _TIF_32BIT) for block in blocks} for blocks in (narrow, wide)]
        return {0} if told == [{True}, {False}] else set()

    def _run(self, program: bytes) -> Block:
        """The task_struct of a program while it renames itself. Raises OSError, CalibrationError."""
        path = f"{self.laboratory.base}/program"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o700)
        os.write(fd, program)
        os.close(fd)
        addresses, data = [], b""
        self.peek.rename(b"starter")  # an exec renames too, and is not what is wanted
        try:
            for part in range(0, self.task_bytes, _PART):
                self.peek.arm(part, min(_PART, self.task_bytes - part))
                os.waitpid(os.posix_spawn(path, [path], {}), 0)
                answer = self.peek.fetch()
                if answer is None:
                    raise SpecimenError("a program does not rename itself")
                addresses.append(answer.task.address)
                data += answer.data
        finally:
            self.peek.adopt()
        return Block(addresses[0], data)


_DIRECTORIES = {"root": "/", "pwd": "."}
_PART = 8192  # as much as one renaming can read
_OF_FILES = {
    "file.f_pos": 8,
    "file.f_flags": 4,
    "inode.i_ino": 8,
    "inode.i_mode": 2,
    "inode.i_size": 8,
    "inode.i_nlink": 4,
}


def _inode(path: str) -> int:
    return os.stat(path).st_ino


def _kernel_device(device: int) -> int:
    """A device's number as the kernel keeps it (include/linux/kdev_t.h)."""
    return os.major(device) << 20 | os.minor(device)


def _one_to_one(labels: Sequence[str], words: Sequence[int]) -> bool:
    return len(set(labels)) == len(set(words)) == len(set(zip(labels, words)))


def _is_time(block: Block, at: int, stat: os.stat_result) -> bool:
    """Whether a word is the seconds of a time stamp: generations once were those of a file's creation."""
    stamps = (stat.st_atime_ns, stat.st_mtime_ns, stat.st_ctime_ns)
    return any(block.word(at) == stamp // 10**9 and block.word(at + 8, 4) == stamp % 10**9 for stamp in stamps)
