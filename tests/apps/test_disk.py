"""Whatever the disk does, and whoever else is at work there: the profile is whole, named, and in nobody's place."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, List, Set

import pytest

from iotrace.profile import reader
from iotrace.profile.metrics import Header
from iotrace.profile.target import Target
from iotrace.profile.writer import Writer, write
from tests import needs
from tests.unit.iotrace.profile.samples import sample

from .observe import ROOT, iotrace

pytestmark = needs.root

FILES = 1200  # more than are kept in memory
NOBODY = 65534


@pytest.fixture
def spare(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a profile goes that finds no room."""
    directory = place / "spare"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


@contextlib.contextmanager
def tmpfs(at: Path, options: str) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def remount(at: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(at)], check=True)


def host(profile: Path) -> str:
    """What a profile says; all of it is read."""
    with reader.open(profile) as opened:
        assert opened.header.host == "old" or len(list(opened.files())) == FILES
        return opened.header.host


def whole(at: Path, spare: Path, *, old: bool) -> bool:
    """Whether the new profile is where it should be. It is there or at the spare place, and nothing else is."""
    left = os.listdir(spare)
    if not left:
        assert os.listdir(at) == ["p"] and host(at / "p") == "new"
        return True
    assert left == ["p"] and host(spare / "p") == "new"
    assert os.listdir(at) == (["p"] if old else []) and (not old or host(at / "p") == "old")
    (spare / "p").unlink()
    return False


@pytest.mark.slow
@pytest.mark.parametrize("old", [False, True])
def test_a_disk_that_fills_up_at_every_step(place: Path, spare: Path, old: bool) -> None:
    """From no room at all to enough for the profile, by a page: each thing that is written finds no room once.

    No more than that is needed, although more is written meanwhile.
    """
    with Writer(place / "sample") as writer:
        for file in sample(FILES):
            writer.add_file(file)
        writer.finish(Header(host="new"))
    enough = (place / "sample").stat().st_size // 1024
    found: List[bool] = []
    for size in range(enough + 4, -1, -20 if old else -4):
        with tmpfs(place / "small", "size=4m") as small:
            if old:
                write(small / "p", Header(host="old"), [])
            state = os.statvfs(small)
            remount(small, f"size={(state.f_blocks - state.f_bfree) * 4 + size + (not size)}k")
            with Writer(Target(small / "p", force=True, elsewhere=True)) as writer:
                for file in sample(FILES):
                    writer.add_file(file)
                assert writer.finish(Header(host="new")) == FILES
            found.append(whole(small, spare, old=old))
            assert (writer.target.trouble is None) == (writer.target.path == str(small / "p"))
    assert found[0] and found == sorted(found, reverse=True) and not found[-1]


# What the program below asks of the kernel, and how it may be refused.
REFUSALS = [
    *(f"pwrite64:error={error}:when={number}" for error in ("ENOSPC", "EDQUOT", "EIO") for number in (1, 2, 3, 40)),
    "sendfile:error=EDQUOT:when=1",
    "sendfile:error=ENOSPC:when=1",
    "sendfile:retval=0:when=1",
    "fsync:error=EIO:when=1",
    "linkat:error=EDQUOT:when=1",
    "ftruncate:error=EIO",
    "unlinkat,unlink:error=EROFS:when=1",
]
PROGRAM = """
import sys
from iotrace.profile.target import Target
from iotrace.profile.writer import Writer
from iotrace.profile.metrics import Header
from tests.unit.iotrace.profile.samples import sample
with Writer(Target(sys.argv[1], force=True, elsewhere=True)) as writer:
    for file in sample(int(sys.argv[2])):
        writer.add_file(file)
    writer.finish(Header(host="new"))
"""


