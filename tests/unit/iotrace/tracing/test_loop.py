"""When a run ends, and what becomes of its command: the loop, with a session that traces nothing."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from types import SimpleNamespace
from typing import Any, Callable, Iterator, List, Optional

import pytest

from iotrace.tracing import loop as loops
from iotrace.tracing import signals
from iotrace.tracing.command import Command
from iotrace.tracing.loop import Loop
from iotrace.tracing.session import Settings
from iotrace.tracing.signals import Signals, Wakeup

NEVER = os.pipe()  # nothing is ever written to it


class Session:
    """Notes what it is asked to do."""

    def __init__(self, **wanted: Any) -> None:
        self.settings = Settings(**wanted)
        self.loaded = SimpleNamespace(entered=[])
        self.did: List[str] = []
        self.left: List[int] = []

    def fileno(self) -> int:
        return NEVER[0]

    def attach(self) -> None:
        self.did.append("attach")

    def trace_process(self, pid: int, *, follow: bool) -> None:
        self.did.append(f"trace {pid}{' and its children' if follow else ''}")

    def trace_running(self) -> int:
        self.did.append("trace running")
        return 7

    def wait(self, most: float) -> float:
        return most

    def step(self, _timeout: float) -> bool:
        return False

    def stop(self) -> None:
        self.did.append("stop")

    def finish(self, command: Optional[List[str]], overhead: object) -> int:
        self.did.append(f"finish {command} {overhead}")
        return 3

    def activity(self) -> Any:
        return 0, 0, 0

    def has_descendants(self) -> bool:
        return bool(self.left)


class Meter:
    """Measures nothing."""

    def __init__(self, _entered: object, _calls: object, _before: int) -> None:
        self.sampler = SimpleNamespace(wait=lambda most: min(most, 0.01), step=lambda: None)

    def begin(self) -> None:
        pass

    def end(self) -> None:
        pass

    def result(self) -> object:
        return "overhead"


@pytest.fixture(autouse=True)
def measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "Meter", Meter)
    monkeypatch.setattr(loops, "from_terminal", lambda _number: False)


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    with Wakeup() as made:
        yield made


@pytest.fixture
def started() -> Iterator[Callable[..., Command]]:
    """Makes commands, which wait to be released; none outlives the test."""
    made: List[Command] = []

    def start(*argv: str) -> Command:
        made.append(Command(list(argv)))
        return made[-1]

    yield start
    for command in made:
        if not command.released:
            command.abandon()
        elif not command.poll():
            os.kill(command.pid, signal.SIGKILL)
            command.wait()


def run(session: Session, wakeup: Wakeup, **more: Any) -> float:
    """How long the run took, in seconds."""
    loop = Loop(session, wakeup, **more)  # type: ignore[arg-type]  # a stand-in
    loop.begin()
    start = time.monotonic()
    loop.run()
    return time.monotonic() - start


def soon(action: Callable[[], None], seconds: float = 0.1) -> None:
    """Do it a moment later, in a thread."""
    threading.Timer(seconds, action).start()


def interrupt(command: Command, times: int = 1) -> None:
    """Send this process SIGTERM once the command has a trap for it, in a thread; again a moment later."""

    def trapped() -> bool:
        with open(f"/proc/{command.pid}/status") as status:
            masks = [int(line.split()[1], 16) for line in status if line.startswith(("SigIgn:", "SigCgt:"))]
        return any(mask >> (signal.SIGTERM - 1) & 1 for mask in masks) and not same_program(command)

    def work() -> None:
        while not trapped():
            time.sleep(0.01)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)

    threading.Thread(target=work, daemon=True).start()


def same_program(command: Command) -> bool:
    """Whether the command is still a copy of this process."""
    return os.path.samefile(f"/proc/{command.pid}/exe", "/proc/self/exe")


def test_a_run_from_its_beginning_to_its_profile(wakeup: Wakeup, started: Callable[..., Command]) -> None:
    session, command = Session(pids=[1, 2], follow=True), started("true")
    loop = Loop(session, wakeup, command=command)  # type: ignore[arg-type]  # a stand-in
    assert loop.begin() == 7
    wakeup.stop()
    loop.run()
    assert loop.finish() == 3
    chosen = [f"trace {pid} and its children" for pid in (1, 2)]
    last = f"trace {command.pid} and its children"
    assert session.did == ["attach", *chosen, "trace running", last, "stop", "finish ['true'] overhead"]


def test_it_ends_with_its_command(wakeup: Wakeup, started: Callable[..., Command]) -> None:
    command = started("sh", "-c", "exit 5")
    run(Session(), wakeup, command=command)
    assert command.exit_status == 5


def test_it_goes_on_with_processes_that_were_chosen_besides(wakeup: Wakeup, started: Callable[..., Command]) -> None:
    other = subprocess.Popen(["sleep", "0.5"])
    run(Session(pids=[other.pid]), wakeup, command=started("true"))
    assert other.poll() == 0


def test_it_waits_for_descendants_if_told_to(wakeup: Wakeup, started: Callable[..., Command]) -> None:
    session = Session()
    session.left = [12345]
    soon(session.left.clear, 0.5)
    run(session, wakeup, command=started("true"), wait=True)
    assert not session.left
    session.left = [12345]
    run(session, wakeup, command=started("true"))
    assert session.left


def test_the_time_of_a_wait_can_be_over(wakeup: Wakeup, started: Callable[..., Command]) -> None:
    session = Session()
    session.left = [12345]
    command = started("true")
    assert 0.2 < run(session, wakeup, command=command, wait=True, duration=0.3) < 5
    assert command.poll()


def test_it_ends_with_the_last_process(wakeup: Wakeup) -> None:
    """Whoever is a zombie has ended, though its number is still there."""
    others = [subprocess.Popen(["sleep", seconds]) for seconds in ("0.1", "0.3")]
    took = run(Session(pids=[other.pid for other in others]), wakeup)
    assert 0.1 < took < 5 and all(other.wait() == 0 for other in others)


@pytest.mark.parametrize("wanted", [{"comms": [b"x"]}, {"everything": True}])
def test_without_an_end_of_its_own_it_ends_when_its_time_is_over(wakeup: Wakeup, wanted: Any) -> None:
    assert 0.3 <= run(Session(**wanted), wakeup, duration=0.3) < 5


def test_a_command_goes_on_when_the_time_is_over(wakeup: Wakeup, started: Callable[..., Command]) -> None:
    command = started("sleep", "1000")
    run(Session(), wakeup, command=command, duration=0.1)
    assert not command.poll()


def test_another_thread_ends_it(wakeup: Wakeup) -> None:
    soon(wakeup.stop)
    assert run(Session(everything=True), wakeup) < 5


@pytest.mark.parametrize("number", signals.ENDING)
def test_a_signal_ends_it(number: int) -> None:
    with Signals() as caught:
        soon(lambda: os.kill(os.getpid(), number))
        assert run(Session(everything=True), caught) < 5
        assert caught.signals == [number]


def test_a_signal_is_handed_to_the_command_which_may_take_its_time(started: Callable[..., Command]) -> None:
    command = started("sh", "-c", "trap 'sleep 0.3; exit 9' TERM; while :; do sleep 0.01; done")
    with Signals() as caught:
        interrupt(command)
        run(Session(), caught, command=command)
    assert command.poll() and command.exit_status == 9


def test_a_command_that_heeds_no_signal_is_left(
    monkeypatch: pytest.MonkeyPatch, started: Callable[..., Command]
) -> None:
    monkeypatch.setattr(loops, "GRACE", 0.2)
    command = started("sh", "-c", "trap '' TERM; exec sleep 1000")
    with Signals() as caught:
        interrupt(command)
        assert run(Session(), caught, command=command) < 5
    assert not command.poll()


def test_a_second_signal_does_not_wait_for_the_command(started: Callable[..., Command]) -> None:
    command = started("sh", "-c", "trap '' TERM; exec sleep 1000")
    with Signals() as caught:
        interrupt(command, times=2)
        assert run(Session(), caught, command=command) < loops.GRACE
    assert not command.poll()


def test_signals_have_their_handlers_back() -> None:
    numbers = (*signals.ENDING, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in numbers]
    with Signals():
        assert all(signal.getsignal(number) != old for number, old in zip(numbers, before))
    assert [signal.getsignal(number) for number in numbers] == before


def test_whoever_wakes_wakes_once(wakeup: Wakeup) -> None:
    """What is left in the pipe is taken out, or every later wait would return at once."""
    wakeup.stop()
    wakeup.stop()
    loops.wait(Session(), wakeup, 10)  # type: ignore[arg-type]  # a stand-in
    assert select.select([wakeup], [], [], 0)[0] == []


def test_a_pipe_that_is_full_still_wakes(wakeup: Wakeup) -> None:
    for _ in range(70000):
        wakeup.stop()
    assert select.select([wakeup], [], [], 0)[0] == [wakeup]


def signal_at(caught: Signals, clock: List[float], seconds: float) -> None:
    clock[0] = seconds
    os.kill(os.getpid(), signal.SIGTERM)


def test_signals_in_a_burst_are_one_request() -> None:
    clock = [0.0]
    with Signals(lambda: clock[0]) as caught:
        for number in range(20):
            signal_at(caught, clock, number * 0.1)
        assert len(caught.signals) == 1
        signal_at(caught, clock, 3)
        assert len(caught.signals) == 2


def test_the_second_signal_after_the_tracing_interrupts_and_no_third() -> None:
    clock, warned = [0.0], []
    with Signals(lambda: clock[0]) as caught:
        signal_at(caught, clock, 0)
        with pytest.raises(signals.Interrupted), caught.interruptible(lambda: warned.append(clock[0])):
            signal_at(caught, clock, 0.1)
            signal_at(caught, clock, 1)
            assert warned == [1]
            signal_at(caught, clock, 2)
        signal_at(caught, clock, 3)
        assert warned == [1] and len(caught.signals) == 4


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
