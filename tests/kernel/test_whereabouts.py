"""What a path leads to, asked in its own namespace: also where the answer never comes."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

from iotrace.tracing.whereabouts import BATCH, Answer, Whereabouts
from tests import needs
from tests.silent import silent_file_system

MOUNT_NAMESPACE = os.stat("/proc/self/ns/mnt").st_ino
PATIENCE = 1.0


def identities(answers: List[Answer]) -> List[Tuple[int, int]]:
    """Device and inode of what descriptors refer to."""
    states = [os.stat(f"/proc/self/fd/{answer.descriptor}") for answer in answers if answer.descriptor >= 0]
    return [(state.st_dev, state.st_ino) for state in states]


def asked(mnt_ns: int, paths: List[bytes]) -> List[Tuple[object, object]]:
    """The error and, where there is none, the identity for each path."""
    found: List[Tuple[object, object]] = []
    with Whereabouts(patience=PATIENCE) as whereabouts:
        for answers in whereabouts.ask(mnt_ns, paths):
            found += [(answer.error, next(iter(identities([answer])), None)) for answer in answers]
    return found


def test_files_directories_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "link").symlink_to("f")
    (tmp_path / "loop").symlink_to("loop")
    names = ["f", ".", "link", "absent", "f/below", "loop"]
    answers = asked(MOUNT_NAMESPACE, [bytes(tmp_path / name) for name in names])
    states = [(tmp_path / name).stat() for name in names[:3]]
    assert answers[:3] == [(0, (state.st_dev, state.st_ino)) for state in states]
    assert [error for error, _ in answers[3:]] == [2, 20, 40]  # ENOENT, ENOTDIR, ELOOP


def test_many_paths_and_no_descriptor_is_left(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    before = os.listdir("/proc/self/fd")
    with Whereabouts() as whereabouts:
        answers = [len(batch) for batch in whereabouts.ask(MOUNT_NAMESPACE, [bytes(tmp_path / "f")] * (3 * BATCH + 1))]
    assert answers == [BATCH, BATCH, BATCH, 1]
    assert os.listdir("/proc/self/fd") == before


def test_a_path_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    depth, name = 40, "d" * 200
    directory = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=directory)
        deeper = os.open(name, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = deeper
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    expected = os.stat("f", dir_fd=directory)
    os.close(directory)
    path = bytes(tmp_path) + b"/" + b"/".join([name.encode()] * depth) + b"/f"
    assert len(path) > 8000
    assert asked(MOUNT_NAMESPACE, [path]) == [(0, (expected.st_dev, expected.st_ino))]


def test_another_namespace(tmp_path: Path) -> None:
    """The path of a file on a file system that is mounted there alone."""
    script = f"mount -t tmpfs none {tmp_path} && echo x > {tmp_path}/f && stat -c '%d %i' {tmp_path}/f && read _"
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as container:
        assert container.stdin is not None and container.stdout is not None
        device, inode = map(int, container.stdout.readline().split())
        there = os.stat(f"/proc/{container.pid}/ns/mnt").st_ino
        assert there != MOUNT_NAMESPACE
        assert asked(there, [bytes(tmp_path / "f")]) == [(0, (device, inode))]
        assert asked(MOUNT_NAMESPACE, [bytes(tmp_path / "f")]) == [(2, None)]
        container.stdin.close()
    assert asked(there, [b"/etc"]) == [(None, None)], "nobody can tell: the namespace has gone"


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Path]:
    with silent_file_system(tmp_path / "silent") as place:
        yield place


def test_a_file_system_that_never_answers(silent: Path, tmp_path: Path) -> None:
    """What lies on it is unknown; what does not is found, before it and behind it; and no child is left."""
    (tmp_path / "f").write_bytes(b"x")
    good, bad = bytes(tmp_path / "f"), bytes(silent / "x")
    children = _children()
    answers = asked(MOUNT_NAMESPACE, [good, bad, good, bad, good])
    assert [error for error, _ in answers] == [0, None, 0, None, 0]
    assert len({identity for error, identity in answers if error == 0}) == 1
    assert _children() == children


def test_patience_has_an_end(silent: Path) -> None:
    """After a few children that hang, nobody asks in that namespace any more."""
    before = time.monotonic()
    answers = asked(MOUNT_NAMESPACE, [bytes(silent / str(number)) for number in range(1000)])
    assert [error for error, _ in answers] == [None] * 1000
    assert time.monotonic() - before < 100 * PATIENCE, "not a wait for each path"


def test_a_child_that_gets_no_cpu_does_not_hang(tmp_path: Path) -> None:
    cpu, patience = {min(os.sched_getaffinity(0))}, 0.2

    def starve(child: int) -> None:
        """Keeps the child's only CPU busy with what comes before it, for longer than anybody is waited for."""
        os.sched_setaffinity(child, cpu)
        ready, begun = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.sched_setaffinity(0, cpu)
            try:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
                os.write(begun, b"x")
                end = time.monotonic() + 3 * patience
                while time.monotonic() < end:
                    pass
            finally:
                os._exit(0)
        os.close(begun)
        busy.append(pid)
        allowed = os.read(ready, 1)
        os.close(ready)
        if not allowed:
            needs.impossible("real-time scheduling is not allowed")

    busy: List[int] = []
    with Whereabouts(patience=patience, exempt=starve) as whereabouts:
        for answers in whereabouts.ask(MOUNT_NAMESPACE, [bytes(tmp_path)]):
            assert [answer.error for answer in answers] == [0]
    assert [os.waitpid(pid, 0)[1] for pid in busy] == [0]


def test_a_child_serves_again_once_time_is_renewed(tmp_path: Path) -> None:
    """The same one, also after the time for the first question is over."""
    told: List[int] = []
    with Whereabouts(seconds=0.2, exempt=told.append) as whereabouts:
        for expected in (0, None, 0):
            assert [[a.error for a in found] for found in whereabouts.ask(MOUNT_NAMESPACE, [b"/"])] == [[expected]]
            if expected is None:
                whereabouts.renew()
            else:
                time.sleep(0.2)
    assert len(told) == 1


def test_children_are_told_of_before_they_open_anything(tmp_path: Path) -> None:
    told: List[int] = []
    with Whereabouts(exempt=told.append) as whereabouts:
        for answers in whereabouts.ask(MOUNT_NAMESPACE, [bytes(tmp_path)]):
            assert [answer.error for answer in answers] == [0]
    assert len(told) == 1 and told[0] != os.getpid()


def _children() -> List[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
