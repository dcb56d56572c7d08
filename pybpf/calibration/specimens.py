"""Kernel objects of our own, about which everything is known: the search for offsets compares memory with them.

They are threads that do nothing, a process whose first thread has ended, and file systems, mounts and open files in a
mount namespace and a table of descriptors that belong to one thread alone. All of that goes when this thread ends, even
if it is killed: no file, mount or descriptor is left.

The thread needs CAP_SYS_ADMIN for its mounts, as bpf(2) does before 5.8.
"""

from __future__ import annotations

import _thread
import contextlib
import fcntl
import os
import resource
import struct
import threading
import time
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, NoReturn, Optional, Tuple

from pybpf import syscalls
from pybpf.calibration.peek import Peek, PeekError, Task
from pybpf.calibration.renamer import image

__all__ = ["Laboratory", "Orphan", "Sleepers", "Specimen", "SpecimenError", "table_size", "threads", "wait_for"]

CLONE_FS, CLONE_FILES, CLONE_NEWNS = 0x200, 0x400, 0x20000
_MS_BIND, _MS_REC_PRIVATE = 0x1000, 0x4000 | 0x40000
_PATIENCE = 0.5  # seconds that a thread gets to start or to end


class SpecimenError(RuntimeError):
    """An object that could not be made; the text says which."""


def threads() -> List[int]:
    """The numbers of this process's threads, in its own PID namespace."""
    return [int(name) for name in os.listdir("/proc/self/task")]


def table_size(tid: int) -> int:
    """How many descriptors the table of a thread, of any process, has room for now."""
    with open(f"/proc/{tid}/status", encoding="utf-8", errors="replace") as status:
        for line in status:
            name, _, value = line.partition(":")
            if name == "FDSize":
                return int(value)
    raise SpecimenError("/proc/TID/status has no FDSize")


def wait_for(condition: str, done: Callable[[], bool]) -> None:
    """Wait until `done()` is true. Raises SpecimenError with `condition` as its text if that takes too long."""
    deadline = time.monotonic() + _PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise SpecimenError(condition)
        time.sleep(0.0002)


class _Sleeper(threading.Thread):
    def __init__(self, peek: Peek, name: bytes) -> None:
        super().__init__(daemon=True)
        self.peek, self.comm = peek, name
        self.ready, self.leave = threading.Event(), threading.Event()
        self.task: Optional[Task] = None
        self.tid = 0

    def run(self) -> None:
        self.tid = threading.get_native_id()
        with contextlib.suppress(PeekError, OSError):  # it then has no task, which is noticed below
            self.peek.adopt()
            self.task = self.peek.current()
            self.peek.rename(self.comm)
        self.ready.set()
        self.leave.wait()


