"""Names across mounts and mount namespaces that change.

What is expected is what each script does, by rename(2), mount(2) and their like: no figure comes from iotrace.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from tests import needs

from .naming import fates, run
from .observe import path_of

pytestmark = needs.root

FORMS = pytest.mark.parametrize("form", ["raw", "perf"])


@FORMS
def test_what_is_mounted_over_a_file_is_another_file(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        os.mkdir("d"); os.mkdir("e"); put("f", 1); put("d/g", 2); put("other", 4); put("e/g", 8); put("d/gone", 16)
        mount(b"other", b"f", None, BIND)
        mount(b"e", b"d", None, BIND)
        get("d/g", 8)
        libc.umount2(b"d", DETACH)
        mount(b"e", b"d", None, BIND)
        """,
    )
    try:
        told = fates(found)
    finally:
        for name in ("f", "d"):
            _umount(place / name)
    assert told == {
        "f": ("replaced", None, 1, 0),
        "d/g": ("present", None, 2, 8),
        "d/gone": ("deleted", None, 16, 0),
        "other": ("present", None, 4, 0),
        "e/g": ("present", None, 8, 0),
    }
    assert (found["f"]["incarnations"], found["d/g"]["incarnations"]) == (1, 2)


def _umount(path: Path) -> None:
    ctypes.CDLL(None).umount2(bytes(path), 2)


@FORMS
def test_a_mount_that_is_moved(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        def work():
            private()
            os.mkdir("m"); os.mkdir("n")
            mount(b"none", b"m", b"tmpfs")
            fd = create("m/f"); os.write(fd, bytes(1))
            mount(b"m", b"n", None, MOVE)
            os.write(fd, bytes(2)); os.close(fd)
            get("n/f", 3)
            libc.umount2(b"n", DETACH)
        child(work)
        """,
    )
    told = {name: (found[name]["bytes_written"], found[name]["bytes_read"]) for name in found.names}
    assert told == {"m/f": (3, 0), "n/f": (0, 3)}
    assert found["m/f"]["renamed_to"] == str(place / "n/f")


@FORMS
def test_a_file_on_a_mount_that_is_detached_while_it_is_open(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        def work():
            private()
            os.mkdir("m")
            mount(b"none", b"m", b"tmpfs")
            fd = create("m/f"); os.write(fd, bytes(1))
            libc.umount2(b"m", DETACH)
            put("m/f", 16)
            os.write(fd, bytes(2)); os.lseek(fd, 0, 0); assert len(os.read(fd, 10)) == 3; os.close(fd)
        child(work)
        """,
    )
    # One path, and two files: it leads to the second.
    assert (found["m/f"]["bytes_written"], found["m/f"]["bytes_read"], found["m/f"]["incarnations"]) == (19, 3, 2)


@FORMS
def test_files_on_mounts_that_are_nowhere(place: Path, form: str) -> None:
    """A copy of a mount (open_tree), and a file system that is mounted nowhere yet (fsmount): 5.2."""
    found = run(
        place,
        form,
        """
        def mounted(*arguments):
            number = libc.syscall(*arguments)
            if number < 0:
                lacks(f"system call {arguments[0]}")
            return number
        def work():
            private(); os.mkdir("m"); put("f", 1)
            tree = mounted(428, AT, os.getcwd().encode(), 1)
            fd = os.open("f", os.O_WRONLY, dir_fd=tree); os.write(fd, bytes(2)); os.close(fd)
            context = mounted(430, b"tmpfs", 0); mounted(431, context, 6, None, None, 0)
            root = mounted(432, context, 0, 0)
            fd = os.open("f", RW, dir_fd=root); os.write(fd, bytes(4)); os.close(fd)
            mounted(429, root, b"", AT, b"m", 4)
            fd = os.open("f", os.O_WRONLY, dir_fd=root); os.write(fd, bytes(8)); os.close(fd)
        child(work)
        """,
    )
    assert {name: found[name]["bytes_written"] for name in found.names} == {"f": 1, "m/f": 8}
    nowhere = [file for file in found.document["files"] if file["unreachable"]]
    assert sorted((file["fstype"] == "tmpfs", file["bytes_written"]) for file in nowhere) == [(False, 2), (True, 4)]


@FORMS
def test_two_bind_mounts_of_one_file_are_two_files(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        def work():
            private()
            put("f", 1); create("g"); create("h")
            mount(b"f", b"g", None, BIND); mount(b"f", b"h", None, BIND)
            for name, size in (("f", 10), ("g", 20), ("h", 40)):
                fd = os.open(name, os.O_WRONLY); os.write(fd, bytes(size)); os.close(fd)
        child(work)
        """,
    )
    assert {name: found[name]["bytes_written"] for name in found.names} == {"f": 11, "g": 20, "h": 40}
    assert found["f"]["inode"] != found["g"]["inode"] or found["g"]["incarnations"] == 2


@FORMS
def test_a_file_that_is_copied_up(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        for name in ("lower", "upper", "work", "o"):
            os.mkdir(name)
        for name in ("kept", "changed", "gone", "moved"):
            put("lower/" + name, 100)
        def work():
            private()
            mount(b"overlay", b"o", b"overlay", 0, b"lowerdir=lower,upperdir=upper,workdir=work")
            for name in ("kept", "changed", "gone", "moved"):
                get("o/" + name, 100)
            put("o/changed", 7); get("o/changed", 50)
            os.unlink("o/gone"); os.rename("o/moved", "o/moved2")
            get("o/moved2", 10)
        child(work)
        """,
    )
    told = {name: (found[name]["bytes_written"], found[name]["bytes_read"]) for name in found.names}
    below = {f"lower/{name}": (100, 0) for name in ("kept", "changed", "gone", "moved")}
    assert told == {
        **below,
        "o/kept": (0, 100),
        "o/changed": (7, 150),
        "o/gone": (0, 100),
        "o/moved": (0, 100),
        "o/moved2": (0, 10),
    }
    assert found["o/changed"]["incarnations"] == 1 and found["o/gone"]["deleted"]
    assert found["o/moved"]["renamed_to"] == str(place / "o/moved2")


@FORMS
def test_namespaces_that_change_in_the_middle(place: Path, form: str) -> None:
    """A user namespace, and a thread that leaves its mount namespace and comes back."""
    found = run(
        place,
        form,
        """
        own = os.open("/proc/self/ns/mnt", os.O_RDONLY)
        first = os.stat("/proc/self/ns/mnt").st_ino
        seen = []
        def thread():
            assert libc.unshare(FS | NEWNS) == 0
            seen.append(os.stat("/proc/thread-self/ns/mnt").st_ino)
            put("f", 2)
            if libc.setns(own, NEWNS) != 0:
                lacks("setns")
            os.chdir(place)
            put("f", 4)
        place = os.getcwd()
        put("f", 1)
        worker = threading.Thread(target=thread); worker.start(); worker.join()
        put("f", 8)
        def user():
            if libc.unshare(NEWUSER | NEWNS) != 0:
                lacks("user namespaces")
            inner = os.stat("/proc/self/ns/mnt").st_ino
            put("u", 16)
            os.rename("u", "v")
            with open("inner", "w") as stream:
                stream.write(str(inner))
        os.chmod(".", 0o777)
        child(user)
        say([first, *seen, int(open("inner").read())])
        """,
    )
    first, second, third = found.said
    sizes = {
        file["mnt_ns"]: file["bytes_written"] for file in found.document["files"] if path_of(file) == bytes(place / "f")
    }
    assert sizes == {first: 13, second: 2}
    assert (found["u"]["mnt_ns"], found["u"]["renamed_to"]) == (third, str(place / "v"))
