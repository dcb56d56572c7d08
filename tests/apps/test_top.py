"""`iotrace top` at real programs: its numbers are those of the profile, and its screen stays readable and whole."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Dict, List, Tuple

import pytest

from tests import needs
from tests.terminal import Terminal

from .observe import export, iotrace
from .traced import script

pytestmark = needs.root
COUNTED = ("calls", "bytes_read", "bytes_written", "syncs", "errors")

# Goes on until it is told to end, with two files whose rates differ, of which one is synced, and one with a name that
# drives a terminal.
BUSY = """
evil = b"\\x1b[2J\\n\\xff\\x9b"
fds = [os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600) for name in (b"large", b"small", evil)]
fd = os.open("write-only", os.O_WRONLY | os.O_CREAT, 0o600)
for number in range(100000):
    os.pwrite(fds[0], bytes(65536), 0)
    os.pwrite(fds[1], bytes(100), 0)
    os.pwrite(fds[2], bytes(4096), 0)
    os.pread(fds[1], 100, 0)
    os.fdatasync(fds[1])
    try:
        os.read(fd, 1)
    except OSError:
        pass
    time.sleep(0.01)
    if os.path.exists("end"):
        break
"""


def totals(document: Dict[str, object]) -> Tuple[object, ...]:
    return tuple(document[key] for key in COUNTED)


def test_all_intervals_add_up_to_the_profile(place: Path) -> None:
    """Ten of them, of everything that a program does until it is left alone."""
    profile = place / "p.iotrace"
    words = iotrace("top", "--batch", "10", "--interval", "0.1", "--json", "-o", str(profile), "--")
    done = subprocess.run([*words, *script(place, BUSY)], cwd=place, stdout=subprocess.PIPE, timeout=60)
    (place / "end").touch()
    assert done.returncode == 0
    intervals = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["interval"] for each in intervals] == list(range(1, 11))
    found: Dict[Tuple[str, int], List[int]] = {}
    for each in intervals:
        for row in each["rows"]:
            sums = found.setdefault((row["path"], row["mnt_ns"]), [0] * len(COUNTED))
            sums[:] = [before + row[key] for before, key in zip(sums, COUNTED)]
    expected: Dict[Tuple[str, int], List[int]] = {}
    for file in export(profile)["files"]:
        calls = file["syscalls"]
        counts = [
            sum(call["calls"] for call in calls.values()),
            file["bytes_read"],
            file["bytes_written"],
            sum(call["calls"] for name, call in calls.items() if "sync" in name),
            sum(sum(call["errors"].values()) for call in calls.values()),
        ]
        sums = expected.setdefault((file["path"], file["mnt_ns"]), [0] * len(COUNTED))
        sums[:] = map(sum, zip(sums, counts))
    # A call that was under way at the end may have returned between the last look and the profile.
    late = {key for key in expected if expected[key] != found.get(key)}
    assert found.keys() <= expected.keys() and len(late) <= 1
    assert all(abs(a - b) <= 65536 for key in late for a, b in zip(expected[key], found.get(key, [0] * 5)))
    large, small = (found[str(place / name), next(iter(found))[1]] for name in ("large", "small"))
    assert large[2] == 65536 * (large[0] - 1) > 65536 * 10 and small[3] > 10
    assert found[str(place / "write-only"), next(iter(found))[1]][4] > 10


@pytest.fixture
def busy(place: Path) -> List[str]:
    return script(place, BUSY)


def top(*words: str) -> List[str]:
    return iotrace("top", "--plain", "--interval", "0.2", *words)


@needs.programs("tmux")
@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (60, 20), (200, 60)])
def test_the_screen_and_its_keys(place: Path, busy: List[str], columns: int, lines: int) -> None:
    with Terminal(top("--", *busy), columns=columns, lines=lines, cwd=place) as terminal:
        screen = terminal.shows("large", "small", "q quit")
        table = [line for line in screen.lines if "large" in line or "small" in line]
        assert "large" in table[0] and "small" in table[1], "most bytes first"
        assert screen.lines[-1].startswith("q quit") and len(screen.lines) == lines
        assert "\\x1b[2J\\x0a\\xff\\x9b" in screen.line("xff"), "the name is shown, and does nothing"
        assert screen.lines[0].startswith("by file, most bytes first:")
        terminal.keys("s")
        terminal.shows("most calls first")
        terminal.until(lambda now: "small" in now.lines[5])
        terminal.keys("g")
        shown = terminal.shows("by directory", "DIRECTORY")
        assert shown.line("MiB/s") and not shown.line("large")
        terminal.keys("g")
        assert "python" in terminal.shows("by process", "PROCESS").lines[5]
        terminal.keys("Space")
        terminal.shows("PAUSED")
        still = terminal.screen()
        terminal.resize(columns - 10, lines - 5)
        smaller = terminal.until(lambda now: len(now.lines) == lines - 5 and now.lines[-1].startswith("q quit"))
        assert smaller.lines[1].split("p99")[0].rstrip() in still.lines[1]
        terminal.keys("w")
        saved = terminal.shows("profile: ").line("profile: ").split()[-1]
        assert "large" in str(export(place / saved)["files"])
        (place / "end").touch()
        terminal.shows("all that was traced has ended")
        terminal.keys("q")
        assert terminal.status() == 0
        assert terminal.screen().lines == [""], "what was there before it is there again"


@needs.programs("tmux")
@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (60, 20), (200, 60)])
def test_the_screen_with_textual(place: Path, busy: List[str], columns: int, lines: int) -> None:
    """What it has beyond the plain one: a line is chosen, the list filtered, and a file looked into as it goes on."""
    needs.module("textual", (3, 10))
    words = iotrace("top", "--interval", "0.2", "--", *busy)
    with Terminal(words, columns=columns, lines=lines, cwd=place) as terminal:
        screen = terminal.shows("large", "small", "? help")
        assert "large" in screen.lines[5] and "\\x0a\\xff\\x9b" in screen.line("xff")
        terminal.keys("s")
        terminal.until(lambda now: "most calls first" in str(now) and "small" in now.lines[5])
        terminal.keys("/")
        terminal.text("LAR")
        assert not terminal.until(lambda now: "only LAR" in str(now) and "large" in now.lines[5]).line("small")
        terminal.keys("Enter", "Enter")
        detail = terminal.until(lambda now: "inode" in str(now))
        assert detail.lines[0].endswith("/large")
        terminal.keys("/")
        terminal.text("written  ")
        terminal.keys("Enter")
        first = terminal.shows("bytes written, over all").line("bytes written, over all")
        terminal.until(lambda now: now.line("bytes written, over all") not in ("", first))  # it goes on
        terminal.keys("q", "Escape")
        terminal.until(lambda now: "only LAR" not in str(now) and "small" in str(now))
        terminal.keys("g")
        terminal.shows("by directory", "DIRECTORY")
        terminal.keys("Enter")
        terminal.until(lambda now: "by file" in str(now) and "small" in str(now) and "large" in str(now))
        terminal.keys("Escape")
        terminal.until(lambda now: "only" not in now.lines[0])
        terminal.keys("Space")
        terminal.shows("PAUSED")
        terminal.resize(columns - 10, lines - 5)
        terminal.until(lambda now: len(now.lines) == lines - 5 and now.lines[-1].startswith("? help"))
        terminal.keys("w")
        saved = terminal.shows("profile: ").line("profile: ").split()[-1]
        assert "large" in str(export(place / saved)["files"])
        terminal.keys("Space", "?")
        terminal.shows("keys and columns")
        terminal.keys("q")
        (place / "end").touch()
        terminal.shows("ALL HAS ENDED")
        terminal.keys("C-c")
        assert terminal.status() == 0


@needs.programs("tmux")
@pytest.mark.parametrize(
    "environment",
    [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}],
    ids=["NO_COLOR", "dumb", "C"],
)
def test_terminals_of_all_kinds(place: Path, busy: List[str], environment: Dict[str, str]) -> None:
    with Terminal(top("--", *busy), environment=environment, cwd=place) as terminal:
        screen = terminal.shows("large", "small")
        with_colours = "\n".join(terminal.screen(colours=True).lines)
        if "NO_COLOR" in environment or "TERM" in environment:
            assert "\x1b[" not in with_colours
        else:
            assert "\x1b[7m" in with_colours and str(screen).isascii()
        (place / "end").touch()
        if "TERM" not in environment:
            terminal.shows("all that was traced has ended")
            terminal.keys("q")
        assert terminal.status() == 0


@needs.programs("tmux")
@pytest.mark.parametrize("screen", ["plain", "textual"])
def test_a_terminal_that_is_lost(place: Path, busy: List[str], screen: str) -> None:
    """The profile that was asked for is written, and nobody is left behind."""
    if screen == "textual":
        needs.module("textual", (3, 10))
    profile = place / "p.iotrace"
    plain = ["--plain"] if screen == "plain" else []
    with Terminal(iotrace("top", *plain, "-o", str(profile), "--", *busy), cwd=place) as terminal:
        terminal.shows("large")
        pid = terminal.pid
        terminal.lose()
        terminal.gone(pid)
    (place / "end").touch()
    assert "large" in str(export(profile)["files"])


@needs.programs("tmux", "bash")
@pytest.mark.parametrize("screen", ["plain", "textual"])
def test_a_terminal_that_is_given_to_the_shell_and_back(place: Path, screen: str) -> None:
    """Ctrl-Z leaves a terminal that a shell can use, and after fg the screen is there again."""
    if screen == "textual":
        needs.module("textual", (3, 10))
    plain = ["--plain"] if screen == "plain" else []
    with Terminal(["bash", "--norc", "--noprofile", "-i"], lines=12, columns=150, cwd=place) as terminal:
        (place / "top.sh").write_text(
            "exec " + shlex.join(iotrace("top", *plain, "--interval", "0.2", "--pid")) + ' "$1"\n'
        )
        terminal.text("bash ./top.sh $$")
        terminal.keys("Enter")
        terminal.shows("CALLS", "q quit")
        terminal.keys("C-z")
        terminal.shows("Stopped")
        terminal.text("echo visi''ble")
        terminal.keys("Enter")
        terminal.shows("visi''ble", "\nvisible")
        terminal.text("fg")
        terminal.keys("Enter")
        terminal.until(lambda now: "CALLS" in str(now) and "Stopped" not in str(now))
        terminal.keys("q")
        terminal.shows("Stopped", "fg")
        terminal.text("echo en''d")
        terminal.keys("Enter")
        terminal.shows("en''d", "\nend")
