"""How a run ends: by the command, by a signal, or by kill -9, and what it leaves behind."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, Dict, List, Optional, Set

import pytest

from tests import needs

from . import observe
from .observe import Command, Run, iotrace
from .traced import Traced, data_calls, made, script, trace

pytestmark = needs.root

# Writes 23 blocks, says so, and goes on until it is told to stop.
PATIENT = """
fd = create("data")
for _ in range(23):
    os.write(fd, bytes(4096))
create("ready")
while not os.path.exists("finish"):
    time.sleep(0.01)
create("finished")
"""


def wait(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come about")
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 37", 37),
        ("exit 255", 255),
        ("kill -TERM $$", 128 + signal.SIGTERM),
        ("kill -KILL $$", 128 + signal.SIGKILL),
        ("kill -SEGV $$", 128 + signal.SIGSEGV),
    ],
)
def test_the_exit_status_is_the_commands(place: Path, command: str, status: int) -> None:
    found = observe.alone(Command(["sh", "-c", "echo hello > data; " + command], place))
    assert found.status == status
    assert Traced(place, found.document, status, found.stderr)["data"]["bytes_written"] == 6


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-"])
def test_a_stream_that_is_closed_from_the_beginning(place: Path, closed: str) -> None:
    command = [*iotrace("run", "-q", "-o", str(place / "p.iotrace"), "--", "sh", "-c", "exit 7")]
    ended = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *command], cwd=place, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (7, "")


def test_a_command_that_is_not_there(place: Path) -> None:
    ended = subprocess.run(
        iotrace("run", "-o", str(place / "p.iotrace"), "--", "./absent"), cwd=place, stderr=subprocess.PIPE, text=True
    )
    assert ended.returncode != 0
    assert "absent" in ended.stderr and "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_the_commands_output_and_environment_are_its_own(place: Path) -> None:
    found = observe.alone(
        Command(["sh", "-c", 'echo "$NUMBER $PYTHONPATH"; pwd; echo warned >&2'], place, {**os.environ, "NUMBER": "23"})
    )
    assert found.stdout.startswith(f"23 \n{place}\n".encode())
    assert "warned" in found.stderr


def test_as_another_user(place: Path) -> None:
    place.chmod(0o777)
    found = observe.alone(Command(["sh", "-c", "id -un; echo hello > data"], place), ["--user", "nobody"])
    assert found.stdout.startswith(b"nobody\n")
    assert (found.status, (place / "data").owner()) == (0, "nobody")
    assert Traced(place, found.document, 0, found.stderr)["data"]["bytes_written"] == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_complete_profile(place: Path, number: signal.Signals) -> None:
    """Nothing else ends here: the command goes on until it is told to stop, however iotrace treats it."""
    with Run() as run:
        command = script(place, PATIENT)
        tool = run.start("iotrace", iotrace("run", "-o", str(run.profile), "--", *command), cwd=place)
        wait("the command", lambda: (place / "ready").exists() or tool.poll() is not None)
        assert tool.poll() is None, run.said("iotrace")
        tool.send_signal(number)
        run.finish(tool, "iotrace")
        found = Traced(place, observe.export(run.profile), 0, run.said("iotrace"))
        (place / "finish").touch()
    assert data_calls(found["data"]) == {"write": made(23, 23 * 4096, {4096: 23})}
    assert not any(found.document["lost"].values())


def bpf_objects(pid: int) -> Dict[str, Set[str]]:
    """The ids of the BPF programs, maps and links that a process holds, from /proc/PID/fdinfo."""
    found: Dict[str, Set[str]] = {"prog": set(), "map": set(), "link": set()}
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            text = Path(f"/proc/{pid}/fdinfo/{name}").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            key, _, value = line.partition(":")
            if key in ("prog_id", "map_id", "link_id"):
                found[key[:-3]].add(value.strip())
    return found


# kind -> BPF_*_GET_NEXT_ID (uapi/linux/bpf.h)
NEXT_ID = {"prog": 11, "map": 12, "link": 31}
BPF = {"x86_64": 321, "aarch64": 280}


def alive(objects: Dict[str, Set[str]]) -> List[str]:
    """Those of the objects that the kernel still has.

    Asked by number, not with bpftool, which opens every object it lists: when a prog_array loses its last descriptor
    twice before the kernel has emptied it, once by iotrace's exit and once by bpftool's, prog_array_map_clear
    (kernel/bpf/arraymap.c) takes two references, drops one, and the map stays until the next boot.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    left = []
    for kind, ids in objects.items():
        for number in sorted(map(int, ids)):
            attribute = (ctypes.c_uint32 * 3)(number - 1, 0, 0)  # start_id, next_id, open_flags
            call = (BPF[os.uname()[4]], NEXT_ID[kind], ctypes.byref(attribute), ctypes.sizeof(attribute))
            found = libc.syscall(*call) == 0
            assert found or ctypes.get_errno() == errno.ENOENT, os.strerror(ctypes.get_errno())
            if found and attribute[1] == number:
                left.append(f"{kind} {number}")
    return left


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, None])
def test_nothing_is_left_in_the_kernel(place: Path, number: Optional[signal.Signals]) -> None:
    """Killed, stopped or ended by its command: no program, map or link stays, and the command notices nothing."""
    with Run() as run:
        command = script(place, PATIENT)
        tool = run.start("iotrace", iotrace("run", "-o", str(run.profile), "--", *command), cwd=place)
        wait("the command", lambda: (place / "ready").exists() or tool.poll() is not None)
        assert tool.poll() is None, run.said("iotrace")
        held = bpf_objects(tool.pid)
        assert held["prog"] and held["map"]
        assert sorted(alive(held)) == sorted(f"{kind} {number}" for kind in held for number in held[kind])
        if number is None:
            (place / "finish").touch()
        else:
            tool.send_signal(number)
        run.finish(tool, "iotrace")
        # Links and programs go after a grace period of the kernel's, so they are waited for.
        with suppress(TimeoutError):
            wait("the end of every BPF object", lambda: not alive(held))
        assert alive(held) == []
        if number == signal.SIGKILL:
            assert not run.profile.exists()  # no half of a profile either
            (place / "finish").touch()
            wait("the end of the command", (place / "finished").exists)


