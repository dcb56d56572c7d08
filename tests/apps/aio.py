"""Linux AIO by raw system calls, for workloads, and what comes of them: no library, and no test harness either."""

from __future__ import annotations

import textwrap
from typing import Dict

from .scenario import File, Scenario
from .traced import made

# include/uapi/linux/aio_abi.h, and struct aio_ring of fs/aio.c
PRELUDE = textwrap.dedent('''
PREAD, PWRITE, FSYNC, FDSYNC, POLL, NOOP, PREADV, PWRITEV = 0, 1, 2, 3, 5, 6, 7, 8
RESFD, IOPRIO = 1, 2
SETUP, DESTROY, SUBMIT, GETEVENTS, PGETEVENTS = {
    "x86_64": (206, 207, 209, 208, 333), "aarch64": (0, 1, 2, 4, 292)}[os.uname().machine]
U64 = ctypes.c_uint64

class Iocb(ctypes.Structure):
    _fields_ = [("data", U64), ("key", ctypes.c_uint32), ("rw_flags", ctypes.c_int32), ("opcode", ctypes.c_uint16),
                ("priority", ctypes.c_int16), ("fd", ctypes.c_uint32), ("buffer", U64), ("size", U64),
                ("offset", ctypes.c_int64), ("reserved", U64), ("flags", ctypes.c_uint32), ("resfd", ctypes.c_uint32)]

class Event(ctypes.Structure):
    _fields_ = [("data", U64), ("request", U64), ("result", ctypes.c_int64), ("result2", ctypes.c_int64)]

class Entry(ctypes.Structure):
    _fields_ = [("base", U64), ("length", U64)]

area = mmap.mmap(-1, 1 << 20)
AT = ctypes.addressof(ctypes.c_char.from_buffer(area))
libc.syscall.restype = L

def call(number, *arguments):
    """The result, or -errno."""
    result = libc.syscall(L(number), *[L(argument) for argument in arguments])
    return result if result >= 0 else -ctypes.get_errno()

def request(opcode, fd, size=0, offset=0, buffer=AT, **more):
    return Iocb(opcode=opcode, fd=fd, buffer=buffer, size=size, offset=offset, **more)

def vector(lengths):
    return (Entry * len(lengths))(*[(AT, length) for length in lengths])

class Context:
    def __init__(self, entries=128):
        context = U64()
        assert call(SETUP, entries, ctypes.addressof(context)) == 0
        self.id = context.value

    def submit(self, *requests):
        self.kept = requests
        pointers = (U64 * len(requests))(*[ctypes.addressof(request) for request in requests])
        return call(SUBMIT, self.id, len(requests), ctypes.addressof(pointers))

    def reap(self, least, most=4096):
        """The results, in the order of completion."""
        events = (Event * most)()
        found = call(GETEVENTS, self.id, least, most, ctypes.addressof(events), 0)
        assert found >= least, found
        return [event.result for event in events[:found]]

    def reap_with(self, least, most, *, blocked=(), size=8, milliseconds=None):
        """As `reap`, by io_pgetevents, with these signals blocked and all others let through; or -errno."""
        events, mask = (Event * most)(), U64(sum(1 << number - 1 for number in blocked))
        signals = (U64 * 2)(ctypes.addressof(mask), size)       # struct __aio_sigset
        wait = (L * 2)(0, (milliseconds or 0) * 1000000)        # struct timespec
        found = call(PGETEVENTS, self.id, least, most, ctypes.addressof(events),
                     0 if milliseconds is None else ctypes.addressof(wait), ctypes.addressof(signals))
        return found if found < 0 else [event.result for event in events[:found]]

    def one(self, *arguments, **more):
        assert self.submit(request(*arguments, **more)) == 1
        return self.reap(1)[0]

    def take(self, least):
        """As `reap`, but out of the ring itself: no system call."""
        head = (ctypes.c_uint32 * 8).from_address(self.id)
        results = []
        while len(results) < least:
            while head[2] != head[3]:
                results.append(Event.from_address(self.id + head[7] + head[2] * 32).result)
                head[2] = (head[2] + 1) % head[1]
        return results

    def destroy(self):
        assert call(DESTROY, self.id) == 0

# Of these some came with 4.18, the last with 4.19.
NEWER = {FSYNC: "IOCB_CMD_FSYNC", IOPRIO: "IOCB_FLAG_IOPRIO", PGETEVENTS: "io_pgetevents", POLL: "IOCB_CMD_POLL"}

def need(*wanted):
    """Ends the script unless this kernel has these of NEWER. Nothing is counted: a memfd has no path."""
    context, fd = Context(), os.memfd_create("nobody's")
    has = {
        FSYNC: lambda: context.submit(request(FSYNC, fd, buffer=0)) == 1,
        IOPRIO: lambda: context.submit(request(PREAD, fd, flags=IOPRIO, priority=7 << 13)) == -errno.EINVAL,
        PGETEVENTS: lambda: call(PGETEVENTS, 0, 0, 0, 0, 0, 0) != -errno.ENOSYS,
        POLL: lambda: context.submit(request(POLL, fd, buffer=4)) == 1,
    }
    for what in wanted:
        if not has[what]():
            lacks(NEWER[what])
    context.destroy()
    os.close(fd)
''')


