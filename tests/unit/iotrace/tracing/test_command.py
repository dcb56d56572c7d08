"""Commands: their start, their end, and what keeps them from starting."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from iotrace.errors import CommandError, UserError
from iotrace.tracing.command import Command
from tests import needs


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def ran(*argv: str) -> Command:
    command = Command(list(argv))
    command.release()
    command.wait()
    return command


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 23", 23), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("kill -6 $$", 134)],
)
def test_the_exit_status_is_the_shells(script: str, status: int) -> None:
    """Held against the shell, which is asked what it makes of the same end."""
    assert ran("sh", "-c", script).exit_status == status
    shell = subprocess.run(["sh", "-c", f"sh -c '{script}'; exit $?"], stderr=subprocess.DEVNULL)
    assert shell.returncode == status


def test_nothing_runs_before_it_is_released(tmp_path: Path) -> None:
    command = Command(["touch", str(tmp_path / "made")])
    assert Path(f"/proc/{command.pid}/exe").samefile("/proc/self/exe")
    assert not command.poll() and not (tmp_path / "made").exists()
    command.release()
    command.wait()
    assert command.poll() and command.exit_status == 0 and (tmp_path / "made").exists()


def test_a_command_that_is_abandoned_has_done_nothing(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    command = Command(["touch", str(tmp_path / "made")])
    command.abandon()
    assert command.status is not None and not (tmp_path / "made").exists()
    assert command.exit_status == 128 + signal.SIGKILL
    assert os.listdir("/proc/self/fd") == before


def test_nothing_of_ours_is_inherited(tmp_path: Path) -> None:
    """Neither descriptors, but those that were passed on to us, nor ignored signals."""
    passed_on = {fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and _inheritable(fd)}
    ran("sh", "-c", f"ls /proc/self/fd > {tmp_path}/fds; grep SigIgn /proc/self/status > {tmp_path}/signals")
    fds = {int(fd) for fd in (tmp_path / "fds").read_text().split()}
    assert len(fds - {0, 1, 2} - passed_on) == 1, "the directory that ls lists"
    ignored = int((tmp_path / "signals").read_text().split()[1], 16)
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN  # as Python has it
    assert ignored & (1 << (signal.SIGPIPE - 1)) == 0


def _inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("absent", 127, "No such file or directory"),
        ("plain", 126, "Permission denied"),
        ("broken", 126, "Exec format error"),
        ("directory", 126, "Permission denied"),
        ("orphan", 127, "No such file or directory"),  # its interpreter is missing
    ],
)
def test_a_command_that_cannot_be_run(name: str, status: int, text: str, tmp_path: Path) -> None:
    """The exit statuses are those of env(1), which lets a shell try what has no format that the kernel knows."""
    (tmp_path / "plain").write_text("no program\n")
    (tmp_path / "broken").write_bytes(b"\x7fELF")
    (tmp_path / "orphan").write_text("#!/no/such/interpreter\n")
    for script in ("broken", "orphan"):
        (tmp_path / script).chmod(0o755)
    (tmp_path / "directory").mkdir()
    path = str(tmp_path / name)
    before = os.listdir("/proc/self/fd")
    command = Command([path, "argument"])
    with pytest.raises(CommandError) as caught:
        command.release()
    assert (caught.value.status, str(caught.value)) == (status, f"cannot run {path}: {text}")
    if name != "broken":
        assert subprocess.run(["env", path, "argument"], stderr=subprocess.DEVNULL).returncode == status
    assert command.status is not None
    assert os.listdir("/proc/self/fd") == before


def test_a_user_that_does_not_exist() -> None:
    with pytest.raises(UserError, match=r"^--user no such user: there is no such user$"):
        Command(["true"], "no such user")


@needs.root
def test_a_command_of_another_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in list(tmp_path.parents)[:-1]:  # no slices before 3.10
        if parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o755)
    script = "id -un; id -gn; id -Gn; echo $HOME $USER; grep CapEff /proc/self/status"
    command = Command(["sh", "-c", f"({script}) > {tmp_path}/out"], "nobody")
    command.release()
    command.wait()
    user, group, groups, variables, capabilities = (tmp_path / "out").read_text().splitlines()
    asked = [
        subprocess.run(["id", option, "nobody"], stdout=subprocess.PIPE).stdout.decode().strip()
        for option in ("-un", "-gn", "-Gn")
    ]
    assert [user, group, groups] == asked
    assert variables.split()[1] == "nobody" and int(capabilities.split()[1], 16) == 0
