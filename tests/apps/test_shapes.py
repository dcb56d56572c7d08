"""The sizes that are asked for most, alignment, the size of a file, and latencies, of calls whose answer is known."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List

from tests import needs

from .traced import trace

pytestmark = needs.root


def common(file: Dict[str, Any], call: str) -> Dict[int, int]:
    return {int(size): count for size, count in file["syscalls"][call]["common_sizes"].items()}


def test_up_to_four_sizes_are_exact_with_threads_too(way: List[str], place: Path) -> None:
    """Failed calls count, as they do in the histogram; a size of 0 is one like others."""
    file = trace(
        place,
        """
        fd = create("data", 1 << 20)
        sizes = [4096] * 300 + [100] * 200 + [0] * 50 + [65537] * 7

        def work():
            for size in sizes:
                os.pwrite(fd, bytes(size), 0)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _ in range(3):
            refused(errno.EINVAL, os.pwrite, fd, bytes(100), -5)
        """,
        way,
    )["data"]
    assert common(file, "pwrite64") == {4096: 1200, 100: 803, 0: 200, 65537: 28}
    assert file["syscalls"]["pwrite64"]["common_sizes_error"] == 0


def drawn(chosen: random.Random) -> List[int]:
    """Sizes in the order of a file's calls: of one to twelve, by turns, in runs, or the most frequent one last."""
    kinds = [chosen.choice([0, 1, 100, 511, 512, 4096, 8192, 65537, chosen.randrange(9000)]) for _ in range(12)]
    kinds = kinds[: chosen.randrange(1, 13)]
    sizes = chosen.choices(kinds, [chosen.random() ** 4 + 0.001 for _ in kinds], k=chosen.randrange(1, 900))
    order = chosen.choice(["mixed", "in runs", "the most frequent last"])
    frequent = Counter(sizes)
    if order == "in runs":
        sizes.sort(key=lambda size: (size * 7919) % 101)
    elif order != "mixed":
        sizes.sort(key=lambda size: (frequent[size], size))
    return sizes


def test_common_sizes_are_exact_up_to_four_and_within_the_bound_beyond(way: List[str], place: Path) -> None:
    """Of files with sizes drawn at random, each used by one thread or by several at once."""
    chosen = random.Random(20)
    drawings = [(drawn(chosen), chosen.randrange(1, 5)) for _ in range(60)]
    found = trace(
        place,
        f"""
        room = bytes(1 << 17)
        for number, (sizes, count) in enumerate({drawings}):
            fd = create(f"data{{number}}", 4096)
            def work(part):
                for size in sizes[part::count]:
                    os.pread(fd, size, 0) if number % 2 else os.pwrite(fd, room[:size], 0)
            threads = [threading.Thread(target=work, args=(part,)) for part in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        """,
        way,
    )
    exact = 0
    for number, (sizes, _) in enumerate(drawings):
        name, file = "pread64" if number % 2 else "pwrite64", found[f"data{number}"]
        true, told, error = Counter(sizes), common(file, name), file["syscalls"][name]["common_sizes_error"]
        if len(true) <= 4:
            exact += 1
            assert (told, error) == (true, 0)
        assert len(told) == min(len(true), 4) and error < len(sizes)
        assert all(abs(true[size] - count) <= error for size, count in told.items())
        assert all(true[size] <= min(told.values()) + error for size in true.keys() - told.keys())
    assert 10 < exact < 50


def test_calls_that_are_not_aligned(way: List[str], place: Path) -> None:
    """By offset or size; where nothing was moved, by where it would have begun."""
    file = trace(
        place,
        """
        fd = create("data", 1 << 16)
        os.pread(fd, 4096, 0)
        os.pread(fd, 4096, 1 << 16)       # at the end of the file
        os.pread(fd, 4095, 0)             # 1
        os.pread(fd, 4096, 512)           # 2
        os.read(fd, 8192)
        os.read(fd, 100)                  # 3
        os.read(fd, 4096)                 # 4: from 8292 on
        os.lseek(fd, 0, 0)
        os.write(fd, bytes(4096))
        os.pwritev(fd, [bytes(1000), bytes(3096)], 4096)
        os.pwritev(fd, [bytes(1000), bytes(3095)], 4096)  # 5
        direct = os.open("data", os.O_RDWR | os.O_DIRECT)
        page = mmap.mmap(-1, 8192)
        os.preadv(direct, [memoryview(page)[:4096]], 4096)
        refused(errno.EINVAL, os.preadv, direct, [memoryview(page)[:4096]], 100)  # 6
        """,
        way,
    )["data"]
    assert (file["unaligned_calls"], file["unaligned_direct_calls"], file["direct_calls"]) == (6, 1, 2)


def test_the_size_that_a_file_was_last_seen_with(way: List[str], place: Path) -> None:
    """Of those that are there when tracing ends, of one deleted while open, and of one deleted after its last close."""
    found = trace(
        place,
        """
        os.close(create("closed", 5000))
        fd = create("left_open", 1000)
        os.pwrite(fd, b"x", 6000)
        fd = create("deleted")
        os.write(fd, bytes(7000))
        os.unlink("deleted")
        os.close(fd)
        fd = create("deleted_later")
        os.write(fd, bytes(8000))
        os.close(fd)
        os.unlink("deleted_later")
        os.close(create("empty"))
        os.close(create("cut", 9000))
        os.truncate("cut", 10)
        """,
        way,
    )
    names = ("closed", "left_open", "deleted", "deleted_later", "empty", "cut")
    assert {name: found[name]["size"] for name in names} == dict(zip(names, (5000, 6001, 7000, 8000, 0, 10)))


def test_latencies_lie_within_what_the_script_measured(way: List[str], place: Path) -> None:
    """A pipe's other end makes the reader wait: the script's own clock goes around the calls."""
    found = trace(
        place,
        """
        fd = create("data", 1 << 22)
        before = time.monotonic_ns()
        for block in range(500):
            os.pread(fd, 4096, block * 4096)
        middle = time.monotonic_ns()
        slowest = 0
        for _ in range(5):
            os.pwrite(fd, bytes(1 << 16), 0)
            start = time.monotonic_ns()
            os.fsync(fd)
            slowest = max(slowest, time.monotonic_ns() - start)
        say([middle - before, slowest])
        """,
        way,
    )
    around, slowest = found.said
    calls = found["data"]["syscalls"]
    read, sync = calls["pread64"], calls["fsync"]
    assert 500 * 50 < read["latency_sum_ns"] < around
    assert read["latency_max_ns"] < read["latency_sum_ns"] and sync["latency_max_ns"] < slowest
    for call in (read, sync, calls["open"]):
        total = sum(call["latency_ns"].values())
        assert total == call["calls"] - sum(call["errors"].values())
        lowest = sum(int(lower) * count for lower, count in call["latency_ns"].items())
        assert lowest <= call["latency_sum_ns"] <= 1.25 * lowest + 16 * total
        assert max(map(int, call["latency_ns"])) <= call["latency_max_ns"]
