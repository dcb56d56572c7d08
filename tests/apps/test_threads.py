"""What is known of a thread holds for that thread, and as long as its process is traced: ids and names come again."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from tests import needs

from .traced import histogram, trace

pytestmark = needs.root

PID_MAX = Path("/proc/sys/kernel/pid_max")
# A child with an id of our choice, as for CRIU: clone3 and its set_tid, 5.3 and 5.5.
CLONE = """
    class CloneArguments(ctypes.Structure):
        names = "flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup"
        _fields_ = [(name, ctypes.c_uint64) for name in names.split()]

    def fork_as(tid):
        wanted = ctypes.c_int(tid)
        arguments = CloneArguments(exit_signal=signal.SIGCHLD, set_tid=ctypes.addressof(wanted), set_tid_size=1)
        pid = libc.syscall(435, ctypes.byref(arguments), ctypes.sizeof(arguments))
        if pid < 0 and ctypes.get_errno() in (errno.ENOSYS, errno.E2BIG):
            lacks("clone3 with set_tid")
        return pid
"""


@pytest.fixture
def pid_max() -> Iterator[int]:
    """kernel.pid_max as it is, and as it will be again."""
    before = PID_MAX.read_text()
    yield int(before)
    PID_MAX.write_text(before)


def test_the_mount_namespace_is_looked_up_again_when_a_name_comes_back(place: Path) -> None:
    found = trace(
        place,
        """
        def work():
            def read(name):
                os.read(create(name, 100), 100)
                return int(os.readlink("/proc/self/ns/mnt")[5:-1])
            libc.prctl(15, b"iotr-wanted")
            first = read("f")
            libc.prctl(15, b"iotr-other")
            assert libc.unshare(0x20000) == 0
            libc.prctl(15, b"iotr-wanted")
            say([first, read("g")])
        child(work)
        """,
        ["--comm", "iotr-wanted", "--no-follow"],
    )
    assert [found["f"]["mnt_ns"], found["g"]["mnt_ns"]] == found.said
    assert found.said[0] != found.said[1]


@pytest.mark.parametrize("attach", ["raw", "perf"])
def test_who_gets_the_id_that_an_exec_has_freed_is_not_traced(place: Path, attach: str) -> None:
    """A thread that is not the leader takes the leader's id at its exec, and its own is free for anybody."""
    found = trace(
        place,
        CLONE
        + """
    if len(sys.argv) == 1:
        told, tell = os.pipe()
        os.set_inheritable(tell, True)
        stranger = os.fork()
        if stranger == 0:
            os.close(tell)
            pid = fork_as(int(os.read(told, 20)))
            if pid == 0:
                os.write(create("stranger"), bytes(50))
                os._exit(0)
            os.waitpid(pid, 0)
            os._exit(0)
        def thread():
            os.write(create("mine"), bytes(7))
            arguments = [threading.get_native_id(), tell, stranger]
            os.execv(sys.executable, [sys.executable, "-I", "-S", "-B", "workload.py", *map(str, arguments)])
        threading.Thread(target=thread).start()
        time.sleep(60)
    os.write(create("after"), bytes(5))
    os.write(int(sys.argv[2]), sys.argv[1].encode())
    os.waitpid(int(sys.argv[3]), 0)
    """,
        ["--no-follow", "--attach", attach],
    )
    if found.lacks:
        needs.impossible(f"this kernel lacks {found.lacks}")
    assert (place / "stranger").stat().st_size == 50
    assert found.names == ["after", "mine"]
    assert [found[name]["bytes_written"] for name in found.names] == [5, 7]


def test_two_threads_on_one_place_once_there_are_more_ids_than_places(place: Path, pid_max: int) -> None:
    """The first has it until the second has ended."""
    if pid_max != 32768:
        needs.impossible("kernel.pid_max has been raised already")
    found = trace(
        place,
        CLONE
        + """
    for number in range(2):
        os.close(create(f"f{number}", 4096))
    with open("/proc/sys/kernel/pid_max", "w") as stream:
        stream.write("4194304")
    began, ended = os.pipe(), os.pipe()

    def start(tid, work):
        pid = fork_as(tid)
        if pid == 0:
            work()
            os._exit(0)
        return pid

    def read(number, first):
        fd = os.open(f"f{number}", os.O_RDONLY)
        for _ in range(2000):
            os.pread(fd, 64, 0)
            if first:
                os.write(began[1], b"x")
                first = False

    def first():
        read(0, True)
        os.close(ended[1])
        os.read(ended[0], 1)

    low, one = 20000, -1
    while one < 0:  # whoever else starts a process may have taken the number
        low += 1
        one = start(low, first)
        assert one > 0 or ctypes.get_errno() == errno.EEXIST
    os.read(began[0], 1)
    other = start(low + 32768 * 3, lambda: read(1, False))
    assert other > 0, ctypes.get_errno()
    assert os.waitpid(other, 0)[1] == 0
    os.close(ended[1])
    assert os.waitpid(one, 0)[1] == 0
    """,
        complete=False,
    )
    if found.lacks:
        needs.impossible(f"this kernel lacks {found.lacks}")
    calls = [found[name]["syscalls"].get("pread64", {}).get("calls", 0) for name in ("f0", "f1")]
    assert calls[0] == 2000
    assert calls[1] in (0, 2000), "a thread has a record or it has none"
    assert calls[1] or found.document["lost"]["calls"] >= 2000


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize("attach", ["raw", "perf"])
def test_writers_at_one_file_position_make_one_run(place: Path, attach: str, kind: str) -> None:
    """Each write goes where the one before it ended, whichever thread comes to the exit of its call first."""
    found = trace(
        place,
        f"""
        def write(fd):
            for number in range(500):
                size = 1 + number % 200
                assert os.write(fd, bytes(size)) == size

        def threads(fd):
            running = [threading.Thread(target=write, args=(fd,)) for _ in range(8)]
            for one in running:
                one.start()
            for one in running:
                one.join()

        def processes(fd):
            pids = []
            for _ in range(8):
                pids.append(os.fork())
                if pids[-1] == 0:
                    write(fd)
                    os._exit(0)
            assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)

        for turn in range(10):
            fd = create(f"f{{turn}}", flags=RW | (os.O_APPEND if turn % 2 else 0))
            {kind}(fd)
            os.close(fd)
        """,
        ["--attach", attach],
    )
    assert len(found.names) == 10
    for name in found.names:
        size = (place / name).stat().st_size
        assert found[name]["bytes_written"] == size == found[name]["highest_offset"] + 1
        assert (histogram(found[name], "sequential_write"), found[name]["rewrites"]) == ({262144: 1}, 0), name
