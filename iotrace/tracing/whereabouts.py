"""What a path leads to now, in a mount namespace that need not be ours, without ever waiting for it indefinitely.

Whoever is traced chooses the paths. One may lead through a file system that never answers (an NFS server that has
gone, a FUSE process that sleeps), and whoever opens it may then wait for ever in a state that only SIGKILL ends. So
iotrace opens no such path itself: a child process does, in the path's own mount namespace, with O_PATH (nothing is
read, no driver hears of it), and passes the descriptors back over a socket. A child that does not answer in time is
killed and left behind: what the path that it was at leads to is unknown, and after a few of those so it is for the
rest of that namespace.

The descriptors identify the files: the kernel's own numbers can be asked of them, where stat(2) may show others.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import functools
import mmap
import os
import select
import signal
import socket
import struct
import time
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set

from iotrace.tracing.mounts import Mounts

BATCH = 64  # paths a message; SCM_RIGHTS takes 253 descriptors (SCM_MAX_FD)
_BATCH_BYTES = 1 << 16  # of paths: a message has to fit the socket's buffer
_STUCK = 3  # children that a namespace may cost
_TRIES = 3  # at entering one
_STARVED = 5  # times the patience for a child that gets no CPU
_NEAR_PATH_MAX = 4000  # what one open is given: PATH_MAX is 4,096
_CLONE_NEWNS = 0x20000
_PR_SET_PDEATHSIG = 1

_COUNT = struct.Struct("<I")
_ANSWER = struct.Struct("<iQ")  # errno or 0, st_dev
_PROGRESS = struct.Struct("<I")  # in shared memory: the path of the batch that the child is at


class Answer(NamedTuple):
    """What a path leads to."""

    error: Optional[int]  # 0: `descriptor` refers to it; an errno; None: nobody can tell
    descriptor: int = -1  # O_PATH; closed when the next batch is asked for
    device: int = 0  # st_dev, where devices were asked for

    @property
    def absent(self) -> bool:
        """Whether the path leads to nothing."""
        return self.error in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


UNKNOWN = Answer(None)
_refused = functools.lru_cache(maxsize=64)(Answer)  # most answers are one of few


class Whereabouts:
    """Asks for paths; a context manager. `seconds` bounds all of it, `patience` the wait for one path."""

    def __init__(
        self,
        *,
        seconds: float = 10.0,
        patience: float = 1.0,
        exempt: Callable[[int], None] = lambda _pid: None,
        stuck: Optional[Dict[int, int]] = None,
    ) -> None:
        """`exempt` is called with the number of each child before it opens anything, so that it is not traced.

        `stuck` has the children that had to be left behind, by their mount namespace, for those who ask more than once.
        """
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._patience = patience
        self._exempt = exempt
        self._stuck: Dict[int, int] = {} if stuck is None else stuck
        self._closed: Set[int] = set()  # namespaces that nobody is in, or that cannot be entered
        self._members: Dict[int, int] = {}  # mount namespace -> a process that is in it
        self._child: Optional[_Child] = None

    def __enter__(self) -> Whereabouts:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child that is left."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def renew(self) -> None:
        """Begin anew, with the child that is left."""
        self._deadline = time.monotonic() + self._seconds
        self._closed.clear()
        self._members.clear()

    def ask(self, mnt_ns: int, paths: Sequence[bytes], *, devices: bool = False) -> Iterator[List[Answer]]:
        """Answers for absolute paths of the mount namespace with that inode number, in their order, in batches."""
        for batch in _batches(paths):
            answers = self._ask(mnt_ns, batch, devices)
            try:
                yield answers
            finally:
                for answer in answers:
                    if answer.descriptor >= 0:
                        os.close(answer.descriptor)

    def _ask(self, mnt_ns: int, paths: Sequence[bytes], devices: bool) -> List[Answer]:
        answers: List[Answer] = []
        while len(answers) < len(paths):
            child = self._child_in(mnt_ns)
            if child is None:
                answers += [UNKNOWN] * (len(paths) - len(answers))
                break
            left = paths[len(answers) :]
            patience = min(self._patience, self._deadline - time.monotonic())
            found = child.ask(left, devices, patience)
            if found is not None:
                answers += found
                continue
            # The paths before the one that it hangs on did answer, and will again.
            self._leave(mnt_ns)
            good = child.progress
            if good:
                answers += self._ask(mnt_ns, left[:good], devices)
            answers.append(UNKNOWN)
        return answers

    def _leave(self, mnt_ns: int) -> None:
        """Leave a child behind that does not answer."""
        self._stuck[mnt_ns] = self._stuck.get(mnt_ns, 0) + 1
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _child_in(self, mnt_ns: int) -> Optional[_Child]:
        """A child that is in that namespace; None if no more may be started."""
        if self._stuck.get(mnt_ns, 0) >= _STUCK or mnt_ns in self._closed or time.monotonic() >= self._deadline:
            return None
        if self._child is not None and self._child.mnt_ns != mnt_ns:
            self.close()
        if self._child is None:
            for _try in range(_TRIES):  # whoever was found there may be gone by the time
                pid = self._somebody_in(mnt_ns)
                if pid is None:
                    break
                child = _Child(mnt_ns, pid, self._exempt)
                if child.entered(min(self._patience, self._deadline - time.monotonic())):
                    self._child = child
                    return child
                child.kill()
                if _namespace_of(pid) == mnt_ns:
                    break
            self._closed.add(mnt_ns)
        return self._child

    def mounts(self, mnt_ns: int) -> Mounts:
        """What is mounted in the namespace."""
        own = os.getpid()
        return Mounts(own if _namespace_of(own) == mnt_ns else self._somebody_in(mnt_ns))

    def _somebody_in(self, mnt_ns: int) -> Optional[int]:
        """A process that is in a mount namespace, this one before others.

        /proc is searched once, and again where somebody who was found there has gone: there may be thousands of
        namespaces, most of which nobody is in any more.
        """
        pid = self._members.get(mnt_ns)
        if not self._members or (pid is not None and _namespace_of(pid) != mnt_ns):
            everybody = sorted((int(entry) for entry in os.listdir("/proc") if entry.isdigit()), reverse=True)
            spaces = ((_namespace_of(number), number) for number in [*everybody, os.getpid()])  # the oldest go last
            self._members = {space: number for space, number in spaces if space is not None}
        return self._members.get(mnt_ns)


def _batches(paths: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    start = size = 0
    for at, path in enumerate(paths):
        if at - start == BATCH or size + len(path) > _BATCH_BYTES:
            yield paths[start:at]
            start, size = at, 0
        size += len(path)
    if start < len(paths):
        yield paths[start:]


def _namespace_of(pid: int) -> Optional[int]:
    with contextlib.suppress(OSError):
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino
    return None


# -- the child ---------------------------------------------------------------------------------------------------------


class _Child:
    """A process that opens paths, and the socket to it."""

    def __init__(self, mnt_ns: int, pid: int, exempt: Callable[[int], None]) -> None:
        self.mnt_ns = mnt_ns
        self._memory = mmap.mmap(-1, _PROGRESS.size)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            _serve(theirs.fileno(), self._memory, mnt_ns, pid)
        theirs.close()
        exempt(self.pid)

    @property
    def progress(self) -> int:
        """How many paths of the batch it has dealt with."""
        number: int = _PROGRESS.unpack(self._memory[: _PROGRESS.size])[0]
        return number

    def entered(self, patience: float) -> bool:
        """Have it enter the namespace; whether it could."""
        return self._exchange([b"enter"], patience, 1) is not None

    def ask(self, paths: Sequence[bytes], devices: bool, patience: float) -> Optional[List[Answer]]:
        """Answers, or None if it hangs on the path at `progress`."""
        _PROGRESS.pack_into(self._memory, 0, 0)
        lengths = b"".join(_COUNT.pack(len(path)) for path in paths)
        return self._exchange([_COUNT.pack(devices), _COUNT.pack(len(paths)), lengths, *paths], patience, len(paths))

    def _exchange(self, message: List[bytes], patience: float, count: int) -> Optional[List[Answer]]:
        """Patience is for each path, as long as it goes on from one to the next, and more where it waits for a CPU."""
        try:
            self._socket.sendmsg(message)
            at, starved = -1, 0
            while not select.select([self._socket], [], [], max(patience, 0))[0]:
                starved = starved + 1 if self.progress == at else 0
                if patience <= 0 or (starved and not self._wants_to_run()) or starved > _STARVED:
                    return None
                at = self.progress
            room = socket.CMSG_SPACE(BATCH * array.array("i").itemsize)
            raw, ancillary, _flags, _address = self._socket.recvmsg(count * _ANSWER.size, room, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return None
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        answers = list(_ANSWER.iter_unpack(raw)) if len(raw) == count * _ANSWER.size else []
        if not answers or sum(error == 0 for error, _ in answers) != len(descriptors):
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        following = iter(descriptors)
        return [_refused(error) if error else Answer(error, next(following), device) for error, device in answers]

    def _wants_to_run(self) -> bool:
        """Whether it waits for nothing but a CPU, on a host that has too few of them."""
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/stat", "rb") as status:
            return status.read().rpartition(b")")[2].split()[0] == b"R"
        return False

    def end(self) -> None:
        """Have it exit, which it does when the socket closes."""
        self._socket.close()
        self._memory.close()
        os.waitpid(self.pid, 0)

    def kill(self) -> None:
        """Kill it. It may not be able to die yet: init reaps it then, when this process has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._socket.close()
        for _ in range(20):
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return
            time.sleep(0.005)


