"""Linux AIO: every kind of request by raw system calls, with the answers of arithmetic."""

from __future__ import annotations

import os
import signal
import textwrap
from pathlib import Path
from typing import Sequence

import pytest

from programs.facts.maps import NOTES
from programs.requests.notes import GOLDEN, OWNER_SHIFT
from tests import needs

from . import observe
from .aio import PRELUDE, SCENARIOS
from .observe import Run, iotrace
from .scenario import errors_of
from .traced import Traced, data_calls, histogram, made, script, trace

pytestmark = needs.root


def can_attach(attach: str) -> None:
    """Skip the test where the kernel that is pretended lacks this way to attach."""
    if attach == "raw" and os.environ.get("PRETEND_KERNEL") == "4.14":
        needs.impossible("4.14 has no raw tracepoints")


@pytest.fixture(params=["raw", "perf"])
def options(request: pytest.FixtureRequest) -> Sequence[str]:
    can_attach(request.param)
    return ["--attach", str(request.param)]


def trace_aio(place: Path, text: str, options: Sequence[str] = ()) -> Traced:
    """Run the script under iotrace; every request must have been seen to complete."""
    text = text if text.startswith(PRELUDE) else PRELUDE + textwrap.dedent(text)
    found = trace(place, text, options)
    assert found.document["coverage"]["aio"] == "full"
    return found


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(place: Path, options: Sequence[str], name: str) -> None:
    scenario = SCENARIOS[name]
    found = trace_aio(place, scenario.text, options)
    assert not list(scenario.differences(found))
    assert errors_of(found, "aio_") == scenario.unattributed


def test_failures_that_complete(place: Path) -> None:
    file = trace_aio(
        place,
        """
        fd, context = create("data", 65536, RW | os.O_DIRECT), Context()
        assert context.one(PREAD, fd, 4096, buffer=4096) == -errno.EFAULT
        assert context.one(PREAD, fd, 4096, 4096) == 4096
        """,
    )["data"]
    assert data_calls(file) == {"aio_pread": made(2, 4096, {4096: 2}, {4096: 1}, {"EFAULT": 1})}
    assert file["direct_calls"] == 2
    assert histogram(file, "sequential_read") == {4096: 1}


def test_rewrites_follow_the_order_of_submission(place: Path, options: Sequence[str]) -> None:
    """Written directly, a small request overtakes a large one; what failed was no write that another could repeat."""
    file = trace_aio(
        place,
        """
        fd, context = create("data", 1 << 20, RW | os.O_DIRECT), Context()
        for _ in range(40):
            sizes_and_places = (1 << 20, 0), (4096, 4096), (4096, 4096), (1 << 18, 0), (4096, 0), (4096, 8192)
            assert context.submit(*[request(PWRITE, fd, size, place) for size, place in sizes_and_places]) == 6
            context.reap(6)
        assert context.one(PWRITE, fd, 4096, 0, buffer=4096) == -errno.EFAULT
        assert context.one(PWRITE, fd, 4096, 8192) == 4096
        assert context.submit(request(PWRITE, fd, 4096, 0), request(PWRITE, 999)) == 1
        context.reap(1)
        assert context.submit(request(PWRITE, 999, 4096, 0)) == -errno.EBADF
        assert context.one(PWRITE, fd, 4096, 0) == 4096
        assert context.submit(request(PWRITE, fd, 4096, 0), request(PWRITE, fd, 4096, 8192, reserved=1)) == 1
        context.reap(1)
        assert context.one(PWRITE, fd, 4096, 0) == 4096
        """,
        options,
    )["data"]
    # Two in each round; then the one after the failure, and three at 0.
    assert file["rewrites"] == 2 * 40 + 1 + 3


