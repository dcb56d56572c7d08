"""Many processes and many files in one run: what is reported plus what is admitted to be lost is what was done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import needs

from . import observe
from .traced import PRELUDE, Traced, histogram, trace

pytestmark = needs.root

PROCESSES = 20_000
FILES = 100_000

MANY_FILES = f"""
for directory in range(100):
    os.mkdir(f"d{{directory:02}}")
for number in range({FILES}):
    fd = os.open(f"d{{number % 100:02}}/f{{number}}", RW, 0o644)
    os.write(fd, b"x")
    os.close(fd)
"""


def total(found: Traced, key: str) -> int:
    """The calls of one kind on the script's own files."""
    below = bytes(found.place) + b"/"
    files = [file for file in found.document["files"] if observe.path_of(file).startswith(below)]
    return sum(file["syscalls"].get(key, {"calls": 0})["calls"] for file in files if not file["path"].endswith(".py"))


def test_short_lived_processes(place: Path) -> None:
    """Two processes beget 10,000 each, one after the other; every child writes to one of 97 files and is gone."""
    found = trace(
        place,
        f"""
        def beget(first):
            for number in range(first, {PROCESSES}, 2):
                pid = os.fork()
                if pid == 0:
                    fd = os.open(f"f{{number % 97}}", RW | os.O_APPEND, 0o644)
                    os.write(fd, bytes(10))
                    os.close(fd)
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
        pid = os.fork()
        if pid == 0:
            beget(1)
            os._exit(0)
        beget(0)
        assert os.waitpid(pid, 0)[1] == 0
        """,
    )
    assert {key: total(found, key) for key in ("open", "write", "close")} == {
        "open": PROCESSES,
        "write": PROCESSES,
        "close": PROCESSES,
    }
    assert len(found.names) == 97
    assert sum(found[name]["bytes_written"] for name in found.names) == 10 * PROCESSES


def test_many_files_with_room_for_all(place: Path) -> None:
    found = trace(place, MANY_FILES, ["--max-files", str(2 * FILES)])
    assert len(found.names) == FILES
    assert all(total(found, key) == FILES for key in ("open", "write", "close"))


# A flood of files, slow enough for any machine: what is held here is exactness, not speed.
FLOOD = """
made = 0
def flood(count):
    global made
    for made in range(made + 1, made + count + 1):
        fd = os.open(f"d{made % 10}/f{made}", RW, 0o644)
        assert os.write(fd, bytes(100)) == 100
        os.close(fd)
        if made % 3 == 0:
            os.unlink(f"d{made % 10}/f{made}")
        if made % 100 == 0:
            time.sleep(0.02)

for directory in range(10):
    os.mkdir(f"d{directory}")
"""
ROOM = 4096
IDLE = ["--max-files", str(ROOM)]


def test_files_come_and_go_through_small_tables(place: Path) -> None:
    """Six times as many files as there is room for, some written by threads at once."""
    found = trace(
        place,
        FLOOD
        + """
flood(4 * 4096)
def write(number):
    for turn in range(2048):
        fd = os.open(f"d{number}/t{number}-{turn}", RW, 0o644)
        assert os.pwrite(fd, bytes(10), 5) == 10
        os.close(fd)
        if turn % 10 == 0:
            time.sleep(0.02)
threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
""",
        IDLE,
    )
    assert len(found.names) == 4 * ROOM + 4 * 2048
    assert all(total(found, key) == len(found.names) for key in ("open", "close"))
    for file in found.document["files"]:
        name = file["path"].rpartition("/")[2]
        if file["path"].startswith(f"{place}/d"):
            number = int(name[1:].partition("-")[0])
            size, call, first = (100, "write", 0) if name[0] == "f" else (10, "pwrite64", 5)
            assert file["deleted"] == (name[0] == "f" and number % 3 == 0)
            assert (file["bytes_written"], file["syscalls"][call]["calls"]) == (size, 1)
            assert (file["lowest_offset"], file["highest_offset"]) == (first, first + size - 1)
            assert histogram(file, "sequential_write") == {64 if size == 100 else 8: 1}


