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

from pybpf import specimens, syscalls
from pybpf.peek import Peek, PeekError, Task
from pybpf.renamer import image
from pybpf.search import Block, CalibrationError, Search, is_pointer, places, pointers
from pybpf.specimens import CLONE_FILES, CLONE_FS, CLONE_NEWNS, Laboratory, Orphan, Sleepers, SpecimenError
from pybpf.tracefs import Tracefs

__all__ = ["Calibration", "CalibrationError", "calibrate"]

_ATTEMPTS = 3
_TASK_BYTES, _FILE_BYTES, _INODE_BYTES, _DENTRY_BYTES, _SUPER_BYTES = 16384, 320, 1024, 256, 2048
_FDTABLE_BYTES = 64
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
    with Peek(tracefs) as peek, Orphan(peek) as orphan:
        worker = _Worker(peek, orphan)
        worker.start()
        worker.end()
        if worker.error is not None:
            raise worker.error
        return Calibration(worker.members, worker.missing)


class _Worker(threading.Thread):
    """The thread that does it all, since it has to leave what it shares with its process."""

    def __init__(self, peek: Peek, orphan: Orphan) -> None:
        super().__init__(daemon=True)
        self._peek, self._orphan = peek, orphan
        self._tid = 0
        self.members: Dict[str, int] = {}
        self.missing: Dict[str, str] = {}
        self.error: Optional[BaseException] = None

    def run(self) -> None:
        try:
            self._tid = threading.get_native_id()
            self._peek.adopt()
            examination = _Examination(self._peek, self._orphan)
            examination.run()
            self.members, self.missing = examination.search.members, examination.missing
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
    """Who is examined, and in which order one thing leads to the next."""

    def __init__(self, peek: Peek, orphan: Orphan) -> None:
        self.peek, self.orphan = peek, orphan
        self.search = Search(peek)
        self.missing: Dict[str, str] = {}

    def run(self) -> None:
        self.anchors = [os.open("/", os.O_RDONLY | os.O_DIRECTORY), *os.pipe2(os.O_CLOEXEC)]
        try:
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
                self._tell_32_bit_tasks()
        finally:
            for fd in self.anchors:
                os.close(fd)

    # -- threads and what they share ------------------------------------------------------------------------------

    def _task(self, address: int) -> Block:
        return self.search.read(address, _TASK_BYTES)

    def _tasks(self, sleepers: Sleepers) -> None:
        """Numbers and names of threads."""
        self.me = self.peek.current()
        named: List[Tuple[Task, bytes]] = [(self.me, self.peek.name), *sleepers.tasks]
        blocks = [self._task(task.address) for task, _name in named]
        self.others = blocks[1:]
        self.zombie, self.orphan_task = (self._task(address) for address in self.orphan.examine())
        self.search.found("task_struct.pid", places(zip(blocks, [task.tid for task, _name in named]), 4))
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

        Two tables are compared: the one that the threads share, and our own, which has outgrown its first size.
        """
        search, laboratory = self.search, self.laboratory
        laboratory.grow_table()
        unused = os.dup(self.anchors[0])
        os.close(unused)
        chains, arrays = [], {}
        for files in self.may_be_files:
            tables = [search.read(task.word(files), 1024) for task in (self.others[0], self.mine)]
            for fdt in pointers(tables):
                fdtables = [search.read(table.word(fdt), _FDTABLE_BYTES) for table in tables]
                for fd in pointers(fdtables):
                    chain = (files, fdt, fd)
                    arrays[chain] = [fdtable.word(fd) for fdtable in fdtables]
                    if self._are_ours(arrays[chain], unused):
                        chains.append(chain)
        if len(chains) != 1:
            raise CalibrationError("task_struct.files", f"{len(chains)} ways lead to the files of descriptors, not one")
        for member, offset in zip(("task_struct.files", "files_struct.fdt", "fdtable.fd"), chains[0]):
            search.found(member, [offset])
        self.array = arrays[chains[0]][1]
        tables = search.follow((self.others[0], self.mine, self.orphan_task), "task_struct.files", 1024)
        sizes = [specimens.table_size(tid) for tid in (other, threading.get_native_id(), self.orphan.living)]
        fdtables = search.follow(tables, "files_struct.fdt", _FDTABLE_BYTES)
        search.found("fdtable.max_fds", places(zip(fdtables, sizes), 4))

    def _file(self, fd: int, array: int = 0) -> int:
        """The address of the open file behind a descriptor."""
        return self.search.read((array or self.array) + 8 * fd, 8).word(0)

    def _are_ours(self, arrays: List[int], unused: int) -> bool:
        """Whether the shared and our own array of files are where the anchors and the laboratory's files are."""
        shared, own = arrays
        anchors = [self._file(fd, own) for fd in self.anchors]
        if anchors != [self._file(fd, shared) for fd in self.anchors] or self._file(unused, own):
            return False
        every = [{self._file(fd, own) for fd in (file.fd, *file.duplicates)} for file in self.laboratory.files]
        files = [file for group in every for file in group]
        return len(files) == len(every) and len({*files, *anchors}) == len(files) + len(anchors) and all(
            is_pointer(file) for file in (*files, *anchors)
        )

    def _namespaces(self) -> None:
        """Mount namespaces, by their numbers: the one that we were in and our own."""
        search, chains = self.search, []
        for nsproxy in self.may_be_nsproxy:
            proxies = [search.read(task.word(nsproxy), 128) for task in (self.others[0], self.mine)]
            for namespace in pointers(proxies):
                spaces = [search.read(proxy.word(namespace), 512) for proxy in proxies]
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
        blocks = [search.read(self._file(file.fd), _FILE_BYTES) for file in some]
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
        for specimen in self.laboratory.files:
            file = self.search.read(self._file(specimen.fd), _FILE_BYTES)
            inode = self.search.follow([file], "file.f_inode", _INODE_BYTES)[0]
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
                samples.append({
                    at
                    for at in range(0, len(block.data) - 3, 4)
                    if block.data[at : at + 4] in words and not _is_time(block, at, stat)
                })  # fmt: skip
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
        files = [search.read(self._file(fd), _FILE_BYTES) for fd in fds]
        inodes = search.follow(files, "file.f_inode", _INODE_BYTES)

        def are_super_blocks(targets: List[Block]) -> bool:
            return bool(places(zip(targets, devices), 4)) and bool(places(zip(targets, magics), 8))

        search.through("inode.i_sb", inodes, _SUPER_BYTES, are_super_blocks)
        blocks = search.follow(inodes, "inode.i_sb", _SUPER_BYTES)
        search.found("super_block.s_dev", places(zip(blocks, devices), 4))
        search.found("super_block.s_magic", places(zip(blocks, magics), 8))
        search.through(
            "super_block.s_type", blocks, 128, lambda types: self._named(types, names),
            among=lambda types: types[0] == types[1] and len(set(types)) == len(set(names)),
        )  # fmt: skip
        search.found(
            "file_system_type.name", self._named(search.follow(blocks, "super_block.s_type", 128), names)
        )

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
        files = [search.read(self._file(file.fd), _FILE_BYTES) for file in some]
        search.through(
            "file.f_path.dentry", files, _DENTRY_BYTES, lambda targets: self._named(targets, names)
        )
        dentries = search.follow(files, "file.f_path.dentry", _DENTRY_BYTES)
        search.found("dentry.d_name.name", self._named(dentries, names))
        lengths = places(zip(dentries, [len(name) for name in names]), 4)
        search.found("dentry.d_name.hash_len", [length - 4 for length in lengths if length % 8 == 4])
        parents = [
            (dentry, self._dentry(file.parent)) for dentry, file in zip(dentries, some) if file.parent is not None
        ]
        search.found("dentry.d_parent", places(parents, 8))

    def _dentry(self, fd: int) -> int:
        return self._path(fd, "file.f_path.dentry")

    def _path(self, fd: int, member: str) -> int:
        return self.search.read(self._file(fd) + self.search.members[member], 8).word(0)

    def _mounts(self) -> None:
        """Mounts: which files are on the same one, what they cover, and where that lies."""
        search, stages = self.search, self.laboratory.stages
        some = [*self.laboratory.files, *self.laboratory.directories]
        files = [search.read(self._file(file.fd), _FILE_BYTES) for file in some]
        labels = [file.mount for file in some]
        search.found(
            "file.f_path.mnt",
            [at for at in pointers(files) if _one_to_one(labels, [block.word(at) for block in files])],
        )
        mounts = {label: self._path(stage.root, "file.f_path.mnt") for label, stage in stages.items()}
        around = {label: search.read(mount - _BEFORE_MOUNT, 1024) for label, mount in mounts.items()}
        roots = [(around[label], self._dentry(stage.root)) for label, stage in stages.items()]
        covered = [(around[label], self._dentry(stage.covered)) for label, stage in stages.items()]
        search.found("vfsmount.mnt_root", [at - _BEFORE_MOUNT for at in places(roots, 8)])
        inside = self._parents(around, mounts)
        begin = _BEFORE_MOUNT - inside
        search.found("mount.mnt_mountpoint", [at - begin for at in places(covered, 8)])
        spaces = [(block, self.spaces[1]) for block in around.values()]
        for fd, space in zip(self.anchors, (self.spaces[0], _MNT_NS_INTERNAL)):
            spaces.append((search.read(self._path(fd, "file.f_path.mnt") - _BEFORE_MOUNT, 1024), space))
        search.found("mount.mnt_ns", [at - begin for at in places(spaces, 8)])

    def _parents(self, around: Dict[str, Block], mounts: Dict[str, int]) -> int:
        """How far a vfsmount lies inside its mount: the parent is named by its beginning, and known by its vfsmount."""
        known = [(around[label], mounts[stage.parent]) for label, stage in self.laboratory.stages.items()
                 if stage.parent]  # fmt: skip
        found = []
        for at in pointers([block for block, _parent in known]):
            distances = {parent - block.word(at) for block, parent in known}
            if len(distances) == 1 and 0 <= min(distances) <= _BEFORE_MOUNT:
                found.append((at, distances.pop()))
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
        offset = search.found("task_struct.fs", [at for at, members in found.items() if all(members.values())])
        for member, offsets in found[offset].items():
            search.found(member, offsets)

    # -- how many threads there are --------------------------------------------------------------------------------

    def _threads(self) -> None:
        """What counts threads: those that share a table of descriptors, and those of a process that are alive."""
        search, zombie, orphan, count = self.search, self.zombie, self.orphan_task, self.orphan.count
        shared = [
            offset
            for offset in pointers([zombie, orphan, self.mine])
            if zombie.word(offset) == orphan.word(offset) != self.mine.word(offset)
            and all(other.word(offset) == self.mine.word(offset) for other in self.others)
        ]
        tables = search.follow([orphan, self.mine, self.others[0]], "task_struct.files", 1024)
        users = [(tables[0], count), (tables[1], 1), (tables[2], self.threads_before - 1)]
        groups = {at: [(search.read(orphan.word(at), 2048), count)] for at in shared}
        for more in (0, 2):
            with Sleepers(self.peek, [b"more"] * more):
                now = len(specimens.threads())
                for at, samples in groups.items():
                    samples.append((search.read(self.mine.word(at), 2048), now))
                users.append((search.read(self.mine.word(search.members["task_struct.files"]), 1024), 1 + more))
        search.found("files_struct.count", places(users, 4))
        with contextlib.suppress(syscalls.BpfError), self.orphan.one_about_to_end():
            for at, samples in groups.items():
                samples.append((search.read(orphan.word(at), 2048), count))
        live = {at: places(samples, 4) for at, samples in groups.items()}
        search.found("task_struct.signal", [at for at, offsets in live.items() if offsets])
        search.found("signal_struct.live", live[search.members["task_struct.signal"]])

    # -- 32-bit tasks ----------------------------------------------------------------------------------------------

    def _tell_32_bit_tasks(self) -> None:
        """The bit by which a 32-bit task is told: in the same program, built for either, whatever else they share."""
        machine = os.uname().machine
        member = "task_struct.thread_info." + ("status" if machine == "x86_64" else "flags")
        wide, narrow = [], []
        try:
            for _round in range(3):
                wide.append(self._run(image(machine, 64, self.peek.name)))
                narrow.append(self._run(image(machine, 32, self.peek.name)))
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise CalibrationError(member, f"the program that shows it cannot be run: {error.strerror}") from error
            self.missing[member] = "this kernel runs no 32-bit programs"
            return
        if machine == "x86_64":
            states = [(block, 0) for block in (*wide, self.mine, *self.others)]
            self.search.found(member, places([(block, _TS_COMPAT) for block in narrow] + states, 4))
        else:  # thread_info is the first member of task_struct, and has the flags first: CONFIG_THREAD_INFO_IN_TASK
            told = [bool(block.word(0, 4) & _TIF_32BIT) for block in (*narrow, *wide, self.mine)]
            self.search.found(member, [0] if told == [True] * 3 + [False] * 4 else [])

    def _run(self, program: bytes) -> Block:
        """The task_struct of a program while it renames itself. Raises OSError, CalibrationError."""
        path = f"{self.laboratory.base}/program"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o700)
        os.write(fd, program)
        os.close(fd)
        data = b""
        syscalls.rename_thread(b"starter")  # an exec renames too, and is not what is wanted
        try:
            for part in range(0, _TASK_BYTES, _PART):
                self.peek.arm(part, _PART)
                os.waitpid(os.posix_spawn(path, [path], {}), 0)
                answer = self.peek.fetch()
                data += answer.data if answer else b""
                if answer is None or len(answer.data) < _PART:
                    break
        finally:
            self.peek.adopt()
        return Block(0, data)


_DIRECTORIES = {"root": "/", "pwd": "."}
_PART = 8192  # as much as one renaming can read
_OF_FILES = {"file.f_pos": 8, "file.f_flags": 4, "inode.i_ino": 8, "inode.i_mode": 2, "inode.i_size": 8,
             "inode.i_nlink": 4}  # fmt: skip


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
    return any(
        block.word(at) == stamp // 10**9 and block.word(at + 8, 4) == stamp % 10**9 for stamp in stamps
    )