class Sleepers:
    """Threads that share everything with the one that starts them, and do nothing. Each has a name of its own."""

    def __init__(self, peek: Peek, names: Iterable[bytes]) -> None:
        """Start one for each of `names`. Raises SpecimenError."""
        self._threads = [_Sleeper(peek, name) for name in names]
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.ready.wait()
        if any(thread.task is None for thread in self._threads):
            self.close()
            raise SpecimenError("a thread could not be examined")

    @property
    def tasks(self) -> List[Tuple[Task, bytes]]:
        """Each thread with its name."""
        return [(thread.task, thread.comm) for thread in self._threads if thread.task is not None]

    @property
    def numbered(self) -> List[Tuple[Task, int]]:
        """Each thread with its number in this process's own PID namespace."""
        return [(thread.task, thread.tid) for thread in self._threads if thread.task is not None]

    @property
    def tid(self) -> int:
        """The number of the first of them, in this process's own PID namespace."""
        return self._threads[0].tid

    def close(self) -> None:
        """End them, and wait until the kernel has."""
        for thread in self._threads:
            thread.leave.set()
        for thread in self._threads:
            thread.join()
        gone = {thread.tid for thread in self._threads}
        wait_for("a thread does not end", lambda: gone.isdisjoint(threads()))

    def __enter__(self) -> Sleepers:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class Orphan:
    """A process whose first thread has ended while others go on.

    `signal_struct.live` no longer counts the first thread, while the other counters of threads still do. And of what
    threads share, the first one, which is a zombie now, still has the signal_struct, but no longer the memory.

    `first` and `other` are the addresses of the task_structs of the first thread and of one that lives, `count` is how
    many live, and `living` the number of that one.
    """

    _REPORT = struct.Struct("<QQII")
    _PTRACE_DETACH, _PTRACE_SEIZE, _PTRACE_O_TRACEEXIT, _WALL = 17, 0x4206, 0x40, 0x40000000

    def __init__(self, peek: Peek) -> None:
        """Fork it, and let it report. There must be no other threads yet. Raises OSError, SpecimenError."""
        self._report, theirs_out = os.pipe2(os.O_CLOEXEC)
        command_in, self._command = os.pipe2(os.O_CLOEXEC)
        order_in, self._order = os.pipe2(os.O_CLOEXEC)
        life_in, self._life = os.pipe2(os.O_CLOEXEC)
        program = os.memfd_create("renamer")
        os.write(program, image(os.uname().machine, 64, peek.name))
        self._ours = (self._report, self._command, self._order, self._life)
        theirs = (theirs_out, command_in, order_in, life_in, program)
        self.pid = os.fork()
        if self.pid == 0:
            for fd in self._ours:
                os.close(fd)
            _OrphanedProcess(peek, theirs).run()
        for fd in theirs:
            os.close(fd)
        raw = os.read(self._report, self._REPORT.size)
        if len(raw) != self._REPORT.size:
            self.close()
            raise SpecimenError("the process that outlives its first thread has failed")
        self.first, self.other, self.count, self.living = self._REPORT.unpack(raw)

    @contextlib.contextmanager
    def one_about_to_end(self) -> Iterator[None]:
        """Hold one of its threads on its way out: with ptrace(2), which only one thread of ours can do throughout.

        Newer kernels have a `signal_struct.quick_threads` (kernel/exit.c: synchronize_group_exit()), which differs from
        `live` at no other time. Raises BpfError if tracing is not allowed.
        """
        syscalls.ptrace(self._PTRACE_SEIZE, self.living, self._PTRACE_O_TRACEEXIT)
        os.write(self._command, b".")
        os.waitpid(self.living, self._WALL)
        try:
            yield
        finally:
            syscalls.ptrace(self._PTRACE_DETACH, self.living)

    def replace(self) -> None:
        """Have another of its threads run a program that takes the name which `peek` serves, and wait for its end.

        By its exec, that thread has taken over the number of the process.
        """
        os.write(self._order, b".")
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        """End the process. Closing again does nothing."""
        if self.pid:
            for fd in self._ours:
                os.close(fd)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def __enter__(self) -> Orphan:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class _OrphanedProcess:
    """The child's side: a thread that waits for the end, one that reports and then ends on command, and one that runs a
    program when told to."""

    def __init__(self, peek: Peek, descriptors: Tuple[int, int, int, int, int]) -> None:
        self.peek = peek
        self.report_to, self.command, self.order, self.life, self.program = descriptors

    def run(self) -> NoReturn:
        """Start the threads, and end this one, which is the first."""
        try:
            self.peek.adopt()
            self.leader = self.peek.current()
            self.peek.rename(b"orphan")  # which threads inherit: only one takes the name that is served
            for work in (self._live, self._execute, self._report):
                _thread.start_new_thread(work, ())
            syscalls.exit_thread()
        finally:
            os._exit(1)

    def _live(self) -> None:
        os.read(self.life, 1)
        os._exit(0)

    def _execute(self) -> None:
        try:
            if os.read(self.order, 1):
                os.execve(f"/proc/thread-self/fd/{self.program}", ["renamer"], {})
        finally:
            os._exit(1)

    def _report(self) -> None:
        try:
            status = f"/proc/self/task/{os.getpid()}/stat"
            wait_for("the first thread does not end", lambda: _state(status) == "Z")
            self.peek.adopt()
            here = self.peek.current().address
            os.write(
                self.report_to,
                Orphan._REPORT.pack(self.leader.address, here, len(threads()) - 1, threading.get_native_id()),
            )
            if os.read(self.command, 1):
                syscalls.exit_thread()
        finally:
            os._exit(1)


def _state(path: str) -> str:
    with open(path, "rb") as stat:
        return stat.read().rpartition(b") ")[2][:1].decode()


class Specimen(NamedTuple):
    """An open file: `references` is how often its description is held, `mount` labels the mount it was opened through,
    `parent` is the descriptor of the directory that it lies in, and `duplicates` are descriptors of the same open."""

    fd: int
    name: bytes
    mount: str
    parent: Optional[int] = None
    references: int = 1
    duplicates: Tuple[int, ...] = ()


class Stage(NamedTuple):
    """A mount: descriptors of its root and of the directory that it covers, opened before it was covered; the label of
    the mount that this directory was on; and the type of the file system."""

    root: int
    covered: int
    parent: str
    filesystem: str