def _serve(connection: int, memory: mmap.mmap, mnt_ns: int, pid: int) -> None:
    """In the child: answer until the socket closes. It shares nothing with iotrace that would outlive it."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.setsid()  # no signal of the terminal
        _keep_only(connection)
        with socket.socket(fileno=connection) as channel:
            if channel.recv(16) != b"enter" or not _enter(libc, mnt_ns, pid):
                return
            # An answer without a descriptor: what matters is that there is one.
            channel.send(_ANSWER.pack(errno.EAGAIN, 0))
            while True:
                request = channel.recv(_BATCH_BYTES + (BATCH + 2) * _COUNT.size + _NEAR_PATH_MAX)
                if not request:
                    return
                _answer(channel, memory, request)
    except (OSError, ValueError):
        pass
    finally:
        os._exit(0)


def _keep_only(connection: int) -> None:
    """Close everything else: a program in the kernel must not stay because this process cannot die."""
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) != connection:
            with contextlib.suppress(OSError):
                os.close(int(entry))


def _enter(libc: ctypes.CDLL, mnt_ns: int, pid: int) -> bool:
    """Enter the mount namespace of a process, at its root; whether this process is there."""
    own = _namespace_of(os.getpid()) == mnt_ns
    try:
        namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return own
    if os.fstat(namespace).st_ino != mnt_ns:  # the number belongs to another process by now
        return own
    return libc.setns(namespace, _CLONE_NEWNS) == 0 or own


def _answer(channel: socket.socket, memory: mmap.mmap, request: bytes) -> None:
    devices, count = _COUNT.unpack_from(request, 0)[0], _COUNT.unpack_from(request, 4)[0]
    at = (2 + count) * _COUNT.size
    answers, descriptors = bytearray(), array.array("i")
    for number in range(count):
        _PROGRESS.pack_into(memory, 0, number)
        (length,) = _COUNT.unpack_from(request, (2 + number) * _COUNT.size)
        try:
            descriptor = _open(request[at : at + length])
            descriptors.append(descriptor)
            answers += _ANSWER.pack(0, _device(descriptor) if devices else 0)
        except OSError as error:
            answers += _ANSWER.pack(error.errno or errno.EIO, 0)
        at += length
    _PROGRESS.pack_into(memory, 0, count)
    channel.sendmsg([bytes(answers)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)] if descriptors else [])
    for descriptor in descriptors:
        os.close(descriptor)


def _device(descriptor: int) -> int:
    """st_dev, 0 if the file system does not say."""
    with contextlib.suppress(OSError):
        return os.fstat(descriptor).st_dev
    return 0


def _open(path: bytes) -> int:
    """An O_PATH descriptor; a path beyond PATH_MAX is opened piece by piece."""
    directory: Optional[int] = None
    try:
        while len(path) > _NEAR_PATH_MAX:
            head, _, tail = path[:_NEAR_PATH_MAX].rpartition(b"/")
            path = tail + path[_NEAR_PATH_MAX:]
            deeper = os.open(head or b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
            if directory is not None:
                os.close(directory)
            directory = deeper
        return os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
    finally:
        if directory is not None:
            os.close(directory)
