"""Which files are counted, and whose."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Sequence

import pytest

from tests import needs

from . import observe
from .compare import disagreements
from .observe import Command, iotrace
from .traced import Traced, data_calls, made, script, trace

pytestmark = needs.root


# --- which files ------------------------------------------------------------------------------------------------------


def test_every_kind_of_open(place: Path) -> None:
    file = trace(
        place,
        """
        import struct
        kinds = 0
        os.open("data", RW, 0o644); kinds += 1                            # openat
        libc.creat(b"data", 0o644); kinds += 1
        here = os.open(".", os.O_RDONLY)
        os.open("data", os.O_RDONLY, dir_fd=here); kinds += 1
        os.open("data", os.O_PATH); kinds += 1
        how = ctypes.create_string_buffer(struct.pack("QQQ", os.O_RDONLY, 0, 0))
        libc.syscall.argtypes = None
        if libc.syscall(L(437), ctypes.c_int(-100), b"data", how, L(24)) >= 0:  # openat2, new in 5.6
            kinds += 1
        handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
        mount = ctypes.c_int()
        if libc.name_to_handle_at(-100, b"data", handle, ctypes.byref(mount), 0) == 0:
            assert libc.open_by_handle_at(here, handle, os.O_RDONLY) >= 0
            kinds += 1
        os.dup(here)
        say(kinds)
        """,
    )
    assert file["data"]["opens"] == file["data"]["syscalls"]["open"]["calls"] == file.said >= 4
    assert file["data"]["closes"] == 0


def test_what_is_no_named_regular_file_is_not_counted(place: Path) -> None:
    found = trace(
        place,
        """
        import socket
        os.mkdir("directory"); os.mkfifo("fifo")
        pipe, pair = os.pipe(), socket.socketpair()
        fds = [os.open("fifo", os.O_RDWR), os.open("/dev/null", os.O_RDWR), os.open(".", os.O_TMPFILE | os.O_RDWR),
               os.memfd_create("memory"), pipe[1], pair[0].fileno()]
        for fd in fds:
            os.write(fd, bytes(8))
        for name in ("directory", "."):
            refused(errno.EISDIR, os.read, os.open(name, os.O_RDONLY), 10)
        os.read(os.open("/proc/self/stat", os.O_RDONLY), 10)
        os.read(os.open("/sys/kernel/mm/transparent_hugepage/enabled", os.O_RDONLY), 10)
        """,
    )
    assert found.names == []
    paths = {observe.path_of(file) for file in found.document["files"]}
    assert not [path for path in paths if path.startswith((b"/proc/", b"/sys/", b"/dev/", b"/memfd:"))]


def test_pseudo_files_on_request(place: Path) -> None:
    found = trace(place, 'os.read(os.open("/proc/self/stat", os.O_RDONLY), 10)', ["--include-pseudo"])
    files = [file for file in found.document["files"] if observe.path_of(file).endswith(b"/stat")]
    assert [data_calls(file) for file in files] == [{"read": made(1, 10, {8: 1})}]
    assert files[0]["fstype"] == "proc"


def test_mapped_files_are_marked(place: Path) -> None:
    found = trace(
        place,
        """
        fd = create("mapped", 4096)
        os.read(fd, 10)
        area = mmap.mmap(fd, 4096)
        area[0] = 1
        os.read(create("plain", 4096), 10)
        anonymous = mmap.mmap(-1, 4096)
        """,
    )
    assert (found["mapped"]["mapped"], found["plain"]["mapped"]) == (True, False)


def test_incarnations_of_one_path(place: Path) -> None:
    """All are open at once, so that no inode number is used twice."""
    file = trace(
        place,
        """
        for size in (10, 20, 30):
            os.write(create("data"), bytes(size))
            os.unlink("data")
        """,
    )["data"]
    assert (file["incarnations"], file["bytes_written"], file["opens"], file["deleted"]) == (3, 60, 3, True)


def test_globs_narrow_the_trace(place: Path) -> None:
    text = """
        os.mkdir("sub")
        for name in ("a.log", "b.log", "c.dat", "sub/d.log"):
            os.write(create(name), bytes(10))
    """
    assert trace(place, text, ["--path", f"{place}/*.log"]).names in (
        ["a.log", "b.log"],
        ["a.log", "b.log", "sub/d.log"],
    )
    shutil.rmtree(place / "sub")
    assert trace(place, text, ["--exclude", "*.log"]).names == ["c.dat"]


# --- whom -------------------------------------------------------------------------------------------------------------


FAMILY = """
    import subprocess
    os.write(create("own"), bytes(10))
    child(lambda: os.write(create("child"), bytes(20)))
    subprocess.run(["/bin/sh", "-c", "echo hello > shell"], check=True)
    child(lambda: child(lambda: os.write(create("grandchild"), bytes(30))))
    threading.Thread(target=lambda: os.write(create("thread"), bytes(40))).start()
"""


def test_descendants_are_followed(place: Path) -> None:
    found = trace(place, FAMILY)
    assert {name: found[name]["bytes_written"] for name in found.names} == {
        "own": 10,
        "child": 20,
        "shell": 6,
        "grandchild": 30,
        "thread": 40,
    }


def test_no_follow_is_the_command_alone(place: Path) -> None:
    found = trace(place, FAMILY, ["--no-follow"])
    assert {name: found[name]["bytes_written"] for name in found.names} == {"own": 10, "thread": 40}


DAEMON = """
    os.write(create("own"), bytes(10))
    ready, go = os.pipe()
    if os.fork() == 0:
        os.setsid()
        libc.prctl(15, b"iotr-daemon")
        os.write(go, b"!")
        time.sleep(1.5)
        os.write(create("later"), bytes(20))
        os._exit(0)
    os.read(ready, 1)