def injected(what: str, profile: Path) -> int:
    """The exit status of the program above, to whose calls something is done."""
    calls = what.partition(":")[0]
    strace = [needs.program("strace"), "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={what}"]
    program = [sys.executable, "-B", "-c", PROGRAM, str(profile), str(FILES)]
    return subprocess.run([*strace, *program], cwd=ROOT).returncode


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_call_that_the_system_refuses(place: Path, spare: Path, refusal: str) -> None:
    directory = place / "here"
    directory.mkdir()
    assert injected(refusal, directory / "p") == 0
    whole(directory, spare, old=False)


def test_where_nothing_can_be_named(place: Path, spare: Path) -> None:
    assert injected("linkat:error=EPERM", place / "p") != 0
    assert os.listdir(place) == ["spare"] and os.listdir(spare) == []


@pytest.mark.slow
@pytest.mark.parametrize("call", ["pwrite64", "sendfile", "fsync", "linkat", "unlinkat,unlink", "rename"])
@pytest.mark.parametrize("old", [False, True])
def test_a_kill_at_a_call(place: Path, spare: Path, call: str, old: bool) -> None:
    """At the first of its kind, the second ... until there is none: what is there is whole, and nothing else is."""
    directory, status, number = place / "here", -1, 0
    directory.mkdir()
    while status != 0:
        number += 1 if number < 3 or call != "pwrite64" else 17
        if old and os.listdir(directory) == []:
            write(directory / "p", Header(host="old"), [])
        status = injected(f"{call}:signal=KILL:when={number}", directory / "p")
        left = settled(directory)
        assert left in ([], ["p"]) and os.listdir(spare) == [] and (left or not old)
        if left:
            assert host(directory / "p") == "new" or (old and status != 0)
            (directory / "p").unlink()


