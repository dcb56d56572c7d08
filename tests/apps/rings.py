"""io_uring by raw system calls, for workloads, and what comes of them: no library, and no test harness either."""

from __future__ import annotations

import textwrap
from typing import Dict

from .ring import RING
from .scenario import File, Scenario
from .traced import made


def scenario(text: str, **files: File) -> Scenario:
    """The script has RING before it."""
    return Scenario(RING + textwrap.dedent(text), files)


def deep_queue(flags: str = "0", options: str = "0", registered: bool = False) -> Scenario:
    """Requests by thread or kernel thread, worked on here or in workers, with plain and registered descriptors.

    Runs are made in the order of submission, whatever the order of the completions.
    """
    return scenario(
        f"""
        fd = create("data", 64 * 4096)
        try:
            ring, at = Ring(flags={flags}), memory(1 << 18)
        except OSError as error:
            assert error.errno == errno.EINVAL
            lacks("{flags}")
        if {registered}:
            ring.register_files(-1, fd)
        for op, size in (READ, 4096), (WRITE, 4096), (READ, 100):
            for i in range(64):
                ring.add(op, 1 if {registered} else fd, at + 4096 * i, size, 4096 * i, data=i,
                         flags=({options}) | {registered} * FIXED_FILE)
            ring.submit()
            assert ring.all(64) == dict.fromkeys(range(64), size)
        """,
        data=File(
            {
                "uring_read": made(128, 64 * 4196, {4096: 64, 64: 64}),
                "uring_write": made(64, 64 * 4096, {4096: 64}),
            },
            more={"sequential_write": {1 << 18: 1}, "sequential_read": {1 << 18: 1, 64: 64}},
        ),
    )


def spliced(flags: str) -> Scenario:
    """From a registered file through a pipe to another, in workers, as splices always are."""
    return scenario(
        f"""
        source, target = create("source", 64 * 100), create("target")
        try:
            ring, (out, into) = Ring(flags={flags}), os.pipe()
        except OSError as error:
            assert error.errno == errno.EINVAL
            lacks("{flags}")
        ring.register_files(target, -1, source)
        for i in range(64):
            last = i % 16 == 15
            ring.add_splice(2, into, 100, 100 * i, flags=ASYNC | LINK, data=1, splice_flags=FD_IN_FIXED)
            ring.add_splice(out, 0, 100, HERE, 100 * i, flags=ASYNC | FIXED_FILE | (0 if last else LINK), data=2)
            if last:
                ring.submit()
                assert sorted(ring.list(32)) == [(1, 100)] * 16 + [(2, 100)] * 16
        """,
        source=File({"uring_splice_read": made(64, 6400, {64: 64})}, more={"sequential_read": {4096: 1}}),
        target=File({"uring_splice_write": made(64, 6400, {64: 64})}, more={"sequential_write": {4096: 1}}),
    )


def opened(options: str) -> Scenario:
    """Each open begins at the start of the file, and each close ends what was read or written."""
    return scenario(
        f"""
        os.close(create("data", 5000))
        ring, at = Ring(), memory(65536)
        ring.register_files(-1, -1, -1)
        for _ in range(3):
            fd = ring.open("data", flags={options})
            assert fd > 0 and ring.one(READ, fd, at, 100, HERE) == 100
            assert ring.close(fd, flags={options}) == 0
        for slot in (2, ANY_SLOT):
            index = ring.open("data", os.O_RDWR, slot=slot, flags={options})
            if index < 0:
                lacks("files opened into the ring's table")
            index = 1 if slot == 2 and index == 0 else index
            assert ring.one(WRITE, index, at, 100, 0, flags=FIXED_FILE) == 100
            assert ring.close(0, slot=index + 1, flags={options}) == 0
        """,
        data=File(
            {"uring_read": made(3, 300, {64: 3}), "uring_write": made(2, 200, {64: 2})},
            more={"opens": 6, "closes": 6, "sequential_read": {64: 3}, "sequential_write": {64: 2}},
        ),
    )


