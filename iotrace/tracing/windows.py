"""Windows in which data calls are timed, where they have no program at their entry (`run --light`).

A call is timed if it is entered while a window is open, and then until it returns. Windows come at random, as drops of
rain do: how long the next one is off does not depend on how long ago the last one was, nor on anything that is traced.
So every call has the same chance, one in ONE_IN, whenever it is made and however long it takes. The program that notes
entries is attached for a window, and detached after it. The times between which an entry must lie are told to it, so
that a window is as long as it should be however late somebody gets to detach it.
"""

from __future__ import annotations

import math
import os
import time
from typing import Any, Callable, Mapping, NamedTuple, Optional

from iotrace.tracing.attach import Attachment
from programs.facts.records import ONE_IN, Window
from pybpf import links
from pybpf.maps import Array, Map
from pybpf.syscalls import BpfError

WINDOW = 10_000_000  # ns
GAP = (ONE_IN - 1) * WINDOW  # ns between two, on average
_AHEAD = 8_000_000  # ns: attaching takes as long as a grace period
_TRIES = 10
_MONOTONIC_COARSE = 6  # the clock of the kernel's ticks, include/uapi/linux/time.h


class Span(NamedTuple):
    """When a window opens and closes, in ns."""

    opens: int
    closes: int


def _random() -> float:
    """Above 0 and at most 1. The module random would have all of hashlib imported before tracing begins."""
    return (1 + int.from_bytes(os.urandom(6), "little")) / (1 << 48)


def first(now: int, random: Callable[[], float] = _random) -> Span:
    """The window that is open, or the next one, at any time: one in ONE_IN is in a window."""
    if random() * ONE_IN <= 1:
        return Span(now, now + math.ceil(WINDOW * random()))
    return following(now, random)


def following(closed: int, random: Callable[[], float] = _random) -> Span:
    """The window after one that closed then."""
    opens = closed - round(GAP * math.log(random()))
    return Span(opens, opens + WINDOW)


class Windows:
    """The windows of a run: `begin` before it counts, `step` often, `end`."""

    def __init__(self, timing: Attachment, maps: Mapping[str, Map[Any]]) -> None:
        self._timed, self._ticks = timing.named("enter_timed"), timing.named("read_jiffies")
        self._map = Array.of(maps["window"])
        self._link: Optional[links.Link] = None
        self._tick = self._offset = 0
        self._span = Span(0, 0)
        self._due = 0
        self.problem: Optional[BpfError] = None

    def begin(self) -> None:
        """Tell the programs the kernel's ticks, and open a window if there is to be one. Raises BpfError."""
        if self._ticks is not None:
            self._tick = round(time.clock_getres(_MONOTONIC_COARSE) * 1e9)
            self._offset = self._time_of_jiffy_0()
        self._write(Span(0, 0))
        now = time.monotonic_ns()
        self._next(first(now))
        if self._span.opens == now:
            self.step()

    def wait(self, most: float) -> float:
        """Seconds until `step` has something to do, at most `most`."""
        return most if self.problem else max(0.0, min(most, (self._due - time.monotonic_ns()) / 1e9))

    def step(self) -> None:
        """Open or close a window if it is time."""
        now = time.monotonic_ns()
        if self.problem or now < self._due:
            return
        if self._link is not None:
            self._close()
            self._next(following(self._span.closes))
            return
        assert self._timed is not None
        try:
            self._link = links.raw_tracepoint(self._timed, "sys_enter")
            opens, closes = self._span
            late = max(0, time.monotonic_ns() - opens)
            self._span = Span(opens + late, closes + late)
            self._write(self._span)
        except BpfError as error:
            self.problem = error
            self._close()
        self._due = self._span.closes

    def end(self) -> None:
        """Close the window that is open, if any, for good; twice does nothing."""
        self._close()
        self._due = 1 << 63

    def _next(self, span: Span) -> None:
        self._span, self._due = span, span.opens - _AHEAD

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _write(self, span: Span) -> None:
        self._map.set(0, Window.pack(**span._asdict(), tick=self._tick, offset=self._offset))

    def _time_of_jiffy_0(self) -> int:
        """The time that CLOCK_MONOTONIC had, or would have had, at jiffy 0, in ns modulo 2^64.

        Both move on together at each tick, so that of the two at one tick the rest follows.
        """
        assert self._ticks is not None
        before = jiffies = 0
        for _ in range(_TRIES):
            before = time.clock_gettime_ns(_MONOTONIC_COARSE)
            self._ticks.repeat(1)
            jiffies = Window.unpack(self._map.at(0))["jiffies"]
            if time.clock_gettime_ns(_MONOTONIC_COARSE) == before:
                break
        return (before - jiffies * self._tick) % (1 << 64)