def settled(directory: Path) -> List[str]:
    """What is in a directory, once whatever cleans up after a process that was killed has had its time."""
    deadline = time.monotonic() + 5
    while any(name.startswith(".iotrace-") for name in os.listdir(directory)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.listdir(directory)


# --- the command ----------------------------------------------------------------------------------------------------


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(iotrace("run", *words), cwd=directory, stderr=subprocess.PIPE, text=True)


def opened(profile: Path) -> List[bytes]:
    with reader.open(profile) as found:
        return found.header.command


def test_a_place_that_is_lost_while_tracing(place: Path, spare: Path) -> None:
    """The summary is shown, the status is the command's, and a line says where the profile is, also with -q."""
    (place / "gone").mkdir()
    with tmpfs(place / "small", "size=1m") as small:
        for directory, script in (
            (small, f"mount -o remount,ro {small}"),
            (small, f"mount -o remount,rw {small}; head -c 2m /dev/zero > {small}/filler"),
            (place / "gone", f"rmdir {place}/gone"),
            (place, f"echo precious > {place}/p"),
            (place, f"rm {place}/p; ln -s {place}/absent {place}/p; chown -h {NOBODY} {place}/p; chmod 1777 {place}"),
        ):
            for options in ([], ["-q"]):
                if directory.name == "gone":
                    directory.mkdir(exist_ok=True)
                with contextlib.suppress(OSError):
                    (directory / "p").unlink()
                ended = run(place, *options, "-o", str(directory / "p"), "--", "sh", "-c", f"({script}) 2>&-; exit 7")
                assert ended.returncode == 7
                assert f"; the profile is {spare}/p\n" in ended.stderr and f"iotrace: {directory}/p: " in ended.stderr
                assert ("WRITTEN     READ CALLS" in ended.stderr) == (options == [])
                assert opened(spare / "p")[0] == b"sh"
                (spare / "p").unlink()
                assert not (directory / "p").exists() or (directory / "p").read_text() == "precious\n"
                assert not (place / "absent").exists()
                remount(small, "rw")


def test_nothing_is_started_for_a_name_that_is_taken(place: Path) -> None:
    (place / "precious.txt").write_text("precious")
    (place / "link").symlink_to("precious.txt")
    os.mkfifo(place / "fifo")
    write(place / "old", Header(host="old"), [])
    for name in ("precious.txt", "link", "fifo", "/dev/null", "/dev/stdout", "/proc/self/fd/1", "."):
        for force in ([], ["--force"]):
            ended = run(place, *force, "-o", name, "--", "touch", "made")
            assert ended.returncode == 125 and ended.stderr.count("\n") == 1 and name in ended.stderr
    assert run(place, "-o", "old", "--", "touch", "made").returncode == 125
    assert sorted(os.listdir(place)) == ["fifo", "link", "old", "precious.txt"]
    assert (place / "precious.txt").read_text() == "precious" and host(place / "old") == "old"
    assert run(place, "-q", "--force", "-o", "old", "--", "true").returncode == 0
    assert opened(place / "old") == [b"true"]


def test_runs_in_the_same_second_leave_a_profile_each(place: Path) -> None:
    tools = [subprocess.Popen(iotrace("run", "-q", "--", "sleep", "0.1"), cwd=place) for _ in range(3)]
    assert [tool.wait() for tool in tools] == [0, 0, 0]
    assert len([opened(place / name) for name in os.listdir(place)]) == 3


@pytest.mark.parametrize("protected", ["0", "1"])
def test_links_that_another_user_has_planted(place: Path, protected: str) -> None:
    """For every name that the run may choose, and for one that it is given; whatever the kernel protects."""
    setting, shared, private = Path("/proc/sys/fs/protected_symlinks"), place / "shared", place / "private"
    shared.mkdir()
    private.mkdir(0o700)
    (private / "shadow").write_text("precious")
    shared.chmod(0o1777)
    names = [time.strftime("iotrace-true-%Y%m%d-%H%M%S.iotrace", time.localtime(time.time() + n)) for n in range(60)]
    for name, leads_to in [*((name, "shadow") for name in names), ("known", "created"), ("way", ".")]:
        (shared / name).symlink_to(private / leads_to)
        os.chown(shared / name, NOBODY, NOBODY, follow_symlinks=False)
    before = setting.read_text()
    setting.write_text(protected)
    try:
        assert run(shared, "-q", "--", "true").returncode == 0
        for name in ("known", "way/p", "./way/../way/p"):
            ended = run(shared, "-q", "-o", name, "--", "touch", str(place / "made"))
            assert ended.returncode == 125 and "symbolic link of another user's" in ended.stderr
    finally:
        setting.write_text(before)
    assert os.listdir(private) == ["shadow"] and (private / "shadow").read_text() == "precious"
    (made,) = [name for name in os.listdir(shared) if not (shared / name).is_symlink()]
    assert opened(shared / made) == [b"true"] and (shared / made).stat().st_mode & 0o7777 == 0o600
    assert not (place / "made").exists()


def programs() -> Set[int]:
    return {program["id"] for program in needs.bpftool("prog", "show")}


@pytest.mark.slow
def test_fifty_kills(place: Path, spare: Path) -> None:
    """At moments spread over the whole of a run, from its start to the writing of its profile."""
    before, chance = programs(), random.Random(14)
    script = "for n in $(seq 3000); do : > f$n; done"
    command = iotrace("run", "-q", "--max-files", "64", "-o", str(place / "out" / "p"), "--", "sh", "-c", script)
    (place / "out").mkdir()
    work = place / "work"
    work.mkdir()
    started = time.monotonic()
    subprocess.run(command, cwd=work, check=True)
    took = time.monotonic() - started
    (place / "out" / "p").unlink()
    written = 0
    for _ in range(50):
        tool = subprocess.Popen(command, cwd=work, start_new_session=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            tool.wait(chance.uniform(0.02, took * 1.05))
        tool.kill()
        tool.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(tool.pid, signal.SIGKILL)  # the command
        if settled(place / "out"):
            assert opened(place / "out" / "p")[0] == b"sh"
            (place / "out" / "p").unlink()
            written += 1
        assert os.listdir(spare) == [] == os.listdir(place / "out")
    deadline = time.monotonic() + 10
    while programs() - before and time.monotonic() < deadline:
        time.sleep(0.1)  # the kernel frees them when it comes to it
    assert programs() <= before
    assert written < 50