SCENARIOS: Dict[str, Scenario] = {
    "every kind of request": scenario(
        """
        fd = create("data", 1 << 20)
        ring, at = Ring(), memory(65536)
        parts = iovec((at, 100), (at + 200, 0), (at + 4096, 1000))
        ring.register(REGISTER_BUFFERS, iovec((at, 65536)), 1)
        assert ring.one(READ, fd, at, 4096, 0) == 4096
        assert ring.one(READV, fd, parts, 3, 8192) == 1100
        assert ring.one(READ_FIXED, fd, at, 512, 1024) == 512
        assert ring.one(WRITE, fd, at, 16384, 0) == 16384
        assert ring.one(WRITEV, fd, parts, 3, 65536) == 1100
        assert ring.one(WRITE_FIXED, fd, at, 300, 70000) == 300
        assert ring.one(FSYNC, fd) == 0
        assert ring.one(FSYNC, fd, rw_flags=DATASYNC) == 0
        os.close(fd)
        """,
        data=File(
            {
                "uring_read": made(1, 4096, {4096: 1}),
                "uring_readv": made(1, 1100, {1024: 1}),
                "uring_read_fixed": made(1, 512, {512: 1}),
                "uring_write": made(1, 16384, {16384: 1}),
                "uring_writev": made(1, 1100, {1024: 1}),
                "uring_write_fixed": made(1, 300, {256: 1}),
            },
            {"uring_fsync": 2},
            {
                "bytes_between_syncs": {16384: 1, 0: 1},
                "bytes_synced": 17784,
                "bytes_unsynced": 0,
                "lowest_offset": 0,
                "highest_offset": 70299,
            },
        ),
    ),
    "a deep queue": deep_queue(),
    "a deep queue, by workers": deep_queue(options="ASYNC"),
    "a deep queue, registered files": deep_queue(registered=True),
    "a deep queue, registered files, by workers": deep_queue(options="ASYNC", registered=True),
    "a deep queue, polled": deep_queue("SQPOLL"),
    "a deep queue, polled, by workers": deep_queue("SQPOLL", "ASYNC"),
    "a deep queue, polled, registered files": deep_queue("SQPOLL", registered=True),
    "a deep queue, polled, registered files, by workers": deep_queue("SQPOLL", "ASYNC", True),
    "a deep queue, deferred": deep_queue("SINGLE_ISSUER | DEFER_TASKRUN"),
    "a deep queue, deferred, by workers": deep_queue("SINGLE_ISSUER | DEFER_TASKRUN", "ASYNC"),
    "a deep queue, deferred, registered files": deep_queue("SINGLE_ISSUER | DEFER_TASKRUN", registered=True),
    "the file position": scenario(
        """
        fd = create("data", 100000)
        ring, at = Ring(), memory(65536)
        for size in 1000, 2000:
            assert ring.one(READ, fd, at, size, HERE) == size
        assert os.lseek(fd, 0, os.SEEK_CUR) == 3000
        assert ring.one(WRITE, fd, at, 50, HERE) == 50
        log = create("log", 5000, RW | os.O_APPEND)
        for size in 10, 20, 40:
            assert ring.one(WRITE, log, at, size, 0) == size
        """,
        data=File(
            {"uring_read": made(2, 3000, {512: 1, 1024: 1}), "uring_write": made(1, 50, {32: 1})},
            more={
                "sequential_read": {2048: 1},
                "sequential_write": {32: 1},
                "lowest_offset": 0,
                "highest_offset": 3049,
            },
        ),
        log=File(
            {"uring_write": made(3, 70, {8: 1, 16: 1, 32: 1})},
            more={"sequential_write": {64: 1}, "lowest_offset": 5000, "highest_offset": 5069},
        ),
    ),
    # RWF_NOAPPEND, new in 6.9.
    "what does not append": scenario(
        """
        fd, ring, at = create("data", 1000, RW | os.O_APPEND), Ring(), memory(4096)
        if ring.one(WRITE, fd, at, 100, 0, rw_flags=0x20) == -errno.EOPNOTSUPP:
            lacks("RWF_NOAPPEND")
        assert ring.one(WRITE, fd, at, 50, 100, rw_flags=0x20) == 50
        assert os.fstat(fd).st_size == 1000
        assert ring.one(WRITE, fd, at, 8, 150) == 8
        assert os.fstat(fd).st_size == 1008
        """,
        data=File(
            {"uring_write": made(3, 158, {64: 1, 32: 1, 8: 1})},
            more={"lowest_offset": 0, "highest_offset": 1007, "sequential_write": {128: 1, 8: 1}, "rewrites": 0},
        ),
    ),
    # What comes after a failure in a chain is cancelled, hard links go on; chains also run in the drained order.
    "chains": scenario(
        """
        fd = create("data", 1 << 16)
        ring, at = Ring(), memory(65536)
        ring.add(WRITE, fd, at, 4096, 0, flags=LINK, data=1)
        ring.add(FSYNC, fd, flags=LINK, data=2)
        ring.add(READ, fd, at, 100, 0, data=3)
        ring.submit(3)
        assert ring.all(3) == {1: 4096, 2: 0, 3: 100}
        ring.add(READ, fd, 1, 8, 0, flags=LINK, data=1)
        ring.add(WRITE, fd, at, 16, 0, flags=LINK, data=2)
        ring.add(WRITE, fd, at, 16, 0, data=3)
        ring.submit(3)
        assert ring.all(3) == {1: -errno.EFAULT, 2: -errno.ECANCELED, 3: -errno.ECANCELED}
        ring.add(READ, fd, 1, 8, 0, flags=HARDLINK, data=1)
        ring.add(WRITE, fd, at, 16, 0, flags=DRAIN, data=2)
        ring.submit(2)
        assert ring.all(2) == {1: -errno.EFAULT, 2: 16}
        """,
        data=File(
            {
                "uring_write": made(4, 4112, {4096: 1, 16: 3}, {4096: 1, 16: 1}, {"ECANCELED": 2}),
                "uring_read": made(3, 100, {64: 1, 8: 2}, {64: 1}, {"EFAULT": 2}),
            },
            {"uring_fsync": 1},
        ),
    ),
    # IOSQE_CQE_SKIP_SUCCESS: only a failure or a short transfer is posted.
    "completions that are not shown": scenario(
        """
        fd = create("data", 1 << 16)
        ring, at = Ring(), memory(65536)
        ring.add(NOP, -1, flags=CQE_SKIP)
        ring.submit()
        if ring.reap():
            lacks("IOSQE_CQE_SKIP_SUCCESS")
        for _ in range(50):
            ring.add(WRITE, fd, at, 4096, 0, flags=CQE_SKIP | LINK)
            assert ring.one(FSYNC, fd) == 0
        for i in range(50):
            ring.add(READ, fd, at, 100, 0, flags=CQE_SKIP)
            assert ring.submit() == 1
            if i % 2:
                assert ring.one(NOP, -1) == 0       # may take the place of the read
        assert ring.one(READ, fd, at, 4096, 65000, flags=CQE_SKIP) == 536
        assert ring.one(READ, fd, 1, 4096, 0, flags=CQE_SKIP) == -errno.EFAULT
        """,
        data=File(
            {
                "uring_read": made(52, 5536, {64: 50, 4096: 2}, {64: 50, 512: 1}, {"EFAULT": 1}),
                "uring_write": made(50, 50 * 4096, {4096: 50}),
            },
            {"uring_fsync": 50},
        ),
    ),
    "more completions than the ring holds": scenario(
        """
        fd = create("data", 1 << 16)
        ring, at = Ring(32, completions=32), memory(65536)
        for batch in range(4):
            for i in range(32):
                ring.add(READ, fd, at, 128, 128 * i, data=32 * batch + i)
            ring.submit()
        assert ring.all(128) == dict.fromkeys(range(128), 128)
        """,
        data=File({"uring_read": made(128, 16384, {128: 128})}),
    ),
    "many rings and threads on one file": scenario(
        """
        fd = create("data", 1 << 20)
        def work(number):
            ring, at = Ring(16), memory(65536)
            for turn in range(10):
                for i in range(16):
                    ring.add(WRITE if i % 2 else READ, fd, at + 512 * i, 512, 4096 * number, data=i)
                ring.submit(16)
                assert ring.all(16) == dict.fromkeys(range(16), 512)
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """,
        data=File({key: made(640, 640 * 512, {512: 640}) for key in ("uring_read", "uring_write")}),
    ),
    # At offsets and at the position, which each side has of its own; a pipe counts nothing.
    "splices": scenario(
        """
        source, target = create("source", 100000), create("target")
        ring, (out, into) = Ring(), os.pipe()
        assert ring.splice(source, into, 1000, 5000) == 1000
        assert ring.splice(out, target, 1000, HERE, 70000) == 1000
        assert ring.splice(source, into, 2000, 6000) == 2000        # goes on where the first ended
        assert ring.splice(out, target, 2000, HERE, 71000) == 2000
        for size in 300, 40:
            assert ring.splice(source, into, size) == size
            assert ring.splice(out, target, size) == size
        assert (os.lseek(source, 0, os.SEEK_CUR), os.lseek(target, 0, os.SEEK_CUR)) == (340, 340)
        """,
        source=File(
            {"uring_splice_read": made(4, 3340, {512: 1, 1024: 1, 256: 1, 32: 1})},
            more={
                "sequential_read": {2048: 1, 256: 1},
                "lowest_offset": 0,
                "highest_offset": 7999,
                "bytes_read": 3340,
            },
        ),
        target=File(
            {"uring_splice_write": made(4, 3340, {512: 1, 1024: 1, 256: 1, 32: 1})},
            more={
                "sequential_write": {2048: 1, 256: 1},
                "lowest_offset": 0,
                "highest_offset": 72999,
                "bytes_unsynced": 3340,
            },
        ),
    ),
    "splices, registered files": spliced("0"),
    "splices, polled, registered files": spliced("SQPOLL"),
    "splices, deferred, registered files": spliced("SINGLE_ISSUER | DEFER_TASKRUN"),
    # Into descriptors and into the ring's table, at a place of the caller's choice and of the kernel's.
    "opens and closes": opened("0"),
    "opens and closes, by workers": opened("ASYNC"),
    # When the last request of a chain is taken, nothing is there yet; when that is done, nothing is there any more.
    "a chain that opens, uses and closes": scenario(
        """
        os.close(create("data", 5000))
        ring, at = Ring(), memory(65536)
        ring.register_files(-1, -1)
        for _ in range(10):
            ring.add_open("data", slot=1, flags=LINK, data=1)
            ring.add(READ, 0, at, 1000, HERE, flags=FIXED_FILE | LINK, data=2)
            ring.add(READ, 0, at, 1000, HERE, flags=FIXED_FILE | LINK, data=3)
            ring.add_close(0, slot=1, data=4)
            ring.submit(4)
            if ring.all(4) != {1: 0, 2: 1000, 3: 1000, 4: 0}:
                lacks("chains that open files")
        """,
        data=File(
            {"uring_read": made(20, 20000, {512: 20})},
            more={"opens": 11, "closes": 11, "sequential_read": {1024: 10}},
        ),
    ),
}
