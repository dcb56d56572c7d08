"""A file is what its path was when it was opened; what became of the name is asked of the kernel in the end.

What is expected is what the script does, by rename(2), unlink(2), link(2) and d_path: no figure comes from iotrace.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

import pytest

from tests import needs

from .observe import path_of
from .traced import Traced, trace

pytestmark = needs.root

FORMS = pytest.mark.parametrize("form", ["raw", "perf"])


def names(found: Traced) -> Dict[str, Tuple[str, Any]]:
    """State and new name, relative to the script's directory, of every file there."""
    told = {}
    for name in found.names:
        file = found[name]
        renamed = file["renamed_to"]
        told[name] = (file["state"], renamed and str(Path(renamed).relative_to(found.place)))
    return told


def run(place: Path, form: str, text: str) -> Traced:
    return trace(place, text, ["--attach", form])


@FORMS
def test_written_under_one_name_and_read_under_another(place: Path, form: str) -> None:
    """As git does: what is written as X.lock and read as X are two files."""
    found = run(
        place,
        form,
        """
        fd = create("X"); os.write(fd, bytes(10)); os.close(fd)
        fd = create("X.lock"); os.write(fd, bytes(20)); os.close(fd)
        os.rename("X.lock", "X")
        fd = os.open("X", os.O_RDONLY); os.read(fd, 100); os.close(fd)
        """,
    )
    assert names(found) == {"X": ("present", None), "X.lock": ("deleted", "X")}
    assert (found["X.lock"]["bytes_written"], found["X"]["bytes_written"], found["X"]["bytes_read"]) == (20, 10, 20)
    assert (found["X"]["incarnations"], found["X.lock"]["deleted"], found["X"]["deleted"]) == (2, False, False)


@FORMS
@pytest.mark.parametrize("closed", [True, False])
def test_a_hundred_temporary_files_under_one_name(place: Path, form: str, closed: bool) -> None:
    """Each is renamed to the same path, which each replaces, before it is closed or after."""
    found = run(
        place,
        form,
        f"""
        for size in range(1, 101):
            fd = create("X.lock"); os.write(fd, bytes(size))
            if {closed}:
                os.close(fd)
            os.rename("X.lock", "X")
            if not {closed}:
                os.close(fd)
        fd = create("a.tmp"); os.write(fd, bytes(1)); os.close(fd); os.rename("a.tmp", "a")
        fd = create("a.tmp"); os.write(fd, bytes(2)); os.close(fd); os.rename("a.tmp", "b")
        fd = create("c.tmp"); os.write(fd, bytes(4)); os.close(fd); os.rename("c.tmp", "c")
        fd = create("c.tmp"); os.write(fd, bytes(8)); os.close(fd)
        """,
    )
    ends = {
        name: (found[name]["incarnations"], found[name]["renamed_to"], found[name]["ended_as"]) for name in found.names
    }
    assert ends == {
        "X.lock": (100, str(place / "X"), str(place / "X")),
        "a.tmp": (2, str(place / "b"), None),
        "c.tmp": (2, None, None),
    }
    assert found["X.lock"]["bytes_written"] == 5050


@FORMS
def test_a_description_keeps_the_path_it_was_opened_by(place: Path, form: str) -> None:
    """As a log that is rotated, whose writer does not reopen it."""
    found = run(
        place,
        form,
        """
        fd = create("log"); os.write(fd, bytes(10))
        os.rename("log", "log.1"); os.write(fd, bytes(20))
        other = create("log"); os.write(other, bytes(40))
        os.write(fd, bytes(80))
        """,
    )
    assert found.names == ["log"] and found["log"]["bytes_written"] == 150
    assert (found["log"]["incarnations"], found["log"]["state"], found["log"]["renamed_to"]) == (2, "present", None)