def test_requests_whose_notes_fall_on_one_place(place: Path, options: Sequence[str]) -> None:
    """All but the first are noted elsewhere; whichever is reaped, or not accepted, it is the right one."""
    found = trace_aio(
        place,
        f"""
        fd, context = create("data", 1 << 20), Context()
        pages = mmap.mmap(-1, 16 << 20)
        start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        def where(address):
            key = (address + context.id + (os.getpid() << {OWNER_SHIFT})) * {GOLDEN} % (1 << 64)
            return key >> {64 - NOTES.bit_length() + 1}
        same = [n for n in range(0, 16 << 20, 64) if where(start + n) == where(start)][:5]
        assert len(same) == 5
        requests = [Iocb.from_buffer(pages, n) for n in same]
        for _ in range(3):
            for n, each in enumerate(requests):
                each.opcode, each.fd, each.buffer, each.size, each.offset = PREAD, fd, AT, 512 << n, n << 16
            assert context.submit(*requests) == 5
            assert sorted(context.reap(5)) == [512, 1024, 2048, 4096, 8192]
        requests[3].fd = 12345
        assert context.submit(*requests) == 3
        assert sorted(context.reap(3)) == [512, 1024, 2048]
        """,
        options,
    )
    sizes = {512: 4, 1024: 4, 2048: 4, 4096: 3, 8192: 3}
    total = sum(size * count for size, count in sizes.items())
    assert data_calls(found["data"]) == {"aio_pread": made(18, total, sizes)}


def test_events_and_priorities(place: Path) -> None:
    file = trace_aio(
        place,
        """
        fd, context = create("data", 65536), Context()
        told = libc.eventfd(0, 0)
        batch = [request(PREAD, fd, 64, n * 64, flags=RESFD, resfd=told) for n in range(7)]
        assert context.submit(*batch, request(PREAD, fd, 64, 448, flags=IOPRIO, priority=2 << 13 | 4)) == 8
        context.reap(8)
        assert int.from_bytes(os.read(told, 8), sys.byteorder) == 7
        """,
    )["data"]
    assert data_calls(file) == {"aio_pread": made(8, 512, {64: 8})}


@pytest.mark.parametrize(("whom", "attach"), [("--pid", "raw"), ("--pid", "perf"), ("--all", "perf")])
def test_a_wait_that_began_before_tracing(place: Path, whom: str, attach: str) -> None:
    """The thread that reaps is in its io_getevents when tracing starts, and no call after that one tells of them."""
    can_attach(attach)
    text = """
        fd, context = create("data", 65536), Context()
        reaper = threading.Thread(target=context.reap, args=(3,))
        reaper.start()
        create("ready")
        while not os.path.exists("go"):
            time.sleep(0.01)
        assert context.submit(*[request(PREAD, fd, 512, n * 512) for n in range(3)]) == 3
        reaper.join()
        create("reaped")
        while not os.path.exists("end"):
            time.sleep(0.01)
    """
    with Run() as run:
        process = run.start("script", script(place, PRELUDE + textwrap.dedent(text)), cwd=place)
        run.until("it was ready", (place / "ready").exists, process, "script")
        switch = run.gate()
        options = ["--attach", attach, whom, *([str(process.pid)] if whom == "--pid" else [])]
        tool = run.start("iotrace", iotrace("run", "-o", str(run.profile), *options, "--", switch))
        waiting = run.stopped_gate(switch, tool, "iotrace")
        (place / "go").touch()
        run.until("it had reaped", (place / "reaped").exists, process, "script")
        os.kill(waiting, signal.SIGCONT)
        if whom == "--pid":
            tool.send_signal(signal.SIGINT)  # as its process is not going to end
        run.finish(tool, "iotrace")
        (place / "end").touch()
        assert run.finish(process, "script") == 0, run.said("script")
        found = Traced(place, observe.export(run.profile), 0, run.said("iotrace"))
    assert data_calls(found["data"]) == {"aio_pread": made(3, 1536, {512: 3})}
    assert not any(found.document["lost"].values()), found.document["lost"]
    assert found.document["coverage"]["aio"] == "full"


def test_requests_whose_completion_nobody_sees_are_told(place: Path) -> None:
    """The process is killed: there is no system call at which the rings could be looked at."""
    found = trace(
        place,
        PRELUDE
        + textwrap.dedent(
            """
            fd = create("data", 65536)
            if os.fork() == 0:
                for context in Context(), Context():
                    context.submit(request(PREAD, fd, 10), request(PREAD, fd, 10, 10))
                os.kill(os.getpid(), signal.SIGKILL)
            assert os.wait()[1] == signal.SIGKILL
            """
        ),
    )
    assert found.document["coverage"]["aio"] == "partial: 4 requests were not seen to complete"
    assert data_calls(found["data"]) == {}
