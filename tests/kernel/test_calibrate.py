"""Offsets found in the kernel's memory, against those that its BTF gives; and that nothing is left of the search."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set, Tuple

import pytest

from iotrace.kernel import offsets
from pybpf.calibration import calibrate as module
from pybpf.calibration.calibrate import Calibration, CalibrationError, calibrate
from pybpf.calibration.peek import Peek
from pybpf.syscalls import rename_thread
from pybpf.types.btf import Btf
from pybpf.types.tracefs import Tracefs
from tests import needs

ROOT = Path(__file__).resolve().parents[2]
MACHINE = os.uname().machine


@pytest.fixture(scope="module")
def btf() -> Btf:
    needs.btf()
    return Btf.vmlinux()


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second attempt: what does not work at once fails."""
    monkeypatch.setattr(module, "_ATTEMPTS", 1)


def check(found: Calibration, btf: Btf) -> None:
    wanted = {member: place.offset for member, place in btf.offsets([], offsets.searched(MACHINE)).items()}
    assert found.members == {member: offset for member, offset in wanted.items() if member not in found.missing}
    assert set(found.missing) <= {"task_struct.thread_info.status", "task_struct.thread_info.flags"}


@pytest.mark.parametrize("round_", range(5))
@pytest.mark.usefixtures("once")
def test_every_member_is_where_btf_says(round_: int, btf: Btf) -> None:
    check(calibrate(), btf)


@pytest.mark.usefixtures("once")
def test_by_perf_tracepoints(btf: Btf, tracefs: Tracefs) -> None:
    check(calibrate(tracefs), btf)


