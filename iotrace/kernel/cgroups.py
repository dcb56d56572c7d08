"""Control groups: in which hierarchy they are, by which numbers the kernel knows them, and what their paths are.

Version 2 has one hierarchy for all, version 1 one for each mounted set of controllers; a host may have both. There the
hierarchy of a controller counts, since containers are told apart in it, and version 2's is mostly empty.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from iotrace.errors import Failure, UserError
from programs.facts.kernel import UNIFIED
from programs.facts.members import WHO_MEMBERS
from pybpf.features import FEATURES

_PREFERRED = ("memory", "pids", "cpu", "blkio", "cpuacct", "devices", "freezer", "cpuset")
_HANDLE = struct.Struct("<Ii8s")  # struct file_handle with room for 8 bytes, which kernfs takes (fs/kernfs/mount.c)
_EVENT = struct.Struct("=iIII")  # struct inotify_event, without the name
_IN_CREATE, _IN_MOVED_TO, _IN_ISDIR, _IN_ONLYDIR = 0x100, 0x80, 0x40000000, 0x01000000  # include/uapi/linux/inotify.h
_MOST = 100_000  # cgroups whose paths are kept


class Hierarchy(NamedTuple):
    """A mounted hierarchy: where, and its controllers; none for version 2's."""

    directory: str
    device: int
    controllers: Tuple[str, ...]
    unified: bool


class Choice(NamedTuple):
    """What programs must know: `Options.hierarchy` and `Options.roots`; and where the hierarchy is mounted."""

    hierarchy: int
    roots: Tuple[int, ...]
    mounted: Hierarchy


def hierarchies() -> List[Hierarchy]:
    """Those that are mounted here, each once."""
    found: Dict[int, Hierarchy] = {}
    with open("/proc/self/mountinfo", "rb") as source:
        for line in source:
            words, _, more = line.rstrip(b"\n").partition(b" - ")
            kind, _, options = more.split(b" ", 2)
            if kind not in (b"cgroup", b"cgroup2"):
                continue
            _id, _parent, device, _root, directory, *_ = words.split(b" ")
            path = re.sub(rb"\\(\d{3})", lambda match: bytes([int(match.group(1), 8)]), directory)
            number = os.makedev(*map(int, device.split(b":")))
            controllers = () if kind == b"cgroup2" else tuple(os.fsdecode(options).split(","))
            found.setdefault(number, Hierarchy(os.fsdecode(path), number, controllers, kind == b"cgroup2"))
    return list(found.values())


def choose(paths: Sequence[str], *, apart: bool) -> Choice:
    """The hierarchy of the cgroups at `paths`; without any, the one in which rows are to be `apart` by cgroup.

    Raises Failure where this kernel does not show it, UserError for what is no cgroup.
    """
    mounted = hierarchies()
    chosen = {_of_path(path, mounted) for path in paths}
    if len(chosen) > 1:
        names = ", ".join(sorted(hierarchy.directory for hierarchy in chosen))
        raise UserError(f"--cgroup: all must be in one hierarchy, and these are in {names}")
    hierarchy = chosen.pop() if chosen else _usual(mounted)
    if hierarchy.unified:
        if apart and not FEATURES["cgroup_ids"].supported():
            raise Failure(
                "--by cgroup: this kernel does not tell programs whose cgroup it is (4.18); --by process and --by user "
                "work"
            )
        return Choice(UNIFIED, (), hierarchy)
    return Choice(_number(hierarchy), tuple(map(number_of, paths)), hierarchy)


def _of_path(path: str, mounted: Sequence[Hierarchy]) -> Hierarchy:
    try:
        with contextlib.closing(_Directory(path)) as directory:
            device = os.fstat(directory.fileno()).st_dev
    except OSError as error:
        raise UserError(f"--cgroup {path}: {error.strerror}") from None
    for hierarchy in mounted:
        if hierarchy.device == device:
            return hierarchy
    raise UserError(f"--cgroup {path}: not a cgroup: give its directory, such as /sys/fs/cgroup/system.slice")


def _usual(mounted: Sequence[Hierarchy]) -> Hierarchy:
    for controller in _PREFERRED:
        for hierarchy in mounted:
            if controller in hierarchy.controllers:
                return hierarchy
    for hierarchy in mounted:
        if hierarchy.unified:
            return hierarchy
    raise Failure("--by cgroup: no cgroup file system is mounted: mount -t cgroup2 none /sys/fs/cgroup")


