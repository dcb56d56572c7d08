"""Conditions: what is one, and when it is met."""

from __future__ import annotations

from typing import List

import pytest

from iotrace.errors import UserError
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.views.diff.conditions import Outcome, judge, parse
from iotrace.views.diff.side import Side


def side(latency: int, calls: int, seconds: int = 1, errors: int = 0) -> Side:
    """A run with so many syncs of one latency, a lower bound of a bucket, and reads."""
    found = Side("x", Header(started_ns=0, ended_ns=seconds * 10**9))
    sync = SyscallStats(calls, latency_ns={latency: calls}, latency_sum_ns=latency * calls, latency_max_ns=latency)
    failed = {"EIO": errors} if errors else {}
    read = SyscallStats(calls, 4096 * calls, errors=failed, requested={4096: calls}, completed={4096: calls - errors})
    found.add(FileStats(1, b"/a", syscalls={"fsync": sync, "pread64": read}))
    return found


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("p99(fsync)>+20%", Outcome.MET),
        (" p99 ( fsync ) > +20 % ", Outcome.MET),
        ("p99(sync)>+99%", Outcome.MET),
        ("p99(sync)>+101%", Outcome.NOT_MET),
        ("p99(sync)<+101%", Outcome.MET),
        ("p99(fsync)>1.9ms", Outcome.MET),
        ("p99(fsync)>3ms", Outcome.NOT_MET),
        ("p99(fsync)>+.9ms", Outcome.MET),
        ("p99(fsync)>+1100us", Outcome.NOT_MET),
        ("calls/s(all)<-49%", Outcome.MET),
        ("calls(all)<-1%", Outcome.NOT_MET),
        ("calls(all)>+0", Outcome.NOT_MET),
        ("bytes(read)>1MiB", Outcome.MET),
        ("bytes(read)>2MiB", Outcome.NOT_MET),
        ("errors(pread64)>0", Outcome.MET),
        ("errors(all)>+4", Outcome.NOT_MET),
        ("errors(read)>+50%", Outcome.MET),
        ("latency_shift(fsync)>0.9", Outcome.MET),
        ("latency_shift(fsync)>+1.1", Outcome.NOT_MET),
        ("size_shift(read)>0.01", Outcome.NOT_MET),
        ("p99.9(fsync)>+20%", Outcome.UNKNOWN),  # that takes 3,838 calls
        ("p99(write)>+20%", Outcome.UNKNOWN),  # there are none
        ("p99(read)>+20%", Outcome.UNKNOWN),  # without latencies
    ],
)
def test_conditions(text: str, outcome: Outcome) -> None:
    """A run of a second against one of two seconds, whose syncs take twice as long."""
    judged = judge(parse(text), [side(1 << 20, 400), side(1 << 21, 400, seconds=2, errors=4)])
    assert judged.outcome == outcome
    assert bool(judged.why) == (outcome == Outcome.UNKNOWN)


def test_too_few_calls_are_said() -> None:
    judged = judge(parse("p99(fsync)>+20%"), [side(1 << 20, 20), side(1 << 21, 30)])
    assert judged.why == "too few calls to tell (20 and 30 calls); it takes 381"
    judged = judge(parse("p99(fsync)>1ms"), [side(1 << 20, 400), side(1 << 21, 30)])
    assert judged.why == "too few calls to tell (30 calls); it takes 381"


def test_what_may_be_chance_is_not_claimed() -> None:
    judged = judge(parse("calls/s(fsync)>+5%"), [side(1 << 20, 100), side(1 << 20, 110)])
    assert (judged.outcome, judged.why) == (Outcome.UNKNOWN, "no more than chance would do (100 and 110 calls)")
    assert judge(parse("calls/s(fsync)>+5%"), [side(1 << 20, 10000), side(1 << 20, 11000)]).outcome == Outcome.MET


def refused(text: str) -> str:
    with pytest.raises(UserError) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p99",
        "p99(fsync)",
        "p99(fsync)>",
        "p99(fsync)>=5ms",
        "p99(fsync)>5 ms x",
        "p99()>1",
        "1>p99(fsync)",
        "p99(fsync)>--5%",
    ],
)
def test_what_is_no_condition(text: str) -> None:
    assert "is not a condition such as" in refused(text)


def test_what_does_not_go_together() -> None:
    names: List[str] = ["calls", "bytes/s", "p99.9", "latency_shift"]
    assert all(name in refused("p98(fsync)>5ms") for name in names)
    assert "ftruncate is not a system call that is traced" in refused("calls(ftruncate)>1")
    assert "units: ns, us, ms, s" in refused("p99(fsync)>5KiB") == refused("p99(fsync)>5KiB")
    assert "units: none" in refused("calls(fsync)>5ms")
    assert "percents are of a change" in refused("p99(fsync)>20%")
    assert "percents are of a change" in refused("size_shift(read)>+20%")
    assert "p99 is in ns" in refused("p99(fsync)>5")