def test_the_profile_says_what_was_run(place: Path) -> None:
    found = trace(place, "os.read(create('data', 10), 10)")
    document = found.document
    assert document["schema"] == "iotrace/1"
    assert document["command"][-1] == str(place / "workload.py")
    assert (document["host"], document["kernel"], document["machine"]) == (os.uname()[1], os.uname()[2], os.uname()[4])
    assert 0 < document["started_ns"] < document["ended_ns"]


@pytest.mark.parametrize("running", [False, True])
def test_a_name_that_no_process_has_is_told(place: Path, running: bool) -> None:
    """It may be mistyped, and the run would only show no files."""
    name = Path("/proc/self/comm").read_text().strip() if running else "no-such-name"
    command = iotrace("run", "-o", str(place / "p.iotrace"), "--duration", "0.1", "--comm", name)
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    assert ("no process matches --comm" in ended.stderr) != running


# --- calls that no file's counters show -------------------------------------------------------------------------------


@pytest.mark.parametrize("attach", ["raw", "perf"])
def test_calls_that_make_durable_or_change_files_beside_the_counters_are_told(attach: str, place: Path) -> None:
    """What fails, promises nothing (MS_ASYNC) or is no such ioctl is not counted. Nor is the bystander's."""
    found = trace(
        place,
        """
        import fcntl, termios
        a = create("a"); os.write(a, bytes(8192))
        shared = mmap.mmap(a, 8192)
        where = ctypes.addressof(ctypes.c_char.from_buffer(shared))
        libc.msync.argtypes = [P, ctypes.c_size_t, ctypes.c_int]
        for flags in (4, 4, 1, 4 | 2):                     # MS_SYNC = 4, MS_ASYNC = 1, MS_INVALIDATE = 2
            assert libc.msync(where, 4096, flags) == 0
        refused(errno.ENOMEM, libc.msync, 0, 4096, 4)
        assert libc.syncfs(a) == 0
        refused(errno.EBADF, libc.syncfs, 999)
        os.sync(); os.sync()
        refused(errno.ENOTTY, fcntl.ioctl, a, termios.TIOCGWINSZ, bytes(8))
        assert fcntl.ioctl(a, termios.FIONREAD, bytes(4))
        refused(errno.EBADF, fcntl.ioctl, 999, 0x40049409, a)
        os.posix_fallocate(a, 8192, 4096)
        os.ftruncate(a, 6000); os.truncate("a", 5000); os.truncate("a", 5000)
        refused(errno.ENOENT, os.truncate, "absent", 1)
        """,
        options=("--attach", attach),
    )
    coverage = found.document["coverage"]
    assert coverage["durability"] == "partial: what is shown as unsynced may be durable, by sync 2, syncfs 1, msync 3"
    assert coverage["contents"] == (
        "partial: files were also changed by calls that are in no column: fallocate 1, truncate 3"
    )
    assert found["a"]["bytes_unsynced"] == 8192


def test_nothing_is_told_where_there_were_no_such_calls(place: Path) -> None:
    coverage = trace(place, """os.fsync(os.open("a", RW))""").document["coverage"]
    assert coverage["durability"] == coverage["contents"] == "full"


@pytest.mark.parametrize("attach", ["raw", "perf"])
def test_core_dumps_are_told(attach: str, place: Path) -> None:
    """The kernel writes them without a system call. Signals that are handled, ignored or dump nothing are none."""
    found = trace(
        place,
        """
        def dies(number, how=signal.SIG_DFL):
            pid = os.fork()
            if pid == 0:
                signal.signal(number, how)
                os.kill(os.getpid(), number)
                os._exit(0)
            return os.waitpid(pid, 0)[1]
        for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT):
            assert os.WTERMSIG(dies(number)) == number
        for number in (signal.SIGTERM, signal.SIGUSR1):
            assert os.WTERMSIG(dies(number)) == number
        assert dies(signal.SIGSEGV, signal.SIG_IGN) == dies(signal.SIGSYS, lambda *_: None) == 0
        """,
        options=("--attach", attach),
    )
    told = found.document["coverage"]["contents"]
    assert told == "partial: 3 core dumps, which the kernel writes by itself if the limits let it"
