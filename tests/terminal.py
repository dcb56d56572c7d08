"""Programs on a terminal of their own, which tmux keeps: keys are sent, and the screen is read.

Each terminal has a server of its own, on a socket of its own, so that nothing of the user's tmux is touched.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from . import needs

PATIENCE = 30.0  # seconds until something that is waited for counts as never coming


class Screen(NamedTuple):
    """What a terminal shows: its lines without the blanks at their ends, and the cursor's column and line."""

    lines: List[str]
    cursor: Tuple[int, int]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def line(self, word: str) -> str:
        """The first line with this in it, "" if there is none."""
        return next((line for line in self.lines if word in line), "")


class Terminal:
    """A terminal with a program on it; a context manager that ends both. The program's end leaves its screen."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        lines: int = 24,
        environment: Optional[Mapping[str, Optional[str]]] = None,
        cwd: Optional[Path] = None,
    ) -> None:
        """Start it. In `environment` None stands for a variable that is not set."""
        self._directory = tempfile.TemporaryDirectory(prefix="tmux-")
        self._socket = os.path.join(self._directory.name, "socket")
        config = Path(self._directory.name, "config")
        config.write_text(
            'set -g remain-on-exit on\nset -g remain-on-exit-format ""\nset -g status off\nset -s escape-time 0\n'
        )
        without = dict.fromkeys(("LC_ALL", "COLUMNS", "LINES", "TMUX", "TMUX_PANE", "NO_COLOR"))
        inner: Dict[str, Optional[str]] = {"LANG": "C.UTF-8", **without, **(environment or {})}
        words = ["env", *(word for name, value in inner.items() if value is None for word in ("-u", name))]
        words += [f"{name}={value}" for name, value in inner.items() if value is not None]
        self._ask("-f", str(config), "new-session", "-d", "-x", columns, "-y", lines, "-c", str(cwd or Path.cwd()),
                  "exec " + shlex.join([*words, *command]))  # fmt: skip

    def _ask(self, *words: object) -> str:
        """What tmux says. Its own locale is one of UTF-8, whatever the program's is."""
        done = subprocess.run(
            [needs.program("tmux"), "-u", "-S", self._socket, *map(str, words)],
            capture_output=True,
            env={**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "SHELL": "/bin/sh"},
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "replace")

    def keys(self, *keys: str) -> None:
        """Press these, by tmux's names for them, such as Enter, C-c, Down, or a character."""
        self._ask("send-keys", *keys)

    def text(self, text: str) -> None:
        """Type this."""
        self._ask("send-keys", "-l", text)

    def mouse(self, column: int, line: int) -> None:
        """Press and release the first button there, counted from 0, as a terminal reports it (SGR)."""
        for last in "Mm":
            self.text(f"\x1b[<0;{column + 1};{line + 1}{last}")

    def screen(self, *, colours: bool = False) -> Screen:
        """What is there now; with `colours` the lines have the escape sequences for them."""
        found = self._ask("capture-pane", "-p", *(["-e"] if colours else []))
        column, line = self._ask("display-message", "-p", "#{cursor_x} #{cursor_y}").split()
        return Screen([each.rstrip() for each in found.rstrip("\n").split("\n")], (int(column), int(line)))

    def until(self, condition: Callable[[Screen], bool]) -> Screen:
        """The first screen for which that is true; fails with the last one when that does not come about."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.screen()
            if condition(found):
                return found
            assert time.monotonic() < deadline, f"it never came about:\n{found}"
            time.sleep(0.03)

    def shows(self, *words: str) -> Screen:
        """The first screen with all of these in it."""
        return self.until(lambda screen: all(word in str(screen) for word in words))

    def resize(self, columns: int, lines: int) -> None:
        """Make it another size."""
        self._ask("resize-window", "-x", columns, "-y", lines)

    @property
    def pid(self) -> int:
        """The program's."""
        return int(self._ask("display-message", "-p", "#{pane_pid}"))

    @property
    def ended(self) -> bool:
        """Whether the program has ended."""
        return self._ask("display-message", "-p", "#{pane_dead}").strip() == "1"

    def status(self) -> int:
        """The program's exit status, once it has ended; less than 0: by that signal."""
        self.until(lambda _: self.ended and self._end() != "")
        return int(self._end())

    def _end(self) -> str:
        os.kill(int(self._ask("display-message", "-p", "#{pid}")), signal.SIGCHLD)  # tmux 3.3 misses some
        return self._ask(
            "display-message", "-p", "#{pane_dead_status}#{?pane_dead_signal,-,}#{pane_dead_signal}"
        ).strip()

    def gone(self, pid: int) -> None:
        """Wait for the end of what was on it; fails if that does not come."""
        deadline = time.monotonic() + PATIENCE
        while os.path.exists(f"/proc/{pid}"):
            assert time.monotonic() < deadline, f"process {pid} goes on"
            time.sleep(0.03)

    def lose(self) -> None:
        """The terminal is gone, as when a connection breaks: what is on it gets SIGHUP."""
        self._ask("kill-server")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_error: object) -> None:
        subprocess.run([needs.program("tmux"), "-S", self._socket, "kill-server"], stderr=subprocess.DEVNULL)
        self._directory.cleanup()
