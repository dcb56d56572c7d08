"""Names: what iotrace calls a file is what /proc/PID/fd says while the file is open, and in which mount namespace.

Every mount is made in a mount namespace that dies with the script.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest

from tests import needs

from .observe import path_of
from .traced import Traced, trace

pytestmark = needs.root

# touch() writes 10 bytes and notes what the kernel calls the file; apart() does things in a child and keeps its notes.
NAMES = '''
import traceback
notes = []
def note(fd, pid="self"):
    notes.append([os.readlink(f"/proc/{pid}/fd/{fd}".encode()).hex(), os.readlink(f"/proc/{pid}/ns/mnt")])
def touch(path):
    fd = os.open(path, RW, 0o644)
    os.write(fd, bytes(10))
    note(fd)
    return fd
def apart(function):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            notes.clear()
            function()
            os.write(writer, json.dumps(notes).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    os.close(writer)
    told = b""
    while True:
        piece = os.read(reader, 65536)
        if not piece:
            break
        told += piece
    assert os.waitpid(pid, 0)[1] == 0
    notes.extend(json.loads(told))
def mount(source, target, kind, flags=0, data=None):
    if libc.mount(source, target, kind, ctypes.c_ulong(flags), data) != 0:
        raise OSError(ctypes.get_errno(), f"mount {kind} on {target}")
def private():
    """A mount namespace of one's own."""
    assert libc.unshare(0x00020000) == 0
    mount(b"none", b"/", None, 1 << 14 | 1 << 18)  # MS_REC | MS_PRIVATE
