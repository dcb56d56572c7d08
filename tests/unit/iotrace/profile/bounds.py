"""Commands as processes of their own, held to what is promised of hostile input: 10 s, 200 MB, one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import List, NamedTuple, Sequence, Tuple

ROOT = Path(__file__).resolve().parents[4]
SECONDS, KIB = 10, 200 << 10
KNOWN = "/srv/001/000001.dat"
COMMANDS = (
    ("report", "{}"),
    ("report", "{}", "--limit", "0", "--sort", "latency"),
    ("report", "{}", "--file", KNOWN),
    ("report", "{}", "--by", "directory"),
    ("report", "{}", "--by", "mount"),
    ("report", "{}", "--by", "syscall"),
    ("report", "{}", "{}"),
    ("merge", "{}", "{}", "--allow-duplicates", "-o", "{}.merged", "--force"),
    ("diff", "{}", "{}"),
    ("diff", "{}", "{}", "--by", "directory", "--format", "json"),
    ("export", "{}"),
    ("export", "{}", "--format", "csv", "--table", "operation", "--sort", "path"),
    ("export", "{}", "--format", "openmetrics"),
    ("browse", "{}"),
)


class Ended(NamedTuple):
    status: int
    stderr: str
    kib: int  # the most memory that it had


PROGRAM = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))
sys.path.insert(0, {str(ROOT)!r})
from iotrace.cli import main
status = main()
sys.stdout.flush()
print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0], file=open({{memory}}, "w"))
os._exit(status)
"""


def run(*arguments: str, **environment: str) -> Ended:
    """Run a command; the time is that of the CPU, since others may be at work on this machine too.

    It tells its memory itself: what the system tells of a child includes what its parent had.
    """
    memory, told = os.pipe()
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(memory=told), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        pass_fds=[told],
    )
    os.close(told)
    with open(memory) as file:
        return Ended(child.returncode, child.stderr.decode(), int(file.read() or -1))


def through(path: Path, commands: Sequence[Tuple[str, ...]] = COMMANDS) -> List[str]:
    """What the commands say of a profile, each of them in one line if anything; none takes too much."""
    said = []
    for command in commands:
        ended = run(*(word.format(path) for word in command))
        assert ended.kib < KIB, command
        assert ended.status == (2 if ended.stderr else 0), (command, ended)
        assert ended.stderr.count("\n") == (1 if ended.stderr else 0), (command, ended)
        said.append("" if "browse needs a terminal" in ended.stderr else ended.stderr)  # it had read the profile
    return said
