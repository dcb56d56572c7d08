"""Open files: the table of descriptors that leads to them, and what they and their inodes hold."""

from __future__ import annotations

import fcntl
import os
import threading
from typing import TYPE_CHECKING, Dict, List, Sequence, Set, Tuple

from pybpf.calibration import specimens
from pybpf.calibration.search import Block, CalibrationError, Search, is_pointer, places, pointers
from pybpf.calibration.specimens import Laboratory

if TYPE_CHECKING:
    from pybpf.calibration.tasks import Tasks

__all__ = ["CONFUSED", "INODE_BYTES", "OpenFiles"]

INODE_BYTES = 1024  # as much of an inode as is looked at
_FILES_BYTES, _TABLE_BYTES, _FILE_BYTES = 1024, 64, 320

# Members that hold what a system call returns about a file, and their size in bytes.
_KNOWN = {
    "file.f_pos": 8,
    "file.f_flags": 4,
    "inode.i_ino": 8,
    "inode.i_mode": 2,
    "inode.i_size": 8,
    "inode.i_nlink": 4,
}

# For each of them, and some more, every file with the value that it must have there.
Values = Dict[str, List[Tuple[Block, int]]]


class OpenFiles:
    """The files of the calling thread's table of descriptors, by descriptor."""

    def __init__(self, search: Search, laboratory: Laboratory, anchors: Sequence[int]) -> None:
        self.search, self.laboratory, self.anchors = search, laboratory, anchors
        self._array = 0

    def find_table(self, tasks: Tasks, other: int) -> None:
        """Find the way from a task to its table of descriptors, and to the files that are open in it.

        Three tables are compared: the one that the threads share, such as `other`, our own, which has outgrown its
        first size, and that of another process. Raises CalibrationError.
        """
        search, laboratory = self.search, self.laboratory
        laboratory.grow_table()
        owners = (tasks.mine, tasks.others[0], tasks.of_orphan)
        unused = os.dup(self.anchors[0])
        os.close(unused)
        chains, arrays = [], {}
        for files in tasks.may_be_files:
            tables = search.objects([task.word(files) for task in owners], _FILES_BYTES)
            for fdt in pointers(tables):
                fdtables = search.objects([table.word(fdt) for table in tables], _TABLE_BYTES)
                for fd in pointers(fdtables):
                    chain = (files, fdt, fd)
                    arrays[chain] = [fdtable.word(fd) for fdtable in fdtables]
                    if self._are_ours(arrays[chain], unused):
                        chains.append(chain)
        if len(chains) != 1:
            raise CalibrationError("task_struct.files", f"{len(chains)} ways lead to the files of descriptors, not one")
        for member, offset in zip(("task_struct.files", "files_struct.fdt", "fdtable.fd"), chains[0]):
            search.found(member, [offset])
        self._array = arrays[chains[0]][0]
        shared = search.follow(owners, "task_struct.files", _FILES_BYTES)
        fdtables = search.follow(shared, "files_struct.fdt", _TABLE_BYTES)
        owner_ids = (threading.get_native_id(), other, tasks.orphan.living)
        search.found("fdtable.max_fds", places(zip(fdtables, map(specimens.table_size, owner_ids)), 4))

    def file(self, fd: int, array: int = 0) -> int:
        """The address of the open file behind a descriptor; `array` is that of a table which is not ours."""
        return self.search.read((array or self._array) + 8 * fd, 8).word(0)

    def files(self, fds: Sequence[int]) -> List[Block]:
        """The open files behind descriptors."""
        return self.search.objects([self.file(fd) for fd in fds], _FILE_BYTES)

    def pointer(self, fd: int, member: str) -> int:
        """What a member that was found, such as "file.f_path.dentry", of an open file points to."""
        return self.search.read(self.file(fd) + self.search.members[member], 8).word(0)

    def _are_ours(self, arrays: List[int], unused: int) -> bool:
        """Whether all these arrays of files have the anchors, and the first of them the laboratory's files."""
        own, *others = arrays
        anchors = [self.file(fd, own) for fd in self.anchors]
        if self.file(unused, own):
            return False
        if any([self.file(fd, other) for fd in self.anchors] != anchors for other in others):
            return False
        every = [{self.file(fd, own) for fd in (file.fd, *file.duplicates)} for file in self.laboratory.files]
        files = [file for group in every for file in group]
        return (
            len(files) == len(every)
            and len({*files, *anchors}) == len(files) + len(anchors)
            and all(is_pointer(file) for file in (*files, *anchors))
        )

    def find_members(self) -> Dict[str, str]:
        """Find the members of an open file and its inode by their values, before and after all of these have changed.

        What cannot be found here, with the reason. Raises CalibrationError.
        """
        search, laboratory = self.search, self.laboratory
        some = [*laboratory.files, *laboratory.directories]
        stats = [os.fstat(file.fd) for file in some]

        def are_inodes(targets: List[Block]) -> bool:
            return bool(places(zip(targets, [stat.st_ino for stat in stats]), 8)) and bool(
                places(zip(targets, [stat.st_mode for stat in stats]), 2)
            )

        search.through("file.f_inode", self.files([file.fd for file in some]), INODE_BYTES, are_inodes)
        states = [self._values()]
        laboratory.change(2)
        states.append(self._values())
        for member, size in _KNOWN.items():
            search.found(member, places([sample for state in states for sample in state[member]], size))
        self._find_references(states)
        return self._find_generation(states)

    def _values(self) -> Values:
        """The values as they are now; "references" and "handle" (a descriptor) for what takes more than comparing."""
        found: Values = {member: [] for member in (*_KNOWN, "references", "handle")}
        ours = self.laboratory.files
        files = self.files([specimen.fd for specimen in ours])
        inodes = self.search.follow(files, "file.f_inode", INODE_BYTES)
        for specimen, file, inode in zip(ours, files, inodes):
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

    def _find_references(self, states: Sequence[Values]) -> None:
        """The counter of references: since 6.13 it starts at 0 (90ee6ed776c0 "fs: port files to file_ref")."""
        samples = [sample for state in states for sample in state["references"]]
        counts = places(samples, 8)
        refs = places([(block, count - 1) for block, count in samples], 8)
        if counts and refs:
            raise CalibrationError("file.f_ref", "there are two counters")
        self.search.found("file.f_ref" if refs else "file.f_count", refs or counts)

    def _find_generation(self, states: Sequence[Values]) -> Dict[str, str]:
        """The inode's generation, as handles of files contain it: the word that is neither the number nor a time."""
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
        if not samples:
            return {"inode.i_generation": "the file systems at hand do not tell it"}
        common = set.intersection(*samples)
        if len(common) != 1:
            return {"inode.i_generation": CONFUSED}
        self.search.found("inode.i_generation", common)
        return {}


CONFUSED = "it cannot be told from a time stamp"
"""Of a generation: another time it can, unless time stamps always are whole seconds."""


def _is_time(block: Block, at: int, stat: os.stat_result) -> bool:
    """Whether a word is the seconds of a time stamp: generations once were those of a file's creation."""
    stamps = (stat.st_atime_ns, stat.st_mtime_ns, stat.st_ctime_ns)
    return any(block.word(at) == stamp // 10**9 and block.word(at + 8, 4) == stamp % 10**9 for stamp in stamps)