def disturb(stop: Any) -> None:
    """Renames itself, starts threads, opens files and forks, all the time."""
    while not stop.is_set():
        rename_thread(b"disturber")
        threads = [threading.Thread(target=rename_thread, args=(b"a-thread",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        with tempfile.TemporaryFile(), contextlib.suppress(FileNotFoundError):
            os.stat("/proc/self/fd/99")
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        for thread in threads:
            thread.join()


@pytest.fixture
def disturbance() -> Iterator[None]:
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    workers = [context.Process(target=disturb, args=(stop,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    yield
    stop.set()
    for worker in workers:
        worker.join()
        worker.close()


@pytest.mark.usefixtures("disturbance")
def test_while_others_do_the_same_things(btf: Btf) -> None:
    for _round in range(3):
        check(calibrate(), btf)


def programs_and_maps() -> List[str]:
    """Names of what is loaded, other than by others: ours alone begin so."""
    listed = [*needs.bpftool("prog", "show"), *needs.bpftool("map", "show")]
    return [each["name"] for each in listed if each.get("name", "").startswith("peek")]


PATIENCE = 10  # seconds, as the machine may have other things to do
BASES, MADE = ("/tmp", "/mnt", "/run", "/sys"), ("two", "three", "fourth", "a", "program")  # as in the laboratory


def surroundings() -> Dict[str, object]:
    return {
        "mounts": Path("/proc/self/mountinfo").read_bytes(),
        "name": Path("/proc/self/comm").read_bytes(),
        "directory": os.getcwd(),
        "namespaces": [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "net", "pid")],
        "files": [f"{path}/{name}" for path in BASES for name in MADE if os.path.lexists(f"{path}/{name}")],
    }


def test_nothing_is_left_of_it() -> None:
    """A thread that was there before may end meanwhile: the one by which faulthandler watched the last test."""
    before, threads = surroundings(), set(os.listdir("/proc/self/task"))

    def left() -> Tuple[Dict[str, object], Set[str], List[str]]:
        return surroundings(), set(os.listdir("/proc/self/task")) - threads, programs_and_maps()

    calibrate()
    # A thread that has been joined is there until the kernel has ended it, and programs and maps go in its own time.
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and left() != (before, set(), []):
        time.sleep(0.01)
    assert left() == (before, set(), [])
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_other_descriptors_of_the_process_stay(tmp_path: Path) -> None:
    """Among them high ones, which a table of descriptors is grown for here, too."""
    with open(tmp_path / "file", "w+b") as file:
        high = [os.dup2(file.fileno(), number) for number in (150, 228, 229, 300)]
        try:
            calibrate()
            assert all(os.path.sameopenfile(file.fileno(), fd) for fd in high)
        finally:
            for fd in high:
                os.close(fd)


@pytest.mark.parametrize(
    ("what", "value", "member"),
    [
        ("specimens.table_size", lambda _tid: 12345, "fdtable.max_fds"),
        ("specimens.threads", lambda: [1], "files_struct.count"),
        ("tasks._inode", lambda _path: 1 << 31 | 5, "mnt_namespace.ns.inum"),
        ("mounts._kernel_device", lambda _device: 0xABCDEF, "inode.i_sb"),
    ],
)
def test_what_cannot_be_confirmed_is_named(what: str, value: Any, member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thing that is believed of our objects is wrong: an error, and no offset."""
    monkeypatch.setattr(f"pybpf.calibration.{what}", value)
    with pytest.raises(CalibrationError) as caught:
        calibrate()
    assert caught.value.member == member
    assert str(caught.value).startswith(f"{member}: ")


def test_only_the_thread_with_the_name_is_served() -> None:
    """Another thread that renames itself, of the same process, leaves the request alone."""
    with Peek() as peek:
        peek.arm(0, 16)
        rename = threading.Thread(target=rename_thread, args=(b"somebody else",))
        rename.start()
        rename.join()
        assert peek.fetch() is None


def test_memory_that_is_not_there_is_no_error() -> None:
    """Nor is what belongs to nobody: a hole gives nothing, and less than was asked for gives that."""
    found: Dict[str, object] = {}

    def look() -> None:
        with Peek() as peek:
            peek.adopt()
            task = peek.current()
            found["pid"] = task.pid
            found["lengths"] = [len(peek.read(address, 600)) for address in (0, 8, 1 << 62, (1 << 64) - 4096)]
            found["whole"] = peek.read(task.address, 600)
            found["parts"] = peek.read(task.address, 1) + peek.read(task.address + 1, 599)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found["pid"] == os.getpid()
    assert found["lengths"] == [0, 0, 0, 0]
    assert isinstance(found["whole"], bytes) and len(found["whole"]) == 600
    assert isinstance(found["parts"], bytes) and len(found["parts"]) == 600


def trace(tmp_path: Path, *options: str) -> Dict[str, Any]:
    """What a run over one known read says."""
    file, profile = tmp_path / "read-me", tmp_path / "profile"
    file.write_bytes(b"x" * 1234)
    run = [sys.executable, "-m", "iotrace", "run", "-q", "-o", str(profile), *options, "--", "cat", str(file)]
    subprocess.run(run, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    export = [sys.executable, "-m", "iotrace", "export", "--format", "json", str(profile)]
    document = json.loads(subprocess.run(export, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    return next(each for each in document["files"] if each["path"] == str(file))


@pytest.mark.parametrize("attach", ["raw", "perf"])
def test_a_run_by_what_was_found(attach: str, tmp_path: Path) -> None:
    seen = trace(tmp_path, "--offsets", "calibrate", "--attach", attach)
    assert seen["bytes_read"] == 1234
    assert seen["inode"] == os.stat(tmp_path / "read-me").st_ino


def test_a_run_by_a_file_of_offsets(tmp_path: Path) -> None:
    path = str(tmp_path / "offsets.json")
    subprocess.run([sys.executable, "tools/offsets", "--calibrate", "-o", path], cwd=ROOT, check=True)
    assert trace(tmp_path, "--offsets", path)["bytes_read"] == 1234


def test_a_run_by_an_image(tmp_path: Path) -> None:
    assert trace(tmp_path, "--vmlinux", str(needs.image(tmp_path)))["bytes_read"] == 1234


@pytest.mark.parametrize("option", ["--offsets", "--vmlinux"])
def test_a_file_of_no_use_is_one_line(option: str, tmp_path: Path) -> None:
    path = tmp_path / "junk"
    path.write_bytes(b"\x1b[31mjunk")
    run = [sys.executable, "-m", "iotrace", "run", "-o", str(tmp_path / "p"), option, str(path), "--", "true"]
    done = subprocess.run(run, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 125
    assert done.stderr.count("\n") == 1 and str(path) in done.stderr and "\x1b" not in done.stderr