class Laboratory:
    """What the calling thread, and it alone, has mounted and opened.

    The thread must have left the table of descriptors and the mount namespace of its process. `files` and `stages`
    (by label) are what there is to examine.
    """

    def __init__(self) -> None:
        """Raises BpfError for a mount that is refused, OSError, SpecimenError."""
        self.files: List[Specimen] = []
        self.stages: Dict[str, Stage] = {}
        self.directories: List[Specimen] = []
        syscalls.mount("none", "/", "", _MS_REC_PRIVATE)  # else what is mounted here would show elsewhere
        self.base = next((path for path in ("/tmp", "/mnt", "/run", "/sys") if os.path.isdir(path)), "/")
        self._mount("first", self.base, "tmpfs", parent="")
        for name in ("two", "three", "fourth", "a"):
            os.mkdir(f"{self.base}/{name}", 0o751)
        self._mount("second", f"{self.base}/two", "tmpfs", parent="first")
        self._mount("third", f"{self.base}/three", "ramfs", parent="first")
        self._mount("fourth", f"{self.base}/fourth", "", parent="first", source=f"{self.base}/a")
        os.mkdir(f"{self.base}/two/fifth", 0o700)
        self._mount("fifth", f"{self.base}/two/fifth", "", parent="second", source=f"{self.base}/a")
        self._open_files()

    def _mount(self, label: str, path: str, filesystem: str, parent: str, source: str = "") -> None:
        covered = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        if source:
            syscalls.mount(source, path, "", _MS_BIND)
            filesystem = "tmpfs"
        else:
            syscalls.mount("none", path, filesystem, 0)
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self.stages[label] = Stage(root, covered, parent, filesystem)

    def _open_files(self) -> None:
        """Open regular files that differ in everything that an inode and an open file say."""
        base, long = self.base, "n" * 120
        plans = [
            ("first", f"{base}/a", "one", os.O_RDWR, 0o640, 1),
            ("first", f"{base}/a", long, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK, 0o451, 3),
            ("first", f"{base}/a", "some-name", os.O_WRONLY | os.O_SYNC, 0o604, 1),
            ("second", f"{base}/two", "another one", os.O_RDWR | os.O_NOATIME, 0o753, 1),
            ("third", f"{base}/three", "in-memory", os.O_RDWR | os.O_APPEND, 0o666, 7),
        ]
        for number, (mount, directory, name, flags, mode, references) in enumerate(plans, 1):
            parent = self._directory(mount, directory)
            fd = os.open(f"{directory}/{name}", flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.fchmod(fd, mode)
            for link in range(number * number):
                os.link(name, f"{number}-{link}", src_dir_fd=parent, dst_dir_fd=parent)
            duplicates = tuple(os.dup(fd) for _ in range(references - 1))
            self.files.append(Specimen(fd, name.encode(), mount, parent, references, duplicates))
        again = self._directory("fourth", f"{base}/fourth")
        for name in ("one", "some-name"):
            fd = os.open(f"{base}/fourth/{name}", os.O_RDONLY)
            self.files.append(Specimen(fd, name.encode(), "fourth", again))
        again = self._directory("fifth", f"{base}/two/fifth")
        self.files.append(Specimen(os.open(f"{base}/two/fifth/one", os.O_RDONLY), b"one", "fifth", again))
        self.change(1)

    def _directory(self, mount: str, path: str) -> int:
        """The descriptor of a directory, which is examined too."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        bound = mount in ("fourth", "fifth")
        name = b"a" if bound or path.endswith("/a") else b"/"
        self.directories.append(Specimen(fd, name, mount))
        return fd

    def change(self, state: int) -> None:
        """Give every file another position, size, mode, link and flags than in any other `state` (1, 2 ...)."""
        for number, file in enumerate(self.files, 1):
            if fcntl.fcntl(file.fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
                os.ftruncate(file.fd, 0x10203 * number + (state << 20))
            os.lseek(file.fd, 0x5A0000700 * number + 0x31 * state, os.SEEK_SET)
        if state > 1:
            for file in self.files:
                flags = fcntl.fcntl(file.fd, fcntl.F_GETFL)
                fcntl.fcntl(file.fd, fcntl.F_SETFL, flags ^ os.O_NONBLOCK)
                os.fchmod(file.fd, os.fstat(file.fd).st_mode ^ 0o021)
                name, more = os.fsdecode(file.name), f"more-{state}-{file.fd}"
                os.link(name, more, src_dir_fd=file.parent, dst_dir_fd=file.parent)
            deleted = self.files[3]  # its inode is in use without that link, which sets i_count apart from i_nlink
            os.unlink(deleted.name, dir_fd=deleted.parent)
            self.files = [
                file._replace(
                    references=file.references + number,
                    duplicates=(*file.duplicates, *(os.dup(file.fd) for _ in range(number))),
                )
                for number, file in enumerate(self.files, 1)
            ]

    def move(self) -> None:
        """Give a file another name in another directory."""
        file, name, directory = self.files[1], b"moved-elsewhere", self.stages["first"].root
        os.rename(file.name, name, src_dir_fd=file.parent, dst_dir_fd=directory)
        self.files[1] = file._replace(name=name, parent=directory)

    def grow_table(self) -> None:
        """Use a descriptor so high that the table must grow. Raises OSError where RLIMIT_NOFILE leaves no room."""
        file, room = self.files[0], table_size(threading.get_native_id())
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        wanted = 2 * room + 100
        high = fcntl.fcntl(file.fd, fcntl.F_DUPFD_CLOEXEC, wanted if limit < 0 else min(wanted, limit - 1))
        self.files[0] = file._replace(references=file.references + 1, duplicates=(*file.duplicates, high))

    def handles(self) -> Dict[int, bytes]:
        """The handles of the files (name_to_handle_at) by descriptor, of those that have one."""
        found = {}
        for file in self.files:
            with contextlib.suppress(OSError):
                found[file.fd] = syscalls.file_handle(file.fd)
        return found