def _number(hierarchy: Hierarchy) -> int:
    """The kernel's number of a controller of version 1 that this hierarchy is for."""
    if not FEATURES["kernel_btf"].supported():
        raise Failure(
            f"{hierarchy.directory}: a cgroup of version 1 is found only where the kernel has type information (BTF); "
            "give one of version 2"
        )
    from iotrace.kernel import offsets  # noqa: PLC0415 - not needed for version 2
    from pybpf.types.btf import BtfError, MissingMember  # noqa: PLC0415

    btf = offsets.kernel_types()
    try:
        btf.offsets([alternatives[0] for alternatives in WHO_MEMBERS.values()])
        numbers = btf.enumerators("cgroup_subsys_id")
    except (BtfError, MissingMember) as error:
        raise Failure(
            f"{hierarchy.directory}: this kernel keeps cgroups of version 1 in another way: {error}"
        ) from error
    for controller in hierarchy.controllers:
        if f"{controller}_cgrp_id" in numbers:
            return numbers[f"{controller}_cgrp_id"]
    raise Failure(
        f"{hierarchy.directory}: a hierarchy without controllers is not followed: give a cgroup of one that has any, "
        "such as /sys/fs/cgroup/memory"
    )


class _Directory:
    """A directory that is looked at, not read."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)


def number_of(path: str) -> int:
    """The number by which programs know a cgroup: its inode's, with a generation above it before 5.5.

    Raises OSError.
    """
    handle = ctypes.create_string_buffer(_HANDLE.pack(8, 0, b""), _HANDLE.size)
    libc, mount = ctypes.CDLL(None, use_errno=True), ctypes.c_int()
    if libc.name_to_handle_at(-100, os.fsencode(path), handle, ctypes.byref(mount), 0) == 0:  # AT_FDCWD
        return int.from_bytes(_HANDLE.unpack(handle.raw)[2], "little")
    return os.stat(path).st_ino


class Paths:
    """The paths of the cgroups of a hierarchy, by their numbers, those that come while this is asked to `learn` too.

    A cgroup keeps the path that it had. What has come and gone between two looks has none.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._root = hierarchy.directory
        self._paths: Dict[int, str] = {}
        self._watched: Dict[int, str] = {}  # directory by the watch's number
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._add(self._root)

    def close(self) -> None:
        """Stop watching; twice does nothing."""
        if self._inotify >= 0:
            os.close(self._inotify)
            self._inotify = -1

    def get(self, number: int) -> Optional[str]:
        """The path below the hierarchy's root, such as /system.slice/cron.service; None if nobody knows it."""
        if number not in self._paths:
            self.learn()
        if number not in self._paths:
            self._add(self._root)
        path = self._paths.get(number)
        return None if path is None else path[len(self._root) :] or "/"

    def learn(self) -> None:
        """Take note of cgroups that were made since the last time."""
        with contextlib.suppress(OSError):
            while self._inotify >= 0:
                for watch, name in _events(os.read(self._inotify, 1 << 16)):
                    directory = self._watched.get(watch)
                    if directory is None:  # more than could be kept
                        self._add(self._root)
                    else:
                        self._add(f"{directory}/{name}")

    def _add(self, top: str) -> None:
        """A directory, and what is below it. Watched before it is read, so that nothing slips through."""
        todo = [top]
        while todo and len(self._paths) < _MOST:
            path = todo.pop()
            with contextlib.suppress(OSError):
                if self._inotify >= 0:
                    flags = _IN_CREATE | _IN_MOVED_TO | _IN_ONLYDIR
                    watch = self._libc.inotify_add_watch(self._inotify, os.fsencode(path), flags)
                    if watch >= 0:
                        self._watched[watch] = path
                self._paths[number_of(path)] = path
                with os.scandir(path) as entries:
                    todo += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _events(raw: bytes) -> Iterator[Tuple[int, str]]:
    """The watch, and the name of each directory that has come."""
    at = 0
    while at < len(raw):
        watch, mask, _cookie, length = _EVENT.unpack_from(raw, at)
        at += _EVENT.size + length
        if watch < 0 or mask & _IN_ISDIR:
            yield watch, os.fsdecode(raw[at - length : at].rstrip(b"\0"))
