"""The cost of a run from windows, held against a simulated load whose true counts are known."""

from __future__ import annotations

import errno
from typing import Callable

import pytest

from iotrace.tracing import overhead
from iotrace.tracing.overhead import FIRST, LONGEST, WINDOW, Look, Sampler
from pybpf.descriptor import Descriptor
from pybpf.syscalls import BpfError

MS = 10**6


class Window:
    """Stands for the descriptor that keeps the kernel's statistics on."""

    def __init__(self, load: SimulatedLoad) -> None:
        self._load = load
        load.timing = True

    def close(self) -> None:
        self._load.timing = False


class SimulatedLoad:
    """Runs programs at `rate` a millisecond, `ns` each, two to a call; timing slows them down by `slower`."""

    def __init__(self, rate: Callable[[int], int], ns: int = 100, slower: float = 1.0, calls: bool = True) -> None:
        self.rate, self.ns, self.slower, self.counts_calls = rate, ns, slower, calls
        self.now = self.true_runs = self.runs = self.timed = 0
        self.timing, self.refuses = False, 0

    def enable(self) -> Descriptor:
        if self.refuses:
            raise BpfError(self.refuses, "BPF_ENABLE_STATS")
        assert not self.timing, "a second window"
        return Window(self)  # type: ignore[return-value]  # a stand-in

    def look(self) -> Look:
        calls = self.true_runs // 2 if self.counts_calls else 0
        return Look(self.now, calls, self.runs, self.runs * self.ns)

    def go_on(self, seconds: float) -> None:
        """Until that much later."""
        for _ in range(round(seconds * 1000)):
            self.now += MS
            runs = self.rate(self.now // MS)
            if self.timing:
                runs = round(runs / self.slower)
                self.runs += runs
                self.timed += MS
            self.true_runs += runs

    def sampler(self) -> Sampler:
        return Sampler(self.enable, self.look, lambda: self.now, lambda: 0.5)


def traced(load: SimulatedLoad, seconds: float) -> Sampler:
    """A run of that length, with a collector that wakes when it is asked to."""
    sampler = load.sampler()
    sampler.begin()
    end = round(seconds * 1e9)
    while load.now < end:
        load.go_on(max(0.001, min(sampler.wait(0.2), (end - load.now) / 1e9)))
        sampler.step()
    sampler.end()
    assert not load.timing, "the kernel still keeps time"
    return sampler


def test_a_run_that_ends_within_the_first_window_is_measured_whole() -> None:
    load = SimulatedLoad(lambda ms: ms % 7)
    sampler = traced(load, FIRST - 0.005)
    assert sampler.totals() == (load.true_runs, load.true_runs * 100)
    assert sampler.sampled == load.now


@pytest.mark.parametrize("calls", [True, False])
def test_a_steady_run_is_told_exactly(calls: bool) -> None:
    load = SimulatedLoad(lambda _ms: 40, calls=calls)
    runs, spent = traced(load, 30).totals()
    assert runs == pytest.approx(load.true_runs) == 40 * 30_000
    assert spent == pytest.approx(runs * 100)


def test_calls_make_up_for_slower_windows() -> None:
    """And time does not: a process that is half as fast within windows would seem so all the time."""
    for calls, factor in ((True, 1.0), (False, 0.5)):
        load = SimulatedLoad(lambda _ms: 400, slower=2.0, calls=calls)
        assert traced(load, 20).totals()[0] == pytest.approx(load.true_runs * factor, rel=0.02)


def test_calls_tell_of_bursts_between_windows() -> None:
    """One run a millisecond, and 1,000 of them in a millisecond of which no window has an idea."""
    plain, bursts = SimulatedLoad(lambda _ms: 10), SimulatedLoad(lambda ms: 1000 if ms % 100 == 0 else 10)
    traced(plain, 10)
    runs, _ = traced(bursts, 10).totals()
    assert bursts.true_runs > plain.true_runs * 1.9
    assert runs == pytest.approx(bursts.true_runs, rel=0.01)


def test_windows_get_rare() -> None:
    load = SimulatedLoad(lambda _ms: 1)
    sampler = traced(load, 100)
    assert sampler.sampled == load.timed * 1.0
    rare = WINDOW / (WINDOW + LONGEST)
    assert 100 * rare * 0.9 < sampler.sampled / 1e9 < FIRST + 20 * WINDOW + 100 * rare * 1.2


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EPERM, "CAP_SYS_ADMIN"), (errno.EINVAL, "5.8"), (errno.ENOMEM, "ENOMEM")]
)
def test_a_kernel_that_keeps_no_time_is_told_of(monkeypatch: pytest.MonkeyPatch, number: int, reason: str) -> None:
    load = SimulatedLoad(lambda _ms: 1)
    load.refuses = number
    meter = overhead.Meter([], lambda: 0)
    monkeypatch.setattr(meter, "sampler", load.sampler())
    meter.begin()
    assert meter.sampler.wait(0.2) == 0.2
    load.go_on(0.3)
    meter.sampler.step()
    meter.end()
    told = meter.result()
    assert reason in str(told["not_measured"])
    assert told.keys() == {"not_measured", "bystander_ns", "own_ns", "own_share", "start_ns"}


def test_a_kernel_that_refuses_later_is_asked_no_more() -> None:
    load = SimulatedLoad(lambda _ms: 10)
    sampler = load.sampler()
    sampler.begin()
    for _ in range(500):
        load.go_on(0.01)
        if load.now > 60 * MS:
            load.refuses = errno.EMFILE
        sampler.step()
    sampler.end()
    assert sampler.totals()[0] == pytest.approx(50_000)