BIND = 4096
here = os.getcwdb()
'''


def run(place: Path, text: str, options: Sequence[str] = ()) -> Traced:
    """Run the script; every note it took must be one file, with ten bytes written for each time it was noted."""
    lines = text.splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    body = "\n".join(line[indent:] for line in lines)
    found = trace(place, NAMES + body + "\nsay(notes)\n", options)
    expected: Dict[Any, int] = {}
    for name, namespace in found.said:
        key = (bytes.fromhex(name), namespace)
        expected[key] = expected.get(key, 0) + 10
    reported: Dict[Any, List[int]] = {}
    for file in found.document["files"]:
        reported.setdefault((path_of(file), f"mnt:[{file['mnt_ns']}]"), []).append(file["bytes_written"])
    assert {key: reported.get(key) for key in expected} == {key: [size] for key, size in expected.items()}
    assert expected, "the script noted nothing"
    return found


def test_ways_to_one_file(place: Path) -> None:
    found = run(
        place,
        """
        os.makedirs("a/b/c")
        os.symlink("a/b", "link")
        for path in ("a/b/c/file", "./a/../a/b//c/file", "link/c/file", here + b"/link/../b/c/file"):
            touch(path)
        os.chdir("a/b")
        touch("c/file")
        touch("../../top")
        os.chdir(here)
        """,
    )
    assert found.names == ["a/b/c/file", "top"]


@pytest.mark.parametrize(
    "name",
    [
        b"new\nline",
        b"escape\x1b[31mred",
        b"\xff\xfe\x80 not UTF-8",
        "\u202egnp.exe".encode(),
        b"x" * 255,
        b"\xc3" * 255,
        b" ",
        b"<b>&\"'\\",
        b"%s%n",
        b"not really (deleted)",
        b"=cmd()",
    ],
)
def test_hostile_names(place: Path, name: bytes) -> None:
    found = run(place, f"touch({name!r})")
    files = {path_of(file): file for file in found.document["files"]}
    assert not files[bytes(place) + b"/" + name]["deleted"]


@pytest.mark.parametrize("length", [1000, 2000, 4000, 4095])
def test_long_paths(place: Path, length: int) -> None:
    """Down by chdir, since no system call takes such a path.  4,095 bytes is the most that d_path(9) shows."""
    run(
        place,
        f"""
        left = {length} - len(here)
        while left > 300:
            os.mkdir("d" * 249); os.chdir("d" * 249)
            left -= 250
        if left > 200:
            os.mkdir("d" * 99); os.chdir("d" * 99)
            left -= 100
        fd = os.open("f" * (left - 1), RW, 0o644)
        os.write(fd, bytes(10))
        try:
            note(fd)
            assert len(os.readlink(f"/proc/self/fd/{{fd}}".encode())) == {length}
        except OSError as error:
            assert error.errno == errno.ENAMETOOLONG and {length} == 4095
            path = os.path.join(os.readlink(b"/proc/self/cwd"), b"f" * (left - 1))
            notes.append([path.hex(), os.readlink("/proc/self/ns/mnt")])
        os.chdir(here)
        """,
    )


@pytest.mark.parametrize("depth", [10, 40, 100, 500])
def test_deep_paths(place: Path, depth: int) -> None:
    run(
        place,
        f"""
        for level in range({depth}):
            os.mkdir("d"); os.chdir("d")
        touch("file")
        os.chdir(here)
        """,
    )


def test_hard_links_are_two_files(place: Path) -> None:
    found = run(place, 'touch("one"); os.link("one", "two"); touch("two")')
    assert found.names == ["one", "two"]
    assert found["one"]["inode"] == found["two"]["inode"]


def test_renamed_while_open(place: Path) -> None:
    found = run(
        place,
        """
        os.makedirs("dir/sub")
        fd, other = touch("first"), touch("dir/sub/inner")
        os.rename("first", "second")
        os.pwrite(fd, bytes(5), 0)
        os.rename("second", "third")
        os.pwrite(fd, bytes(5), 0)
        os.rename("dir", "moved")                 # a directory above it counts, too
        os.pwrite(other, bytes(7), 0)
        os.ftruncate(fd, 0)
        notes = [notes[0], notes[0], notes[1]]    # ten bytes more
        os.pwrite(other, bytes(3), 0)
        notes.append(notes[2])
        """,
    )
    names = {path: found[path]["renamed_to"] for path in ("first", "dir/sub/inner")}
    assert names == {"first": f"{place}/third", "dir/sub/inner": f"{place}/moved/sub/inner"}
    assert found.names == ["dir/sub/inner", "first"]
    assert not found["first"]["deleted"]


def test_deleted_while_open(place: Path) -> None:
    found = run(
        place,
        """
        fd, kept = touch("gone"), touch("kept")
        os.unlink("gone")
        os.write(fd, bytes(10))
        notes.append(notes[0])
        """,
    )
    assert (found["gone"]["deleted"], found["kept"]["deleted"]) == (True, False)


def test_processes_that_are_gone_at_once(place: Path) -> None:
    found = run(
        place,
        """
        for number in range(300):
            def work():
                fd = os.open(f"file {number}", RW, 0o644)
                os.write(fd, bytes(10))
                os.close(fd)
            pid = os.fork()
            if pid == 0:
                work()
                os._exit(0)
            os.waitpid(pid, 0)
            notes.append([(here + f"/file {number}".encode()).hex(), os.readlink("/proc/self/ns/mnt")])
        """,
    )
    assert len(found.names) == 300


def test_mounts_in_a_namespace_of_its_own(place: Path) -> None:
    found = run(
        place,
        """
        for name in ("source/sub", "bound", "tmpfs", "same"):
            os.makedirs(name)
        touch("same/file")
        def work():
            private()
            mount(b"source", b"bound", None, BIND)
            touch("bound/sub/file"); touch("source/sub/file")
            mount(b"tmpfs", b"tmpfs", b"tmpfs")
            os.makedirs("tmpfs/inner/deep")
            mount(b"tmpfs", b"tmpfs/inner", b"tmpfs")       # a mount in a mount
            os.mkdir("tmpfs/inner/deep")
            touch("tmpfs/outer"); touch("tmpfs/inner/deep/file")
            mount(b"tmpfs/inner/deep", b"bound/sub", None, BIND)
            touch("bound/sub/file2")                        # a directory of one mount, bound inside another
            touch("same/file")                              # the same path in two namespaces is two files
        apart(work)
        """,
    )
    same = [file for file in found.document["files"] if path_of(file) == bytes(place / "same/file")]
    assert len({file["mnt_ns"] for file in same}) == len(same) == 2
    assert {path_of(file): file["fstype"] for file in found.document["files"]}[bytes(place / "tmpfs/outer")] == "tmpfs"


def test_overlayfs(place: Path) -> None:
    found = run(
        place,
        """
        for name in ("lower/dir", "upper", "work", "merged"):
            os.makedirs(name)
        for name in ("lower/dir/read", "lower/dir/changed"):
            with open(name, "wb") as stream:
                stream.write(bytes(100))
        def work():
            private()
            try:
                mount(b"overlay", b"merged", b"overlay", 0, b"lowerdir=lower,upperdir=upper,workdir=work")
            except OSError:
                touch("no overlayfs")
                return
            os.read(os.open("merged/dir/read", os.O_RDONLY), 50)
            touch("merged/dir/changed")                     # copied up
            touch("merged/new")
        apart(work)
        """,
    )
    if "no overlayfs" in found.names:
        needs.impossible("this kernel has no overlayfs")
    assert found["merged/dir/read"]["bytes_read"] == 50
    assert {found[f"merged/{name}"]["fstype"] for name in ("dir/read", "dir/changed", "new")} == {"overlay"}


def test_chroot_is_named_from_the_root_of_the_namespace(place: Path) -> None:
    run(
        place,
        """
        os.makedirs("root/etc")
        ready, go = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            os.chroot("root")
            os.chdir("/")
            fd = os.open("/etc/file", RW, 0o644)
            os.write(fd, bytes(10))
            os.write(ready[1], bytes([fd]))
            os.read(go[0], 1)
            os._exit(0)
        fd = os.read(ready[0], 1)[0]
        note(fd, pid)                                       # asked from outside
        os.write(go[1], b"!")
        os.waitpid(pid, 0)
        """,
    )


def test_pivot_root_is_the_root_of_the_namespace(place: Path) -> None:
    """As a container does it: inside, the path starts at the new root."""
    found = run(
        place,
        """
        os.mkdir("root")
        def work():
            private()
            mount(b"tmpfs", b"root", b"tmpfs")
            for name in ("root/old", "root/proc", "root/etc"):
                os.mkdir(name)
            os.chdir("root")
            assert libc.pivot_root(b".", b"old") == 0
            os.chdir("/")
            mount(b"proc", b"/proc", b"proc")
            assert libc.umount2(b"/old", 2) == 0
            touch("/etc/file")
        apart(work)
        """,
    )
    assert b"/etc/file" in {path_of(file) for file in found.document["files"]}


def test_the_namespace_is_the_one_of_the_task(place: Path) -> None:
    """A descriptor opened outside and used inside a new namespace: the mount is still the one it was opened through."""
    found = run(place, 'apart(lambda: (private(), touch("inside"))); touch("outside")')
    assert found["inside"]["mnt_ns"] != found["outside"]["mnt_ns"]
