"""A command begins under iotrace with what it would have had without: held against the same command run by itself."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

import pytest

from tests import needs

from .observe import iotrace

pytestmark = [needs.root, needs.programs("setpriv")]

# What a process is that its program did not choose: all of it but what tells one process or one moment from another.
LOOK = r"""
grep -E '^(Umask|Uid|Gid|Groups|NoNewPrivs|Seccomp|Sig[A-Z]|Shd|Cap|Cpus_allowed:|THP)' /proc/self/status |
    grep -vE '^(SigQ|SigPnd|ShdPnd)'
cat /proc/self/limits /proc/self/oom_score_adj /proc/self/timerslack_ns 2>/dev/null
cut -d' ' -f5-8,18,19,41 /proc/self/stat
ls -l /proc/self/fd 2>&1 > open; sed -n 's:.* \([0-9]* -> .*\):\1:p' open | grep -v /proc/
tr '\0' '\n' < /proc/self/environ | sort
pwd
"""


def look(before: Sequence[str], place: Path, **more: Any) -> List[str]:
    """What the command sees of itself when it is run by `before`."""
    words = [*before, "sh", "-c", LOOK]
    with open(place / "seen", "w+b") as seen:
        done = subprocess.run(words, cwd=place, stdin=subprocess.DEVNULL, stdout=seen, timeout=60, **more)
    assert done.returncode == 0
    return (place / "seen").read_text().splitlines()


def ignoring(*numbers: int) -> Callable[[], None]:
    def prepare() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return prepare


def masked() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGWINCH, signal.SIGRTMIN + 3})


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 1 << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 12345))
    os.umask(0o027)
    os.nice(5)
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write("321")
    resource.setrlimit(resource.RLIMIT_NOFILE, (90, 4096))  # last, since the tests have more open


def bound() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@pytest.mark.parametrize(
    "prepare",
    [
        lambda: None,
        ignoring(signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR2, signal.SIGCHLD),
        masked,
        limited,
        bound,
    ],
    ids=["plain", "ignored", "blocked", "limited", "bound"],
)
@pytest.mark.parametrize("attach", ["raw", "perf"])
def test_what_a_command_is_given(prepare: Callable[[], None], attach: str, place: Path) -> None:
    run = iotrace("run", "-q", "--attach", attach, "-o", str(place / "p.iotrace"), "--")
    assert look(run, place, preexec_fn=prepare) == look([], place, preexec_fn=prepare)


def test_descriptors_are_passed_on(place: Path) -> None:
    run = iotrace("run", "-q", "-o", str(place / "p.iotrace"), "--")
    with open(place / "file", "wb") as file:
        passed: Dict[str, Any] = {"pass_fds": [file.fileno()]}
        alone = look([], place, **passed)
        assert f"{file.fileno()} -> {place}/file" in alone and look(run, place, **passed) == alone


@pytest.mark.parametrize("environment", [{}, {"LC_CTYPE": "C"}, {"LC_CTYPE": "POSIX", "A": "b"}, {"LANG": "C.UTF-8"}])
def test_the_environment_is_passed_on(environment: Mapping[str, str], place: Path) -> None:
    """In the C locale the interpreter sets LC_CTYPE, which is not for the command."""
    env: Optional[Dict[str, str]] = {"PATH": os.environ["PATH"], **environment}
    run = iotrace("run", "-q", "-o", str(place / "p.iotrace"), "--")
    assert look(run, place, env=env) == look([], place, env=env)


def as_nobody(*capabilities: str) -> List[str]:
    """What runs a command as an ordinary user with these ambient capabilities."""
    held = ",".join("+" + name for name in capabilities)
    more = ["--inh-caps", held, "--ambient-caps", held] if held else []
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *more]


def test_capabilities_for_tracing_are_not_passed_on(place: Path) -> None:
    """Others are, as everything else is."""
    place.chmod(0o777)
    run = iotrace("run", "-q", "-o", str(place / "p.iotrace"), "--")
    traced = look([*as_nobody("bpf", "perfmon", "chown"), *run], place)
    alone = look(as_nobody("chown"), place)
    inheritable = [line.startswith("CapInh") for line in traced].index(True)
    assert traced[inheritable] != alone[inheritable], "it gives nobody anything by itself"
    assert traced[:inheritable] + traced[inheritable + 1 :] == alone[:inheritable] + alone[inheritable + 1 :]


def test_a_user_that_it_cannot_become(place: Path) -> None:
    place.chmod(0o777)
    run = iotrace("run", "-o", str(place / "p.iotrace"), "--user", "daemon", "--", "true")
    words = [*as_nobody("bpf", "perfmon"), *run]
    done = subprocess.run(words, cwd=place, stderr=subprocess.PIPE, timeout=60)
    said = done.stderr.decode().splitlines()
    assert done.returncode == 125 and len(said) == 1
    assert said[0].startswith("iotrace: --user daemon: cannot become that user") and "CAP_SETUID" in said[0]