@FORMS
def test_a_rename_between_two_links_of_one_inode_does_nothing(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        fd = create("a"); os.write(fd, bytes(10)); os.close(fd)
        os.link("a", "b")
        for name in "ab":
            fd = os.open(name, os.O_RDONLY); os.read(fd, 5); os.close(fd)
        os.rename("a", "b")
        for name in "ab":
            fd = os.open(name, os.O_RDONLY); os.read(fd, 5); os.close(fd)
        """,
    )
    assert names(found) == {"a": ("present", None), "b": ("present", None)}
    assert (found["a"]["bytes_read"], found["b"]["bytes_read"]) == (10, 10)


@FORMS
@pytest.mark.parametrize("below", ["b", "/".join("bcdefghijklmn")])
def test_a_renamed_directory(place: Path, form: str, below: str) -> None:
    """The file itself has not been touched, but its path is another one."""
    found = run(
        place,
        form,
        f"""
        os.makedirs("a/{below}")
        fd = create("a/{below}/f"); os.write(fd, bytes(1)); os.close(fd)
        os.rename("a", "c")
        fd = create("c/{below}/f"); os.write(fd, bytes(2)); os.close(fd)
        os.rename("c", "a")
        fd = create("a/{below}/f"); os.write(fd, bytes(4)); os.close(fd)
        """,
    )
    before, after = f"a/{below}/f", f"c/{below}/f"
    assert names(found) == {before: ("present", None), after: ("deleted", before)}
    assert (found[before]["bytes_written"], found[after]["bytes_written"]) == (5, 2)
    assert found[before]["incarnations"] == 1


@FORMS
def test_names_that_are_used_again(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        fd = create("b"); os.write(fd, bytes(10)); os.close(fd)
        for _ in range(2):
            os.link("b", "a"); fd = os.open("a", os.O_RDONLY); os.read(fd, 10); os.close(fd); os.unlink("a")
        os.link("b", "a")
        fd = create("gone"); os.write(fd, bytes(1)); os.close(fd); os.unlink("gone")
        fd = create("other"); os.write(fd, bytes(1)); os.close(fd); os.unlink("other"); os.mkdir("other")
        """,
    )
    expected = {"a": ("present", None), "b": ("present", None), "gone": ("deleted", None), "other": ("replaced", None)}
    assert names(found) == expected
    assert [found[name]["deleted"] for name in ("a", "b", "gone", "other")] == [False, False, True, False]


@FORMS
@pytest.mark.parametrize("overlay", [False, True])
def test_created_again_under_the_same_name(place: Path, form: str, overlay: bool) -> None:
    """Neither rewrites nor the bytes between syncs span two files, also where inodes have no generations."""
    found = run(
        place,
        form,
        f"""
        if {overlay}:
            for name in ("lower", "upper", "work", "d"):
                os.mkdir(name)
            options = b"lowerdir=lower,upperdir=upper,workdir=work"
            if libc.mount(b"overlay", b"d", b"overlay", 0, options) != 0:
                lacks("overlayfs")
        else:
            os.mkdir("d")
        fd = create("d/r"); os.write(fd, bytes(100)); os.close(fd)
        os.unlink("d/r")
        fd = create("d/r"); os.write(fd, bytes(50)); os.fsync(fd); os.close(fd)
        if {overlay}:
            libc.umount2(b"d", 2)
        """,
    )
    if found.lacks:
        needs.impossible(found.lacks)
    file = found["d/r"]
    assert (file["incarnations"], file["rewrites"], file["bytes_between_syncs"]) == (2, 0, {"32": 1})
    assert (file["bytes_synced"], file["bytes_unsynced"]) == (50, 100)


@FORMS
def test_empty_at_an_open_but_not_created_by_it(place: Path, form: str) -> None:
    """By two opens that were to create it if need be; and by one that cuts off what was written."""
    found = run(
        place,
        form,
        """
        fd, other = create("twice"), create("twice")
        os.write(fd, bytes(100)); os.pwrite(other, bytes(200), 0); os.fsync(fd)
        for size in (10, 20):
            fd = create("cut", flags=RW | os.O_TRUNC); os.write(fd, bytes(size)); os.close(fd)
        os.unlink("cut")
        fd = create("cut", flags=RW | os.O_TRUNC); os.write(fd, bytes(40)); os.close(fd)
        """,
    )
    twice, cut = found["twice"], found["cut"]
    assert (twice["incarnations"], twice["rewrites"], twice["bytes_between_syncs"]) == (1, 1, {"256": 1})
    assert (cut["incarnations"], cut["rewrites"], cut["bytes_written"], cut["state"]) == (2, 1, 70, "present")


@FORMS
def test_in_a_namespace_that_has_gone(place: Path, form: str) -> None:
    """Through a symbolic link, in a mount namespace that ends with its process: known at once, not in the end."""
    found = run(
        place,
        form,
        """
        os.mkdir("real"); os.symlink("real", "link")
        def container():
            assert libc.unshare(0x00020000) == 0
            for name, size in (("x", 1), ("y", 2)):
                fd = create("link/" + name); os.write(fd, bytes(size)); os.close(fd)
            os.unlink("link/x"); os.rename("link/y", "link/z")
        child(container)
        """,
    )
    assert (found["real/x"]["deleted"], found["real/x"]["renamed_to"]) == (True, None)
    assert found["real/y"]["renamed_to"] == str(found.place / "real/z") and not found["real/y"]["deleted"]


