"""Programs on the terminal of the run that traces them: their screens are what they are without it.

They are shown side by side, each on a terminal of its own, so that the time in which a status line would be drawn
is waited for once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple

import pytest

from tests import needs
from tests.terminal import Terminal

from .observe import export, iotrace

pytestmark = [needs.root, needs.programs("tmux", "vim.tiny", "less", "bash")]

PROGRESS = 'for share in 10 45 80; do printf "\\r[%s%%] copying" $share; sleep 0.2; done; read -s answer; printf done'


class Program(NamedTuple):
    """A program that waits for keys with something on its screen, and what it has there."""

    words: List[str]
    shows: str
    keys: Tuple[str, ...]  # that end it


PROGRAMS = {
    "an editor": Program(["vim.tiny", "-u", "NONE", "-i", "NONE", "-n", "text"], "line 20", (":q!", "Enter")),
    "a pager": Program(["less", "text"], "line 20", ("q",)),
    "a password": Program(
        ["bash", "-c", "read -s -p 'Password: ' word; printf ${#word}"], "Password:", ("abc", "Enter")
    ),
    "a progress bar": Program(["bash", "-c", PROGRESS], "[80%] copying", ("Enter",)),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "text").write_text("".join(f"line {number}\n" for number in range(1, 200)))
    return tmp_path


def looks(terminal: Terminal) -> int:
    """How often a run has looked around, at least: it waits in between."""
    for line in Path(f"/proc/{terminal.pid}/status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches"):
            return int(line.split()[1])
    raise AssertionError("a process without a status")


@contextlib.contextmanager
def shown(place: Path, before: Callable[[str], List[str]]) -> Iterator[Dict[str, Terminal]]:
    """The programs, each on its terminal; `before` says by name what comes before its words."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(Terminal([*before(name), *program.words], lines=50, cwd=place))
            for name, program in PROGRAMS.items()
        }


def test_what_a_command_draws_stays_as_it_is(place: Path) -> None:
    """Also at the end: the summary begins below the line in which the command has left off."""

    def tracing(name: str) -> List[str]:
        return iotrace("run", "-o", f"{name}.iotrace", "--")

    asked = Terminal(iotrace("run", "--status", "on", "-o", "p.iotrace", "--", "less", "text"), cwd=place)
    with shown(place, lambda _: []) as alone, shown(place, tracing) as traced, asked:
        expected = {name: alone[name].shows(program.shows) for name, program in PROGRAMS.items()}
        for name, program in PROGRAMS.items():
            traced[name].shows(program.shows)
        since = {name: looks(terminal) for name, terminal in traced.items()}
        asked.shows("calls/s")  # where it is asked for, there is a line by now
        for name, terminal in traced.items():
            while looks(terminal) < since[name] + 10:
                time.sleep(0.05)
            assert terminal.screen() == expected[name], name
        for name, program in PROGRAMS.items():
            for terminal in (alone[name], traced[name]):
                terminal.keys(*program.keys)
        for name, terminal in traced.items():
            alone[name].status()
            left = [line for line in alone[name].screen().lines if line]
            lines = terminal.shows("profile: ").lines
            assert lines[: len(left)] == left, name
            assert "and all that it starts" in " ".join(lines[len(left) :][:2]), name
        assert left == ["[80%] copyingdone"]


@pytest.mark.parametrize("whom", ["--pid", "--comm"])
def test_a_script_is_told_when_it_may_start_its_load(place: Path, whom: str) -> None:
    name = place / f"load-{os.getpid()}"
    shutil.copy(needs.program("bash"), name)
    script = "read -r word; for number in 1 2 3; do printf hello >> data; done"
    load = subprocess.Popen([name, "-c", script], stdin=subprocess.PIPE, cwd=place)
    words = iotrace("run", "-o", str(place / "p.iotrace"), whom, str(load.pid) if whom == "--pid" else name.name)
    tool = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert tool.stderr is not None
    try:
        assert tool.stderr.readline() == "tracing 1 process\n"
        load.communicate(b"go\n")
    finally:
        load.kill()
        tool.send_signal(signal.SIGTERM)
        said = tool.communicate()[1]
    assert tool.returncode == 0, said
    (data,) = [file for file in export(place / "p.iotrace")["files"] if file["path"] == f"{place}/data"]
    assert (data["syscalls"]["write"]["calls"], data["opens"]) == (3, 3)


def test_the_line_for_scripts_comes_before_anything_of_the_commands(place: Path) -> None:
    words = iotrace("run", "-o", str(place / "p.iotrace"), "--", "sh", "-c", "printf 'no newline' >&2; printf . >&2")
    said = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=True).stderr
    assert said.startswith("tracing 1 process\nno newline.")
