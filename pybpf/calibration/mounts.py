"""Where files are: super blocks, dentries, mounts, and the directories that a thread starts from."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Dict, Iterator, List, Sequence, Tuple

from pybpf import syscalls
from pybpf.calibration.files import INODE_BYTES, OpenFiles
from pybpf.calibration.search import Block, CalibrationError, Search, apart, places, pointers
from pybpf.calibration.specimens import Laboratory, Specimen

if TYPE_CHECKING:
    from pybpf.calibration.tasks import Tasks

__all__ = ["Mounts"]

_DENTRY_BYTES, _SUPER_BYTES, _TYPE_BYTES, _FS_BYTES = 256, 2048, 128, 192
_BEFORE_MOUNT = 256  # bytes that a struct mount may have before its vfsmount
_MNT_NS_INTERNAL = -22 & 0xFFFFFFFFFFFFFFFF  # ERR_PTR(-EINVAL), fs/mount.h: the pipes' mount and its like
_DIRECTORIES = {"root": "/", "pwd": "."}


class Mounts:
    """The file systems, names and mounts of the laboratory's files; `anchors` are a directory and a pipe of others."""

    def __init__(self, search: Search, laboratory: Laboratory, files: OpenFiles, anchors: Sequence[int]) -> None:
        self.search, self.laboratory, self.files, self.anchors = search, laboratory, files, anchors

    def find_file_systems(self) -> None:
        """Super blocks, of file systems whose numbers and types are known; nobody has mounted that of the pipes."""
        search, stages = self.search, self.laboratory.stages
        mounted = [stages["first"], stages["second"], stages["third"]]
        fds = [*(stage.root for stage in mounted), self.anchors[1]]
        names = [*(stage.filesystem.encode() for stage in mounted), b"pipefs"]
        devices = [_kernel_device(os.fstat(fd).st_dev) for fd in fds]
        magics = [syscalls.file_system_magic(fd) for fd in fds]
        inodes = search.follow(self.files.files(fds), "file.f_inode", INODE_BYTES)

        def are_super_blocks(targets: List[Block]) -> bool:
            return bool(places(zip(targets, devices), 4)) and bool(places(zip(targets, magics), 8))

        search.through("inode.i_sb", inodes, _SUPER_BYTES, are_super_blocks)
        blocks = search.follow(inodes, "inode.i_sb", _SUPER_BYTES)
        search.found("super_block.s_dev", places(zip(blocks, devices), 4))
        search.found("super_block.s_magic", places(zip(blocks, magics), 8))
        search.through(
            "super_block.s_type",
            blocks,
            _TYPE_BYTES,
            lambda types: self._named(types, names),
            among=lambda types: types[0] == types[1] and len(set(types)) == len(set(names)),
        )
        types = search.follow(blocks, "super_block.s_type", _TYPE_BYTES)
        search.found("file_system_type.name", self._named(types, names))

    def _named(self, targets: Sequence[Block], names: Sequence[bytes]) -> List[int]:
        """The offsets at which objects have pointers to their names."""
        return [
            offset
            for offset in pointers(targets)
            if all(self.search.has_text(target.word(offset), name) for target, name in zip(targets, names))
        ]

    def _everything_open(self) -> List[Specimen]:
        return [*self.laboratory.files, *self.laboratory.directories]

    def find_names(self) -> None:
        """Dentries: names and the directories that they are in, before and after one is moved."""
        search = self.search
        names = [file.name for file in self._everything_open()]
        files = self.files.files([file.fd for file in self._everything_open()])
        search.through("file.f_path.dentry", files, _DENTRY_BYTES, lambda targets: self._named(targets, names))
        samples: List[Tuple[Block, Specimen]] = []
        named = []
        for state in (1, 2):
            if state == 2:
                self.laboratory.move()
            some = self._everything_open()
            dentries = search.follow(files, "file.f_path.dentry", _DENTRY_BYTES)
            named.append(set(self._named(dentries, [file.name for file in some])))
            samples += zip(dentries, some)
        search.found("dentry.d_name.name", set.intersection(*named))
        lengths = places([(block, len(file.name)) for block, file in samples], 4)
        search.found("dentry.d_name.hash_len", [length - 4 for length in lengths if length % 8 == 4])
        parents = [(block, self._dentry(file.parent)) for block, file in samples if file.parent is not None]
        search.found("dentry.d_parent", places(parents, 8))

    def _dentry(self, fd: int) -> int:
        return self.files.pointer(fd, "file.f_path.dentry")

    def find_mounts(self, namespaces: Sequence[int]) -> None:
        """Mounts: which files are on the same one, what they cover, and where that lies.

        `namespaces` are the addresses of the mount namespace of the process and of ours.
        """
        search, stages = self.search, self.laboratory.stages
        some = self._everything_open()
        files = self.files.files([file.fd for file in some])
        labels = [file.mount for file in some]
        search.found(
            "file.f_path.mnt",
            [at for at in pointers(files) if _one_to_one(labels, [block.word(at) for block in files])],
        )
        mounts = {label: self.files.pointer(stage.root, "file.f_path.mnt") for label, stage in stages.items()}
        mounts.update({f"anchor {fd}": self.files.pointer(fd, "file.f_path.mnt") for fd in self.anchors[:2]})
        size = apart(mounts.values())
        around = {label: search.read(mount - _BEFORE_MOUNT, _BEFORE_MOUNT + size) for label, mount in mounts.items()}
        roots = places([(around[label], self._dentry(stage.root)) for label, stage in stages.items()], 8)
        search.found("vfsmount.mnt_root", [at - _BEFORE_MOUNT for at in roots if at >= _BEFORE_MOUNT])
        begin = _BEFORE_MOUNT - self._find_parents(around, mounts)
        covered = places([(around[label], self._dentry(stage.covered)) for label, stage in stages.items()], 8)
        search.found("mount.mnt_mountpoint", [at - begin for at in covered if 0 <= at - begin < size])
        spaces = [*([namespaces[1]] * len(stages)), namespaces[0], _MNT_NS_INTERNAL]
        owned = places(zip(around.values(), spaces), 8)
        search.found("mount.mnt_ns", [at - begin for at in owned if 0 <= at - begin < size])

    def _find_parents(self, around: Dict[str, Block], mounts: Dict[str, int]) -> int:
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

    def find_directories(self, tasks: Tasks) -> None:
        """The root and the working directory of a thread: ours goes from one to another."""
        search = self.search
        states: Dict[int, Dict[str, List[Tuple[Block, int]]]] = {at: {} for at in tasks.may_be_fs}

        def compare(task: Block, known: Dict[str, int]) -> None:
            for at, samples in states.items():
                block = search.read(task.word(at), _FS_BYTES)
                for what, fd in known.items():
                    for part in ("mnt", "dentry"):
                        value = self.files.pointer(fd, f"file.f_path.{part}")
                        samples.setdefault(f"fs_struct.{what}.{part}", []).append((block, value))

        compare(tasks.others[0], {"root": self.anchors[0]})
        for directory in ("a", "two"):
            os.chdir(f"{self.laboratory.base}/{directory}")
            compare(tasks.mine, {what: os.open(where, os.O_RDONLY) for what, where in _DIRECTORIES.items()})
        with _another_root():
            compare(tasks.mine, {what: os.open(where, os.O_RDONLY) for what, where in _DIRECTORIES.items()})
        found = {at: {member: places(pairs, 8) for member, pairs in samples.items()} for at, samples in states.items()}
        passed = [at for at, members in found.items() if all(members.values())]
        # Newer kernels (7.3) have a `real_fs` too, which differs only while the kernel opens files on its own behalf.
        every = [tasks.mine, tasks.zombie, tasks.of_orphan, *tasks.others]
        alike = len({tuple(task.word(at) for task in every) for at in passed}) == 1
        offset = search.found("task_struct.fs", passed[-1:] if alike else passed)
        for member, offsets in found[offset].items():
            search.found(member, offsets)


@contextmanager
def _another_root() -> Iterator[None]:
    """Make the working directory this thread's root for a while, if it may: CAP_SYS_CHROOT.

    Behind our fs_struct there often is another one, of a task whose root is the same directory as ours was.
    """
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(PermissionError):
            os.chroot(".")
        yield
    finally:
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        os.fchdir(root)
        with suppress(PermissionError):
            os.chroot(".")
        os.fchdir(here)


def _kernel_device(device: int) -> int:
    """A device's number as the kernel keeps it (include/linux/kdev_t.h)."""
    return os.major(device) << 20 | os.minor(device)


def _one_to_one(labels: Sequence[str], words: Sequence[int]) -> bool:
    return len(set(labels)) == len(set(words)) == len(set(zip(labels, words)))
