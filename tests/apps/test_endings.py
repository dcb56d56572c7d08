"""Whatever ends a run, its profile is written and the exit status is the command's, unless somebody insists."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, List

import pytest

from tests import needs

from . import observe
from .observe import iotrace
from .traced import script

pytestmark = needs.root

# Makes files, says that they are there, and ends by itself.
FILES = """
for number in range({files}):
    os.close(create("f%d" % number))
create("ready")
time.sleep({seconds})
os._exit({status})
"""


def command(place: Path, *, files: int = 10, seconds: float = 1.5, status: int = 7) -> List[str]:
    return script(place, "import time\n" + FILES.format(files=files, seconds=seconds, status=status))


def run(place: Path, *options: str, **more: Any) -> List[str]:
    return list(iotrace("run", "-o", str(place / "p.iotrace"), *options, "--", *command(place, **more)))


def files(place: Path) -> int:
    """How many of the command's files are in the profile, which must be whole."""
    found = observe.export(place / "p.iotrace")
    assert [name for name in os.listdir(place) if name.startswith(".iotrace")] == []
    return sum(observe.path_of(file).startswith(bytes(place) + b"/f") for file in found["files"])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("options", [(), ("-q",)])
def test_a_terminal_that_goes(place: Path, options: List[str]) -> None:
    """Its end is SIGHUP to its first process, and EIO for everything that is written to it from then on."""
    arguments = run(place, *options, seconds=0.6)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(place)
        os.execv(arguments[0], arguments)
    until((place / "ready").exists)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) in (7, 128 + signal.SIGHUP)
    assert files(place) == 10


def test_a_terminal_that_goes_and_nobody_minds(place: Path) -> None:
    """As with nohup: the run goes on without its status line."""
    arguments = run(place, seconds=2.5)
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.chdir(place)
        os.execv(arguments[0], arguments)
    until((place / "ready").exists)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 7
    assert files(place) == 10


def test_a_pipe_that_nobody_reads(place: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(run(place, seconds=0.1), stderr=writing, cwd=place)
    os.close(writing)
    assert (ended.returncode, files(place)) == (7, 10)


def test_a_pipe_whose_reader_does_not_read(place: Path) -> None:
    """The summary waits for it, the profile does not; a signal ends the wait."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    tool = subprocess.Popen(run(place, seconds=0.1), stderr=writing, cwd=place)
    os.close(writing)
    until((place / "p.iotrace").exists)
    until(lambda: Path(f"/proc/{tool.pid}/wchan").read_text().endswith("pipe_write") or tool.poll() is not None)
    tool.send_signal(signal.SIGTERM)
    assert (tool.wait(20), files(place)) == (7, 10)
    os.close(reading)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(place: Path, closed: str) -> None:
    """Without -q: the summary goes nowhere. The command has them closed as well."""
    look = "import os,sys\nsys.exit(7 + sum(os.path.exists('/proc/self/fd/%d' % n) for n in map(int, sys.argv[1:])))"
    numbers = [{"<": "0", ">": "1", "2": "2"}[word[0]] for word in closed.split()]
    words = [*iotrace("run", "-o", str(place / "p.iotrace")), "--", sys.executable, "-S", "-c", look, *numbers]
    ended = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *words], cwd=place, stderr=subprocess.PIPE)
    assert ended.returncode == 7 and b"Traceback" not in ended.stderr
    observe.export(place / "p.iotrace")


MANY = 60_000  # files, whose profile is written for a second at least


def stopping(place: Path, times: int, pause: float) -> subprocess.CompletedProcess[bytes]:
    """A run that is told `times` more to end while it writes a large profile."""
    words = run(place, "-q", files=MANY, seconds=60)
    tool = subprocess.Popen(words, stderr=subprocess.PIPE, cwd=place)
    until((place / "ready").exists)
    children = Path(f"/proc/{tool.pid}/task/{tool.pid}/children")
    before = set(children.read_text().split())
    tool.send_signal(signal.SIGTERM)
    # Until the command has ended: another process then makes a part of the profile.
    until(lambda: tool.poll() is not None or not before & set(children.read_text().split()))
    for _ in range(times):
        time.sleep(pause)
        if tool.poll() is None:
            tool.send_signal(signal.SIGTERM)
    _, said = tool.communicate(timeout=60)
    return subprocess.CompletedProcess(words, tool.returncode, None, said)


def test_a_second_signal_while_the_profile_is_written(place: Path) -> None:
    ended = stopping(place, 1, 0.3)
    assert ended.returncode == 128 + signal.SIGTERM, "the command had it too"
    assert files(place) == MANY


def test_one_signal_more_gives_the_profile_up(place: Path) -> None:
    """It is said in one line what the next signal does, and in one line that it has."""
    ended = stopping(place, 2, 0.3)
    if (place / "p.iotrace").exists():
        pytest.fail("the profile was written before the signals came")
    warned, gone = ended.stderr.decode().splitlines()
    assert "the next signal gives it up" in warned
    assert gone == f"iotrace: {place}/p.iotrace: profile not written: given up at SIGTERM"
    assert ended.returncode == 125 and [name for name in os.listdir(place) if name.startswith(".iotrace")] == []


@needs.programs("strace")
@pytest.mark.parametrize(
    ("number", "when"),
    [
        (signal.SIGINT, ["--trace-path={commands}", "%%stat:signal=INT:when=1"]),  # it imports
        (signal.SIGTERM, ["--trace=bpf", "bpf:signal=TERM:when=1"]),  # it loads
        (signal.SIGHUP, ["--trace=bpf", "bpf:signal=HUP:when=60"]),
    ],
)
def test_a_signal_before_tracing_has_begun(place: Path, number: signal.Signals, when: List[str]) -> None:
    """It ends in one line, and its command has not run; what was loaded goes with the process."""
    chosen, injected = when[0].format(commands=observe.ROOT / "iotrace/commands"), f"--inject={when[1]}"
    words = ["strace", "-f", "-o", "/dev/null", chosen, injected, *run(place)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 128 + number
    assert done.stderr.startswith(f"iotrace: {number.name} before ") and done.stderr.count("\n") == 1
    assert os.listdir(place) == ["workload.py"]


@pytest.mark.parametrize(
    ("name", "status"), [("absent", 127), ("plain", 126), (".", 126), ("plain/x", 126), ("absent/x", 127)]
)
def test_a_command_that_cannot_be_executed(place: Path, name: str, status: int) -> None:
    (place / "plain").write_text("no program\n")
    words = iotrace("run", "-o", str(place / "p.iotrace"), "--", f"./{name}")
    ended = subprocess.run(words, cwd=place, stderr=subprocess.PIPE)
    assert ended.returncode == status and ended.stderr.count(b"\n") == 1
    assert not (place / "p.iotrace").exists()