@FORMS
def test_a_temporary_file_counts_from_when_it_has_a_name(place: Path, form: str) -> None:
    found = run(
        place,
        form,
        """
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o644)
        os.write(fd, bytes(100))
        assert libc.linkat(fd, b"", -100, b"f", 0x1000) == 0
        os.write(fd, bytes(200)); os.fsync(fd)
        other = os.open("f", os.O_RDONLY)
        assert len(os.read(other, 1000)) == 300
        """,
    )
    assert found.names == ["f"]
    assert (found["f"]["bytes_written"], found["f"]["bytes_read"], found["f"]["bytes_synced"]) == (200, 300, 200)


@FORMS
def test_a_file_that_no_path_leads_to_is_not_the_one_whose_path_is_the_same(place: Path, form: str) -> None:
    """A mount that was detached while a file on it is open: its path from the mount's root exists elsewhere."""
    found = run(
        place,
        form,
        """
        os.mkdir("m")
        if libc.mount(b"none", b"m", b"tmpfs", 0, None) != 0:
            lacks("tmpfs")
        os.makedirs("m" + os.getcwd())
        fd = create("m" + os.getcwd() + "/f")
        assert libc.umount2(b"m", 2) == 0
        hidden = os.dup(fd)
        real = create("f"); os.write(real, bytes(3))
        proxy = os.open(f"/proc/self/fd/{hidden}", os.O_WRONLY)
        os.write(proxy, bytes(7))
        """,
    )
    files = [file for file in found.document["files"] if path_of(file).endswith(b"/f")]
    reachable = [file["bytes_written"] for file in files if not file["unreachable"]]
    assert sorted(reachable) == [0, 3]  # it was opened when a path led to it, and only then written to
    assert [file["bytes_written"] for file in files if file["unreachable"]] == [7]


@FORMS
@needs.programs("mkfs.ext4", "mount")
def test_a_file_by_its_handle_before_and_after_a_path_leads_to_it(place: Path, form: str) -> None:
    """As a server of NFS opens it: on a file system that was just mounted, the kernel knows of no directory above."""
    found = run(
        place,
        form,
        """
        import subprocess
        def sh(*words):
            if subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
                lacks(" ".join(words))
        with open("image", "wb") as image:
            image.truncate(4 << 20)
        sh("mkfs.ext4", "-q", "image")
        os.mkdir("m"); sh("mount", "-o", "loop", "image", "m")
        os.makedirs("m/d/e"); fd = create("m/d/e/f"); os.write(fd, bytes(50)); os.close(fd)
        handle = (ctypes.c_char * 136)(128)  # struct file_handle: room for 128 bytes
        assert libc.name_to_handle_at(-100, b"m/d/e/f", handle, ctypes.byref(ctypes.c_int()), 0) == 0
        sh("umount", "m"); sh("mount", "-o", "loop", "image", "m")
        at = os.open("m", os.O_RDONLY)
        def read(size):
            fd = libc.open_by_handle_at(at, handle, os.O_RDONLY)
            assert len(os.read(fd, size)) == size
            return os.readlink(f"/proc/self/fd/{fd}")
        nowhere = read(40)
        os.stat("m/d/e/f")
        say([nowhere, read(20)])
        os.close(at); sh("umount", "-l", "m")
        """,
    )
    if found.lacks:
        needs.impossible(found.lacks)
    assert found.said == ["/", str(place / "m/d/e/f")]
    assert (found["m/d/e/f"]["bytes_written"], found["m/d/e/f"]["bytes_read"]) == (50, 20)
    (nowhere,) = [file for file in found.document["files"] if file["unreachable"]]
    assert (nowhere["bytes_read"], nowhere["inode"]) == (40, found["m/d/e/f"]["inode"])


def test_selected_by_the_name_it_is_given(place: Path) -> None:
    """`--path` finds what was written under a temporary name."""
    found = trace(
        place,
        """
        for name in ("a.gz", "b.txt"):
            fd = create(".tmp"); os.write(fd, bytes(9)); os.close(fd); os.rename(".tmp", name)
        fd = create("c.gz.part"); os.write(fd, bytes(5)); os.close(fd); os.rename("c.gz.part", "c.gz")
        """,
        ["--path", "*.gz"],
    )
    assert {name: found[name]["bytes_written"] for name in found.names} == {".tmp": 9, "c.gz.part": 5}
