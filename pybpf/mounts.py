"""A file system mounted for this process alone: as a detached mount (5.2), or in the mount namespace of a child process
that hands a descriptor of its root back.

Nothing appears in the caller's namespace, and the mount is gone when the descriptor is closed.
"""

from __future__ import annotations

import array
import os
from typing import TYPE_CHECKING, List

from pybpf import syscalls

if TYPE_CHECKING:
    from socket import socket as Socket

__all__ = ["mount_in_child", "mount_privately"]

_CLONE_NEWNS = 0x00020000
_MS_REC_PRIVATE = 0x4000 | 0x40000


def mount_privately(filesystem: str) -> int:
    """Mount a file system that needs no device, and return a descriptor of its root, which is the caller's.

    Takes CAP_SYS_ADMIN. Raises OSError, whose text has the reasons.
    """
    reasons: List[str] = []
    for way in (syscalls.mount_detached, mount_in_child):
        try:
            return way(filesystem)
        except OSError as error:
            reasons.append(str(error))
    raise OSError("; ".join(reasons))


def mount_in_child(filesystem: str) -> int:
    """The same in the mount namespace of a child process, whose descriptor of the root is received from there.

    The descriptor keeps the mount alive when the child and its namespace are gone. Raises OSError.
    """
    import socket  # noqa: PLC0415 - it takes a while, and is seldom needed

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        child = os.fork()
        if child == 0:
            _serve_mount(theirs, filesystem)
        theirs.close()
        try:
            message, ancillary, _flags, _from = ours.recvmsg(256, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        finally:
            os.waitpid(child, 0)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return array.array("i", data[:4])[0]
    raise OSError(message.decode("utf-8", "replace") or "the mounting process died")


def _serve_mount(channel: Socket, filesystem: str) -> None:
    """The child's part: mount, send the root's descriptor or the error's text, and leave without Python's exit."""
    import socket  # noqa: PLC0415

    try:
        # Any directory will do but one that may hold such a file system already, which is EBUSY.
        target = next(path for path in ("/mnt", "/tmp", "/sys") if os.path.isdir(path))
        syscalls.unshare(_CLONE_NEWNS)
        syscalls.mount("none", "/", "", _MS_REC_PRIVATE)  # else the mount would propagate to the caller's namespace
        syscalls.mount(filesystem, target, filesystem, 0)
        fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        channel.sendmsg([b"ok"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    except BaseException as error:  # the child must not run on, whatever happens
        channel.send(str(error).encode()[:200])
    finally:
        os._exit(0)