def scenario(text: str, **files: File) -> Scenario:
    """The script has PRELUDE before it."""
    return Scenario(PRELUDE + textwrap.dedent(text), files)


def reaped(end: str) -> Scenario:
    """Around the ring several times, with the same iocbs again and again; nothing but the end shows the last ones."""
    return scenario(
        f"""
        fd, context = create("data", 1 << 20), Context(8)
        batch = [request(PREAD, fd, 512 << n % 3) for n in range(8)]
        for n in range(60):
            assert context.submit(*batch) == 8
            assert sorted(context.take(8) if n % 5 else context.reap(8)) == sorted(r.size for r in batch)
        assert context.submit(*batch[:3]) == 3
        context.take(3)
        {end}
        """,
        data=File(
            {"aio_pread": made(483, 181 * 512 + 181 * 1024 + 121 * 2048, {512: 181, 1024: 181, 2048: 121})},
        ),
    )


SCENARIOS: Dict[str, Scenario] = {
    "every kind of transfer": scenario(
        """
        fd, context = create("data", 1 << 20), Context()
        parts = vector([100, 0, 1000])
        assert context.one(PREAD, fd, 4096) == 4096
        assert context.one(PREADV, fd, 3, 8192, buffer=ctypes.addressof(parts)) == 1100
        assert context.one(PWRITE, fd, 16384) == 16384
        assert context.one(PWRITEV, fd, 3, 65536, buffer=ctypes.addressof(parts)) == 1100
        assert context.one(PWRITE, fd, 300, 70000, rw_flags=2) == 300
        os.close(fd)
        """,
        data=File(
            {
                "aio_pread": made(1, 4096, {4096: 1}),
                "aio_preadv": made(1, 1100, {1024: 1}),
                "aio_pwrite": made(2, 16684, {16384: 1, 256: 1}),
                "aio_pwritev": made(1, 1100, {1024: 1}),
            },
            more={
                "bytes_unsynced": 17784,
                "durable_writes": 1,
                "lowest_offset": 0,
                "highest_offset": 70299,
                "opens": 1,
                "closes": 1,
            },
        ),
    ),
    "syncs and polls": scenario(
        """
        need(FSYNC, POLL)
        fd, context = create("data", 1 << 20), Context()
        assert context.one(PWRITE, fd, 16384) == 16384
        assert context.one(PWRITE, fd, 1400, 65536) == 1400
        assert context.one(FSYNC, fd, buffer=0) == 0
        assert context.one(FDSYNC, fd, buffer=0) == 0
        assert context.one(POLL, fd, buffer=1) >= 0
        """,
        data=File(
            {"aio_pwrite": made(2, 17784, {16384: 1, 1024: 1})},
            {"aio_fsync": 1, "aio_fdsync": 1},
            {"bytes_between_syncs": {16384: 1, 0: 1}, "bytes_synced": 17784, "bytes_unsynced": 0},
        ),
    ),
    "vectors": scenario(
        """
        fd, context = create("data", 1 << 20), Context()
        for entries in 0, 1, 8, 9, 16, 17, 1024:
            parts = vector([3 + n % 5 for n in range(entries)])
            assert context.one(PREADV, fd, entries, buffer=ctypes.addressof(parts)) == sum(p.length for p in parts)
        """,
        data=File({"aio_preadv": made(7, 5361, {0: 1, 2: 1, 32: 2, 64: 2, 4096: 1})}),
    ),
    # New files, whose names must be sent, between known ones, a pipe and requests without data.
    "a batch across files and things that are none": scenario(
        """
        need(POLL)
        files = [create(f"data{n}", 65536) for n in range(4)]
        (out, into), context = os.pipe(), Context()
        batch = []
        for n in range(12):
            batch += [request(PREAD, files[n % 4], 1024, n * 1024), request(PWRITE, into, 1)]
            batch += [request(POLL, into, buffer=4)]
        assert context.submit(*batch) == 36
        context.reap(36)
        """,
        **{f"data{n}": File({"aio_pread": made(3, 3072, {1024: 3})}) for n in range(4)},
    ),
    "runs follow the order of submission": scenario(
        """
        fd, context = create("data", 65536 + 100), Context()
        assert context.submit(*[request(PREAD, fd, 1024, n * 1024) for n in range(64)]) == 64
        context.reap(64)
        assert context.one(PREAD, fd, 1024, 65536) == 100
        assert context.one(PREAD, fd, 1024, 65636) == 0
        assert context.one(PREAD, fd, 10, 0) == 10
        assert context.one(PREAD, fd, 10, 1 << 30) == 0
        assert context.one(PREAD, fd, 10, 10) == 10
        for n in (5, 3, 3):
            assert context.one(PWRITE, fd, 512, n * 1024) == 512
        """,
        data=File(
            {
                "aio_pread": made(69, 65656, {1024: 66, 8: 3}, {1024: 64, 64: 1, 0: 2, 8: 2}),
                "aio_pwrite": made(3, 1536, {512: 3}),
            },
            more={"sequential_read": {65536: 1, 16: 1}, "sequential_write": {512: 3}, "rewrites": 1},
        ),
    ),
    "what appends": scenario(
        """
        fd, context = create("data", 1000, RW | os.O_APPEND), Context()
        assert context.submit(*[request(PWRITE, fd, 100) for _ in range(3)]) == 3
        context.reap(3)
        assert context.one(PWRITE, fd, 100) == 100
        assert os.fstat(fd).st_size == 1400
        """,
        data=File(
            {"aio_pwrite": made(4, 400, {64: 4})},
            more={"lowest_offset": 1000, "highest_offset": 1399, "sequential_write": {256: 1}, "rewrites": 0},
        ),
    ),
    # RWF_NOAPPEND, new in 6.9.
    "what does not append": scenario(
        """
        fd, context = create("data", 1000, RW | os.O_APPEND), Context()
        if context.submit(request(PWRITE, fd, 100, rw_flags=0x20)) == -errno.EOPNOTSUPP:
            lacks("RWF_NOAPPEND")
        assert context.reap(1) == [100]
        assert context.one(PWRITE, fd, 50, 100, rw_flags=0x20) == 50
        assert os.fstat(fd).st_size == 1000
        assert context.one(PWRITE, fd, 8, 150) == 8
        assert os.fstat(fd).st_size == 1008
        """,
        data=File(
            {"aio_pwrite": made(3, 158, {64: 1, 32: 1, 8: 1})},
            more={"lowest_offset": 0, "highest_offset": 1007, "sequential_write": {128: 1, 8: 1}, "rewrites": 0},
        ),
    ),
    "requests that are refused": Scenario(
        PRELUDE
        + textwrap.dedent(
            """
            fd, context = create("data", 8192), Context()
            only_read = os.open("data", os.O_RDONLY)
            good = lambda n: request(PREAD, fd, 100, n * 100)
            assert context.submit(request(PREAD, 999, 10)) == -errno.EBADF
            assert context.submit(request(FSYNC, 999, buffer=0)) == -errno.EBADF
            assert context.submit(request(PWRITE, only_read, 10)) == -errno.EBADF
            assert context.submit(request(99, fd, 10)) == -errno.EINVAL
            assert context.submit(request(PREAD, fd, 10, reserved=1)) == -errno.EINVAL
            assert context.submit() == 0
            assert call(SUBMIT, context.id, -1, AT) == -errno.EINVAL
            assert call(SUBMIT, context.id, 1, 8) == -errno.EFAULT
            assert call(SUBMIT, 12345 << 12, 1, AT) == -errno.EINVAL
            assert context.submit(good(0), good(1), request(PREAD, 999, 100), good(2)) == 2
            assert context.reap(2) == [100, 100]
            assert context.submit(good(2), good(3)) == 2
            assert context.reap(2) == [100, 100]
            """
        ),
        {
            "data": File(
                {
                    "aio_pread": made(5, 400, {64: 4, 8: 1}, {64: 4}, {"EINVAL": 1}),
                    "aio_pwrite": made(1, 0, {8: 1}, {}, {"EBADF": 1}),
                },
                more={"sequential_read": {256: 1}},
            )
        },
        {"aio_pread": {"EBADF": 1}, "aio_fsync": {"EBADF": 1}},
    ),
    "every reason to refuse": scenario(
        """
        need(FSYNC, IOPRIO, PGETEVENTS)
        fd, context = create("data", 8192), Context()
        parts = vector([1] * 2000)
        def refuse(expected, *arguments, **more):
            assert context.submit(request(*arguments, **more)) == -expected
        refuse(errno.EBADF, PREAD, fd, 16, flags=RESFD, resfd=999)
        refuse(errno.EINVAL, PREAD, fd, 32, flags=RESFD, resfd=fd)
        refuse(errno.EINVAL, PREAD, fd, 64, flags=IOPRIO, priority=7 << 13)
        refuse(errno.EOPNOTSUPP, PWRITE, fd, 128, rw_flags=1 << 30)
        refuse(errno.EINVAL, PWRITE, fd, 1 << 63)
        refuse(errno.EINVAL, PREADV, fd, 2000, buffer=ctypes.addressof(parts))
        refuse(errno.EINVAL, PWRITEV, fd, 2000, buffer=ctypes.addressof(parts))
        refuse(errno.EINVAL, FSYNC, fd, 1, buffer=0)
        refuse(errno.EINVAL, FDSYNC, fd, buffer=0, rw_flags=1)
        assert context.reap_with(0, 1, milliseconds=0) == []
        """,
        data=File(
            {
                "aio_pread": made(3, 0, {16: 1, 32: 1, 64: 1}, {}, {"EBADF": 1, "EINVAL": 2}),
                "aio_pwrite": made(2, 0, {128: 1, 1 << 63: 1}, {}, {"EOPNOTSUPP": 1, "EINVAL": 1}),
                "aio_preadv": made(1, 0, {1024: 1}, {}, {"EINVAL": 1}),
                "aio_pwritev": made(1, 0, {1024: 1}, {}, {"EINVAL": 1}),
            },
            more={"sequential_read": {}, "sequential_write": {}, "rewrites": 0, "bytes_between_syncs": {}},
        ),
    ),
    # With a signal that is blocked but for the wait, a wait that ends with nothing, and one that is refused.
    "events by io_pgetevents": scenario(
        """
        need(FSYNC, PGETEVENTS)
        fd, context = create("data", 1 << 16), Context()
        parts = vector([100, 0, 1000])
        signal.signal(signal.SIGUSR1, lambda *_: None)
        for n in range(10):
            batch = [request(PREAD, fd, 512, 512 * place) for place in range(12)]
            batch += [request(PWRITE, fd, 4096, 16384), request(PWRITEV, fd, 3, 32768, ctypes.addressof(parts))]
            batch += [request(FSYNC, fd, buffer=0), request(FDSYNC, fd, buffer=0)]
            assert context.submit(*batch) == 16
            results = [result for _ in range(4) for result in context.reap_with(4, 4, blocked=[signal.SIGUSR1])]
            assert sorted(results) == [0, 0] + [512] * 12 + [1100, 4096]
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        os.kill(os.getpid(), signal.SIGUSR1)
        assert context.reap_with(1, 1) == -errno.EINTR
        assert context.reap_with(1, 1, milliseconds=1) == []
        assert context.reap_with(1, 1, size=4) == -errno.EINVAL
        """,
        data=File(
            {
                "aio_pread": made(120, 61440, {512: 120}),
                "aio_pwrite": made(10, 40960, {4096: 10}),
                "aio_pwritev": made(10, 11000, {1024: 10}),
            },
            {"aio_fsync": 10, "aio_fdsync": 10},
            {"sequential_read": {4096: 10}, "sequential_write": {4096: 10, 1024: 10}, "rewrites": 0},
        ),
    ),
    # What was refused is submitted again, and continues the run that it had been taken back from.
    "a queue that is full takes a part": scenario(
        """
        fd, context, left, rounds = create("data", 1 << 20), Context(1), 2000, 0
        while left:
            batch = [request(PREAD, fd, 16, (2000 - n) * 16) for n in range(left, max(left - 700, 0), -1)]
            taken = context.submit(*batch)
            assert taken > 0
            context.reap(taken)
            left, rounds = left - taken, rounds + (taken < len(batch))
        assert rounds
        """,
        data=File({"aio_pread": made(2000, 32000, {16: 2000})}, more={"sequential_read": {16384: 1}}),
    ),
    "a ring read without a call, then destroyed": reaped("context.destroy()"),
    "a ring read without a call until exit_group": reaped("os._exit(0)"),
    # Of twelve, four are destroyed before: the oldest, and some that lie between others.
    "many contexts until exit_group": scenario(
        """
        fd, contexts = create("data", 65536), [Context(8) for _ in range(12)]
        for context in contexts:
            assert context.submit(*[request(PREAD, fd, 512, 512 * n) for n in range(3)]) == 3
        for context in contexts[::3]:
            context.destroy()
        for context in contexts[1::3]:
            context.reap(1, 1)
        """,
        data=File({"aio_pread": made(36, 36 * 512, {512: 36})}),
    ),
    "one thread submits and others reap": scenario(
        """
        fd, context = create("data", 1 << 20), Context(256)
        left = threading.Semaphore(0)
        def reap():
            for _ in range(200):
                context.reap(1, 1)
                left.release()
        reapers = [threading.Thread(target=reap) for _ in range(3)]
        for reaper in reapers:
            reaper.start()
        kept = []
        for n in range(100):
            batch = [request(PWRITE if n % 2 else PREAD, fd, 128, n * 768 + k * 128) for k in range(6)]
            kept.append(batch)
            assert context.submit(*batch) == 6
            for _ in range(6):
                left.acquire()
        for reaper in reapers:
            reaper.join()
        """,
        data=File({key: made(300, 38400, {128: 300}) for key in ("aio_pread", "aio_pwrite")}),
    ),
    "a file that is closed meanwhile": scenario(
        """
        fd, context = create("data", 65536), Context()
        assert context.submit(*[request(PREAD, fd, 1000, n * 1000) for n in range(4)]) == 4
        os.close(fd)
        os.close(create("other"))
        context.reap(4)
        """,
        data=File({"aio_pread": made(4, 4000, {512: 4})}, more={"closes": 1}),
        other=File({}),
    ),
    "a deep queue": scenario(
        """
        fd, context = create("data", 1 << 20), Context(256)
        for n in range(4):
            batch = [request(PWRITE if n % 2 else PREAD, fd, 256, n * 65536 + k * 256) for k in range(256)]
            assert context.submit(*batch) == 256
            assert context.reap(256) == [256] * 256
        """,
        data=File(
            {key: made(512, 1 << 17, {256: 512}) for key in ("aio_pread", "aio_pwrite")},
            more={"sequential_read": {65536: 2}, "sequential_write": {65536: 2}},
        ),
    ),
}
