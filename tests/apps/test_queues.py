"""How many requests of a file are in flight, and how many threads use it: by arithmetic, and as fio has it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

import pytest

from tests import needs

from . import observe
from .aio import PRELUDE
from .observe import Command, path_of
from .ring import trace_ring
from .traced import histogram, trace

pytestmark = needs.root


def depths(file: Mapping[str, Any]) -> Tuple[int, Dict[int, int]]:
    return file["queue_depth_max"], histogram(file, "queue_depth")


def test_requests_of_aio_and_threads(way: List[str], place: Path) -> None:
    """A request is in flight until it is taken, out of the ring too; what io_submit does not accept has never been.

    A thread counts once for a file, whatever it does there; one that opens it does no I/O.
    """
    found = trace(
        place,
        PRELUDE
        + textwrap.dedent(
            """
            fd, other, context = create("data", 1 << 20), create("other", 1 << 20), Context(8)
            assert context.submit(request(PREAD, fd, 512)) == 1             # 1
            context.reap(1)
            assert context.submit(*[request(PREAD, fd, 4096, 4096 * n) for n in range(5)]) == 5     # 1 to 5
            context.reap(2, 2)
            assert context.submit(request(PWRITE, fd, 100), request(PREAD, other, 100)) == 2        # 4, and 1
            context.take(5)
            refused = [request(9, fd), request(PREAD, fd, 9)]
            assert context.submit(*[request(PREAD, fd, 512) for _ in range(6)], *refused) == 6      # 1 to 6
            context.reap(6)
            assert context.submit(refused[0]) == -errno.EINVAL
            assert context.submit(request(PREAD, fd, 7, -1)) == -errno.EINVAL
            assert context.submit(request(PREAD, fd, 512)) == 1             # 1
            context.reap(1)

            unused, shared, crowded = create("unused"), create("shared", 1 << 20), create("crowded", 1 << 20)
            again, written = os.open("shared", os.O_RDONLY), create("written")

            def work(number, ready):
                for _ in range(3):
                    os.pread(crowded, 100, 0)
                    if number < 9:
                        os.pread([shared, again][number % 2], 100, 0)
                if number < 3:
                    os.fsync(written)
                ready.wait()        # so that no id is used twice

            ready = threading.Barrier(71)
            threads = [threading.Thread(target=work, args=(number, ready)) for number in range(70)]
            for thread in threads:
                thread.start()
            ready.wait()
            for thread in threads:
                thread.join()
            child(lambda: os.pread(shared, 1, 0))
            """
        ),
        way,
    )
    queues = [depths(found[name]) for name in ("data", "other")]
    ours = {"data": 1, "other": 1}
    if "queue depth" in found.document["coverage"]:  # before 5.3
        ours = {"data": 0, "other": 0}
        assert queues == [(0, {}), (0, {})]
    else:
        assert queues == [(6, {1: 4, 2: 4, 4: 6}), (1, {1: 1})]
    assert depths(found["shared"]) == (0, {})
    threads = {**ours, "unused": 0, "shared": 10, "crowded": 64, "written": 3}
    assert {name: found[name]["threads"] for name in threads} == threads


@pytest.mark.parametrize("attach", ["raw", "perf"])
def test_requests_of_io_uring(attach: str, place: Path) -> None:
    """The kernel takes all of a chain before it begins with the first; what it opens is in no file's queue then."""
    found = trace_ring(
        place,
        """
        fd, other, ring = create("data", 1 << 20), create("other", 1 << 16), Ring(16)
        os.close(create("later", 8192))
        room = memory(4096)

        def chain(*files):
            for number, file in enumerate(files, 1):
                ring.add(READ, file, room, 512, 0, flags=LINK if number < len(files) else 0)
            ring.submit(len(files))
            assert [result for _, result in ring.reap()] == [512] * len(files)

        for _ in range(10):
            chain(*[fd] * 7)        # 1 to 7
        chain(fd, other, fd, other)     # 1 and 2 of each
        assert ring.one(FSYNC, fd) == 0     # 1
        ring.register_files(-1)
        ring.add_open("later", slot=1, flags=LINK)
        ring.add(READ, 0, room, 4096, 0, flags=FIXED_FILE)
        ring.submit(2)
        assert [result for _, result in ring.reap()] == [0, 4096]
        thread = threading.Thread(target=chain, args=(fd,))
        thread.start()
        thread.join()
        """,
        ["--attach", attach],
    )
    assert depths(found["data"]) == (7, {1: 13, 2: 21, 4: 40})
    assert depths(found["other"]) == (2, {1: 1, 2: 1})
    assert depths(found["later"]) == (0, {})
    assert [found[name]["threads"] for name in ("data", "other", "later")] == [2, 1, 1]


@needs.programs("fio")
def test_depths_as_fio_has_them(place: Path) -> None:
    """fio counts the requests that it has not taken back yet, as libaio's are counted here too."""
    (place / "job").write_text(
        f"""
[job]
directory={place}
ioengine=libaio
direct=1
rw=randread
bs=4k
filesize=2m
number_ios=400
iodepth=20
"""
    )
    options = ["--output-format=json", f"--output={place}/report", str(place / "job")]
    found = observe.alone(Command(["fio", *options], place))
    assert found.status == 0, found.stderr
    (file,) = [file for file in found.document["files"] if path_of(file) == bytes(place / "job.0.0")]
    (job,) = json.loads((place / "report").read_text())["jobs"]
    most, buckets = depths(file)
    assert most == 20 and sum(buckets.values()) == 400
    levels = {int(level): share for level, share in job["iodepth_level"].items() if level.isdigit() and share}
    assert levels == {level: pytest.approx(count / 4, abs=0.001) for level, count in buckets.items()}