def test_what_is_open_all_the_time_stays_in_one_piece(place: Path) -> None:
    found = trace(
        place,
        FLOOD
        + """
held = [os.open(f"held{number}", RW, 0o644) for number in range(64)]
for turn in range(6):
    for fd in held:
        assert os.write(fd, bytes(1000)) == 1000
    flood(4096)
""",
        IDLE,
    )
    for number in range(64):
        file = found[f"held{number}"]
        assert (file["opens"], file["bytes_written"], file["rewrites"]) == (1, 6000, 0)
        assert histogram(file, "sequential_write") == {4096: 1}, "one run of 6000 bytes"


def test_what_comes_again_goes_on_where_it_was(place: Path) -> None:
    """Rewrites and bytes between syncs span the time in which the tables had forgotten the file."""
    found = trace(
        place,
        FLOOD
        + """
names = [f"again{number}" for number in range(50)]
def visit(*actions):
    for name in names:
        fd = os.open(name, RW, 0o644)
        for action in actions:
            action(fd)
        os.close(fd)
    flood(5000)
def write(offset, size):
    return lambda fd: os.pwrite(fd, bytes(size), offset)
visit(write(0, 10))
visit(write(0, 10))                     # a rewrite
visit(os.fsync, write(4096, 300))       # 20 bytes, and 300 to be synced
visit(write(4096, 5), os.fdatasync, os.fsync)   # a rewrite, 305 bytes, none
visit(write(0, 7))
""",
        IDLE,
    )
    for number in range(50):
        file = found[f"again{number}"]
        assert (file["opens"], file["closes"], file["rewrites"]) == (5, 5, 2)
        assert histogram(file, "bytes_between_syncs") == {16: 1, 256: 1, 0: 1}
        assert (file["bytes_synced"], file["bytes_unsynced"]) == (325, 7)
        assert (file["lowest_offset"], file["highest_offset"]) == (0, 4400 - 5)
        assert (file["state"], file["renamed_to"], file["incarnations"]) == ("present", None, 1)


def test_a_directory_is_renamed_when_its_files_are_forgotten(place: Path) -> None:
    found = trace(
        place,
        FLOOD
        + """
os.mkdir("old")
for number in range(20):
    os.close(os.open(f"old/{number}", RW, 0o644))
flood(5000)
os.rename("old", "new")
flood(5000)
for number in range(0, 20, 2):
    os.close(os.open(f"new/{number}", RW, 0o644))
""",
        IDLE,
    )
    for number in range(20):
        assert found[f"old/{number}"]["opens"] == 1
        if number % 2 == 0:
            assert (found[f"new/{number}"]["opens"], found[f"new/{number}"]["state"]) == (1, "present")


def test_more_files_than_there_is_room_for(place: Path) -> None:
    """Whatever does not fit is counted as lost, call by call."""
    found = trace(place, MANY_FILES, ["--max-files", "1000"], complete=False)
    counted = sum(total(found, key) for key in ("open", "write", "close"))
    lost = found.document["lost"]
    assert lost["events"] == 0
    assert counted + lost["calls"] == 3 * FILES
    assert len(found.names) + lost["files"] >= FILES


OTHERS = """
fd, end = os.open(sys.argv[1], os.O_RDONLY), time.time() + 60
while time.time() < end:
    threads = [threading.Thread(target=os.pread, args=(fd, 64, 0)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_on_the_stacks_of_threads_that_are_not_traced(place: Path) -> None:
    """The kernel gives the stack of a thread that ended to the next one that begins, whosever it is."""
    busy = [sys.executable, "-I", "-S", "-c", PRELUDE + OTHERS, __file__]
    others = [subprocess.Popen(busy) for _ in range(2)]
    try:
        found = trace(
            place,
            """
            fd = create("data", 64)
            def work():
                for _ in range(5):
                    os.pread(fd, 64, 0)
            rounds, end = 0, time.time() + 3
            while time.time() < end:
                threads = [threading.Thread(target=work) for _ in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                rounds += 1
            say(rounds)
            """,
        )
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert found["data"]["syscalls"]["pread64"]["calls"] == 40 * found.said