"""


def said_of(place: Path, *options: str) -> str:
    """What a run says at its end; its profile is p in `place`."""
    words = iotrace("run", *options, "-o", str(place / "p"), "--", *script(place, DAEMON))
    done = subprocess.run(words, cwd=place, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    return done.stderr


def test_who_outlives_the_command_is_named(place: Path) -> None:
    said = said_of(place)
    assert re.search(r"^a process that it started goes on without being traced .*: iotr-daemon \(\d+\)$", said, re.M)
    assert [observe.path_of(file) for file in observe.export(place / "p")["files"]].count(bytes(place / "later")) == 0


def test_a_run_can_wait_for_who_outlives_the_command(place: Path) -> None:
    assert "goes on without" not in said_of(place, "--wait")
    found = Traced(place, observe.export(place / "p"), 0, "")
    assert [found[name]["bytes_written"] for name in ("own", "later")] == [10, 20]


I386 = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int main(void) {
    char buffer[100] = {0};
    int fd = open("data", O_RDWR | O_CREAT, 0644);
    for (int i = 0; i < 23; i++)
        if (write(fd, buffer, 100) != 100) return 1;
    for (int i = 0; i < 7; i++)
        if (pread(fd, buffer, 50, i * 50) != 50) return 2;
    return fsync(fd) || close(fd) ? 3 : 0;
}
"""


def test_a_32_bit_program_is_decoded_or_reported_but_never_misread(place: Path) -> None:
    if os.uname().machine != "x86_64":
        needs.impossible("the program is one for i386")
    (place / "program.c").write_text(I386)
    built = subprocess.run(
        [needs.program("gcc"), "-m32", "-o", "program", "program.c"], cwd=place, stderr=subprocess.DEVNULL
    )
    if built.returncode != 0:
        needs.missing("gcc-multilib")
    found = observe.alone(Command([str(place / "program")], place))
    assert found.status == 0, found.stderr
    traced = Traced(place, found.document, 0, found.stderr)
    if "data" in traced.names:
        file = traced["data"]
        assert data_calls(file) == {"write": made(23, 2300, {64: 23}), "pread64": made(7, 350, {32: 7})}
        assert (file["opens"], file["closes"], file["bytes_synced"]) == (1, 1, 2300)
    else:
        assert any("32" in key for key in found.document["coverage"])
        assert traced.names == [] and found.document["unattributed"].get("close", {}) == {}


# --- the same, watched ------------------------------------------------------------------------------------------------


@needs.programs("strace")
def test_a_little_of_everything_agrees_with_strace(place: Path) -> None:
    command = script(
        place,
        FAMILY
        + """
    fd, other = create("a"), create("b", 5000)
    os.pwritev(fd, [bytes(n) for n in range(300)], 100)
    os.preadv(fd, [bytearray(n) for n in range(300)], 44850)
    os.sendfile(fd, other, 0, 4000)
    os.copy_file_range(other, fd, 5000, 4500, 0)
    refused(errno.EBADF, os.read, 999, 10)
    refused(errno.EINVAL, os.pread, fd, 10, -5)
    refused(errno.EFAULT, libc.write, fd, P(8), ctypes.c_size_t(77))
    refused(errno.EFAULT, libc.writev, fd, P(8), 3)
    os.rename("a", "c"); os.write(fd, b"renamed")
    os.unlink("b"); os.read(other, 10)
    for turn in range(10):
        os.close(create("again")); os.unlink("again")
    os.fsync(fd); os.fdatasync(other)
    """,
    )
    found = observe.both(Command(command, place))
    assert disagreements(found.strace, found.document) == []
    assert found.status == 0, found.stderr


@pytest.mark.parametrize("more", [(), ("--comm", "python*"), ("--comm", "no-such-name"), ("--pid", "1", "--follow")])
@pytest.mark.parametrize("attach", ["raw", "perf"])
def test_all_is_everything_whatever_else_is_chosen(place: Path, attach: str, more: Sequence[str]) -> None:
    """Selectors add up: a command, a name or a number besides leaves nothing out."""
    found = trace(
        place,
        """
        os.write(create("data"), bytes(10))
        if not os.fork():
            os.write(create("of_a_child"), bytes(10))
            os._exit(0)
        os.wait()
        """,
        ["--all", "--attach", attach, *more],
        complete=False,
    )
    assert found["data"]["bytes_written"] == found["of_a_child"]["bytes_written"] == 10


# --- globs that match nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("attach", ["raw", "perf"])
def test_a_glob_that_has_matched_nothing_is_told(attach: str, place: Path) -> None:
    """Others have: a process that runs already, one that is forked and exec'd, and one for a moment alone."""
    for name in ("early-sleep", "later-true"):
        shutil.copy(needs.program("sleep" if name == "early-sleep" else "true"), place / name)
    early = subprocess.Popen([place / "early-sleep", "60"])
    try:
        patterns = ["early-*", "later-tru?", "sh-that-re*", "no-such-na*", "early-sheep"]
        globs = [word for glob in patterns for word in ("--comm", glob)]
        paths = ["--path", "*/data", "--path", "*/dat?", "--path", "*/dada"]
        words = iotrace("run", "--attach", attach, "-o", str(place / "p.iotrace"), *globs, *paths)
        script = "printf sh-that-renames > /proc/$$/comm; ./later-true; echo > data; cat data"
        ended = subprocess.run([*words, "--", "sh", "-c", script], cwd=place, stderr=subprocess.PIPE, check=True)
    finally:
        early.kill()
        early.wait()
    told = [line for line in ended.stderr.decode().splitlines() if line.startswith("--")]
    assert told == [
        "--comm 'no-such-na*': no process of that name ran",
        "--comm early-sheep: no process of that name ran",
        "--path '*/dada': no file that was used matches",
    ]
