"""`iotrace browse` on terminals of several sizes: keys are sent, and what is on the screen is what the profile has."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List

import pytest

from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.writer import write
from tests import needs
from tests.terminal import Terminal

ROOT = Path(__file__).resolve().parents[4]
SIZES = [(80, 24), (60, 20), (200, 60)]
EVIL = b"\x1b[2J\x07\n\xe2\x80\xae\xff[red]"
pytestmark = needs.programs("tmux")


@pytest.fixture
def textual() -> None:
    needs.module("textual", (3, 10))


with_textual = pytest.mark.usefixtures("textual")


def file(path: bytes, read: int, written: int = 0, syncs: int = 0) -> FileStats:
    calls = {"read": SyscallStats(3, read, latency_ns={1024: 3}, completed={4096: 3}, latency_sum_ns=4000)}
    if syncs:
        calls["fsync"] = SyscallStats(syncs, latency_ns={1 << 20: syncs}, latency_sum_ns=syncs << 20)
    between = {1024: syncs} if syncs else {}
    return FileStats(
        1,
        path,
        bytes_read=read,
        bytes_written=written,
        bytes_synced=written,
        bytes_between_syncs=between,
        syscalls=calls,
    )


def sample() -> Iterator[FileStats]:
    yield file(b"/srv/db/journal", 0, 5 << 20, 4000)
    yield file(b"/srv/db/data", 7 << 20)
    yield file(b"/srv/" + EVIL, 1 << 20)
    yield file(b"/srv/log/" + b"x" * 3000, 4096)
    for number in range(50):
        yield file(b"/srv/many/file-%02d" % number, 100 * number)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "p.iotrace"
    write(path, Header(started_ns=10**18, ended_ns=10**18 + 10**9), sample())
    return path


def browse(*words: object) -> List[str]:
    return [sys.executable, "-m", "iotrace", "browse", *map(str, words)]


def names(screen: object) -> List[str]:
    """The last words of the lines of the list, which begins below its titles."""
    lines = str(screen).splitlines()
    first = next(number for number, line in enumerate(lines) if "SHARE" in line) + 1
    return [line.split()[-1] for line in lines[first:-1] if line]


@with_textual
@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_directories_files_and_back(profile: Path, columns: int, lines: int) -> None:
    with Terminal(browse(profile), columns=columns, lines=lines, cwd=ROOT) as terminal:
        screen = terminal.shows("/srv", "db/", "? help")
        assert screen.lines[0] == "/srv" and screen.lines[1].startswith("54 files  read 8.12 MiB")
        assert [name.endswith("/") for name in names(screen)] == [True, False, True, True], "the largest first"
        assert screen.line("\\x1b[2J").endswith("\\xff[red]") and "12.0 MiB" in screen.line("db/")
        terminal.keys("s", "s")
        assert names(terminal.shows("by bytes written"))[0] == "db/"
        terminal.keys("Enter")
        assert names(terminal.shows("/srv/db", "journal")) == ["journal", "data"]
        terminal.keys("Enter")
        detail = terminal.shows("/srv/db/journal", "5,242,880", "bytes written")
        assert len(detail.lines) <= lines
        terminal.keys("/")
        terminal.text("fsync: 4,0")
        terminal.keys("Enter")
        terminal.shows("fsync: 4,000 calls")
        terminal.keys("q", "Left")
        terminal.shows("54 files", "many/")
        terminal.keys("a", "g", "G")
        terminal.keys("Enter")  # by name: the strange one, db, log, many
        terminal.until(lambda now: now.lines[0] == "/srv/many" and "file-00" in str(now))
        terminal.keys("G")
        terminal.shows("file-49")
        terminal.resize(columns - 5, lines - 4)
        terminal.until(lambda now: len(now.lines) == lines - 4 and "file-49" in str(now))
        terminal.keys("C-c")
        assert terminal.status() == 0


@with_textual
def test_search_findings_histograms_help_and_the_mouse(profile: Path) -> None:
    with Terminal(browse(profile), cwd=ROOT) as terminal:
        terminal.shows("? help")
        terminal.keys("/")
        terminal.text("FILE-1")
        terminal.keys("Enter")
        found = terminal.shows("10 found: FILE-1")
        assert names(found)[0] == "/srv/many/file-19"
        terminal.keys("Enter")
        terminal.shows("/srv/many/file-19", "1,900")
        terminal.keys("q", "q", "f")
        terminal.shows("findings", "tiny-syncs")
        terminal.keys("q", "i")
        terminal.shows("/srv: everything in it", "syncs: 4,000 calls")
        terminal.keys("q", "?")
        terminal.shows("files take on the disk")
        terminal.keys("q")
        screen = terminal.shows("54 files")
        place = next(number for number, line in enumerate(screen.lines) if line.endswith("many/"))
        terminal.mouse(70, place)
        terminal.mouse(70, place)
        terminal.until(lambda now: now.lines[0] == "/srv/many")
        terminal.keys("q")
        assert terminal.status() == 0


ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@with_textual
@pytest.mark.parametrize(
    ("environment", "status"),
    [({"NO_COLOR": "1"}, 0), ({"TERM": "dumb"}, 2), (ASCII, 0)],
    ids=["NO_COLOR", "dumb", "C"],
)
def test_terminals_of_all_kinds(profile: Path, environment: Dict[str, str], status: int) -> None:
    with Terminal(browse(profile), environment=environment, cwd=ROOT) as terminal:
        if status:
            assert terminal.status() == status
            assert "browse needs a terminal" in str(terminal.screen())
            return
        screen = terminal.shows("? help")
        assert "LC_ALL" not in environment or str(screen).isascii()
        terminal.keys("q")
        assert terminal.status() == 0


@with_textual
def test_a_terminal_that_is_lost(profile: Path) -> None:
    with Terminal(browse(profile), cwd=ROOT) as terminal:
        terminal.shows("? help")
        pid = terminal.pid
        terminal.lose()
        terminal.gone(pid)


@with_textual
def test_what_is_written_to_a_lost_terminal_is_dropped() -> None:
    """By textual, too: what has died of it would be waited for."""
    code = (
        "import os, signal, sys; from iotrace import streams; from iotrace.tui import page\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); streams.prepare(); page.survive()\n"
        "os.write(1, b'.')\n"
        "try: os.read(0, 1)\n"
        "except OSError: pass\n"
        "sys.__stderr__.write('x' * 100000); sys.__stderr__.flush(); os._exit(7)"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", code])
    assert os.read(terminal, 1) == b"."
    os.close(terminal)
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 7


def test_without_textual_one_line_says_what_to_install(profile: Path) -> None:
    code = "import sys; sys.modules['textual'] = None; from iotrace.__main__ import command; command()"
    with Terminal([sys.executable, "-c", code, "browse", str(profile)], cwd=ROOT, columns=200) as terminal:
        assert terminal.status() == 1
        assert str(terminal.screen()) == (
            "iotrace: browse: textual is not installed: pip install 'iotrace[tui]', or textual alone"
        )


def test_without_a_terminal_one_line_says_what_else_there_is(profile: Path) -> None:
    done = subprocess.run(browse(profile), cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and "report --by" in done.stderr


@with_textual
@pytest.mark.slow
def test_a_hundred_thousand_files(tmp_path: Path) -> None:
    path = tmp_path / "p.iotrace"
    names = (b"/srv/%03d/%02d/%05d" % (number % 211, number % 17, number) for number in range(100_000))
    write(path, Header(), (file(name, number) for number, name in enumerate(names)))
    with Terminal(browse(path), cwd=ROOT) as terminal:
        screen = terminal.shows("100,000 files")
        assert screen.lines[0] == "/srv"
        terminal.keys("/")
        terminal.text("99999")
        terminal.keys("Enter")
        terminal.shows("1 found: 99999", "/99999")
        terminal.keys("Enter")
        terminal.shows("99,999  bytes read")
        terminal.keys("C-c")
        assert terminal.status() == 0
