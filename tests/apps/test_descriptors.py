"""Descriptors that come about otherwise than by an open of their own: passed, inherited, copied, opened again.

What is expected is what each script does, by rename(2), mount(2) and their like: no figure comes from iotrace.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import needs

from .naming import fates, run

pytestmark = needs.root

FORMS = pytest.mark.parametrize("form", ["raw", "perf"])


@FORMS
def test_descriptors_that_others_have_opened(place: Path, form: str) -> None:
    """Each counts for the path that the file had at its first traced I/O: nobody saw the open."""
    found = run(
        place,
        form,
        """
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:                                            # is not traced
            ours.close()
            a, b = create("a"), create("b")
            os.rename("a", "a2")
            theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [a, b]))])
            theirs.send(bytes([a])); theirs.recv(1)
            os._exit(0)
        theirs.close()
        _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(8))
        a, b = array.array("i", ancillary[0][2])
        os.write(a, bytes(1)); os.write(b, bytes(2))
        number = ours.recv(1)[0]
        if hasattr(os, "pidfd_open"):
            taken = libc.syscall(438, os.pidfd_open(pid), number, 0)
        else:
            taken = -1
        if taken < 0:
            taken = os.dup(a)
        os.write(taken, bytes(4))                               # the same open file description
        os.close(taken); os.close(a); os.write(b, bytes(8))
        ours.send(b"x"); os.waitpid(pid, 0)
        """,
        "--no-follow",
    )
    assert fates(found) == {"a2": ("present", None, 5, 0), "b": ("present", None, 10, 0)}
    assert [found[name]["opens"] for name in ("a2", "b")] == [0, 0]
    assert found["a2"]["sequential_write"] == {"4": 1} and found["a2"]["closes"] == 2


@FORMS
def test_descriptors_that_are_opened_again(place: Path, form: str) -> None:
    """By /proc/self/fd, /dev/fd and O_PATH: a new description, of the path that the file has by then."""
    found = run(
        place,
        form,
        """
        fd = create("a"); os.write(fd, bytes(1))
        os.rename("a", "b")
        again = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY); os.write(again, bytes(2)); os.close(again)
        again = os.open(f"/dev/fd/{fd}", os.O_WRONLY); os.write(again, bytes(4)); os.close(again)
        os.rename("b", "c")
        path = os.open("c", os.O_PATH)
        os.rename("c", "d")
        again = os.open(f"/proc/self/fd/{path}", os.O_WRONLY); os.write(again, bytes(8)); os.close(again)
        os.write(fd, bytes(16))
        os.unlink("d")
        again = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY); os.write(again, bytes(32))
        """,
    )
    sizes = {name: found[name]["bytes_written"] for name in found.names}
    assert sizes == {"a": 17, "b": 6, "c": 0, "d": 40}
    assert [found[name]["rewrites"] for name in "abcd"] == [0, 1, 0, 1]  # both of b's, and of d's, begin at 0
    assert all(found[name]["state"] == "deleted" for name in "abcd")


@FORMS
def test_descriptors_that_outlive_exec(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        import subprocess
        fd = create("out"); os.set_inheritable(fd, True)
        os.rename("out", "out2")
        subprocess.run(["/bin/sh", "-c", "echo hello; exec /bin/sh -c 'echo world'"], stdout=fd, check=True)
        copy = os.dup(fd); os.write(copy, bytes(3)); os.close(fd); os.write(copy, bytes(4))
        """,
    )
    assert fates(found) == {"out": ("deleted", "out2", 19, 0)}
    assert found["out"]["sequential_write"] == {"16": 1}


@FORMS
@pytest.mark.parametrize("way", ["empty path", "proc"])
def test_a_temporary_file_that_is_named_and_renamed(place: Path, form: str, way: str) -> None:
    link = 'fd, b"", AT, b"f", EMPTY' if way == "empty path" else 'AT, b"/proc/self/fd/%d" % fd, AT, b"f", FOLLOW'
    found = run(
        place,
        form,
        f"""
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o644)
        os.write(fd, bytes(100))
        if libc.linkat({link}) != 0:
            lacks("linkat")
        os.write(fd, bytes(20))
        os.rename("f", "g")
        os.write(fd, bytes(3)); os.close(fd)
        get("g", 123)
        """,
    )
    assert fates(found) == {"f": ("deleted", "g", 23, 0), "g": ("present", None, 0, 123)}
