"""Boot a kernel in QEMU, run a command in it, and take its output and its exit status.

Without KVM, which is not to be had everywhere.  The command's files come in an archive of their own behind the root
file system; its output goes over the serial console.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, List, Mapping, Optional, Tuple, Union

from . import root
from .cpio import CpioWriter
from .kernels import Bootable, release

MEMORY = 1024  # MiB
TIMEOUT = 600.0  # seconds that a command may take, with all boots that it needs
TRIES = 2
TAIL = 30  # lines of the console that are kept for the case of a panic
# What the kernel says of a CPU that does not go on (kernel/watchdog.c, kernel/rcu/tree_stall.h).
_STUCK = r"watchdog: BUG: soft lockup|rcu: INFO: \w+ (?:self-)?detected (?:expedited )?stalls?"
_QEMU = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}
_PACKAGE = {"amd64": "qemu-system-x86", "arm64": "qemu-system-arm"}

Content = Union[bytes, Tuple[bytes, int]]  # data, or data and permissions
Files = Mapping[str, Content]  # by their paths in the guest


class GuestError(Exception):
    """The guest gave no answer: it panicked, hung, or QEMU failed.  The message holds the console's last lines."""


@dataclass(frozen=True)
class Outcome:
    """A command that ran to its end."""

    status: int
    output: str
    boots: int  # how many it took


def missing(kernel: Bootable) -> Optional[str]:
    """Why this kernel cannot be booted here; None if it can."""
    if shutil.which(_QEMU[kernel.architecture]) is None:
        return f"{_PACKAGE[kernel.architecture]} is not installed"
    return None if kernel.fetched else f"kernel {kernel.name} is not here: tools/vm fetch {kernel.name}"


def run(
    kernel: Bootable,
    command: str,
    files: Files,
    *,
    timeout: float = TIMEOUT,
    silence: float = TIMEOUT,
    show: Optional[IO[str]] = None,
    append: str = "",
) -> Outcome:
    """Run a shell command in /work of a fresh guest.  `show` gets its output as it comes.  After `timeout` seconds, or
    `silence` seconds without a line, the guest hangs.

    A guest that gives no answer is booted a second time, since old QEMUs crash some kernels now and then; `boots`
    tells.  Raises GuestError.
    """
    with tempfile.NamedTemporaryFile(prefix="initrd-") as initrd:
        with open(root.image(kernel.architecture), "rb") as base:
            shutil.copyfileobj(base, initrd)
        cpio = CpioWriter(initrd)
        cpio.file(".vm/command", command.encode() + b"\n")
        cpio.file(".vm/epoch", b"%d\n" % time.time())
        for path, content in files.items():
            data, permissions = (content, 0o644) if isinstance(content, bytes) else content
            cpio.file(path.lstrip("/"), data, permissions)
        cpio.close()
        initrd.flush()
        deadline = time.monotonic() + timeout
        ends: List[str] = []
        for boot in range(1, TRIES + 1):
            console = _Console(show)
            # One CPU the second time: what hangs a guest is a QEMU that lets one CPU run what another has just patched.
            line = _command_line(kernel, initrd.name, append, one_cpu=boot > 1)
            end = _boot(line, console, deadline, silence)
            if console.status is not None:
                return Outcome(console.status, console.output, boot)
            ends.append(f"boot {boot}: {end}; its last words:\n{''.join(console.tail)}")
            if time.monotonic() > deadline:
                break
        raise GuestError("\n".join([f"{kernel.name} gave no answer", *ends]))


class _Console:
    """What the guest prints, line by line: separates the command's output from the kernel's and init's."""

    def __init__(self, show: Optional[IO[str]]) -> None:
        self._show = show
        self._inside = False
        self._held = ""
        self.output = ""
        self.tail: List[str] = []
        self.status: Optional[int] = None
        self.stuck = False  # the kernel itself says so

    def take(self, line: str) -> None:
        self.tail = [*self.tail[-TAIL:], line]
        self.stuck = self.stuck or re.search(_STUCK, line) is not None
        end = re.match(r"@@END (\d+)", line)
        if end:
            self.status = int(end.group(1))
            self._inside = False
        elif "@@BEGIN " in line:
            self._inside = True
        elif self._inside:
            # The newline before the last marker is init's: each is held back until something follows.
            self._print(self._held + (line[:-1] if line.endswith("\n") else line))
            self._held = "\n"

    def _print(self, text: str) -> None:
        self.output += text
        if self._show is not None:
            self._show.write(text)
            self._show.flush()


def _boot(command: List[str], console: _Console, deadline: float, silence: float) -> str:
    """Run QEMU until it ends, or is ended because the guest is silent or the time is over; which of them it was.

    The time is short so that one guest that hangs, as old QEMUs now and then make one do, does not cost a test run all
    of its time.
    """
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        pipe, text, end = process.stdout.fileno(), b"", ""
        try:
            while not end:
                wait = min(silence, deadline - time.monotonic())
                if wait <= 0 or not select.select([pipe], [], [], wait)[0]:
                    end = f"silent for {silence:.0f} s" if wait == silence else "not at its end in time"
                    break
                data = os.read(pipe, 1 << 16)
                end = "" if data else f"QEMU ended with {process.wait()}"
                *lines, text = (text + data).split(b"\n")
                for line in lines:
                    console.take(line.decode("utf-8", "replace").replace("\r", "") + "\n")
                end = end or ("a CPU of the guest is stuck" if console.stuck else "")
            if text:
                console.take(text.decode("utf-8", "replace"))
        finally:
            process.kill()
    return end


def _command_line(kernel: Bootable, initrd: str, append: str, *, one_cpu: bool) -> List[str]:
    if kernel.architecture == "amd64":
        cpu, cpus = _x86_processor(release(kernel.image))
        cpus = "1" if one_cpu else cpus
        machine, console = ["-machine", "q35", "-cpu", cpu, "-smp", cpus], "ttyS0"
    else:
        machine, console = ["-machine", "virt", "-cpu", "max,pauth-impdef=on", "-smp", "2"], "ttyAMA0"
    return [
        _QEMU[kernel.architecture],
        *machine,
        "-accel",
        "tcg,thread=multi",
        "-m",
        str(MEMORY),
        "-no-user-config",
        "-nodefaults",
        "-display",
        "none",
        "-monitor",
        "none",
        "-serial",
        "stdio",
        "-no-reboot",
        "-device",
        "virtio-rng-pci",
        "-kernel",
        str(kernel.image),
        "-initrd",
        initrd,
        "-append",
        f"console={console} panic=-1 quiet loglevel=4 {append}".strip(),
    ]


def _x86_processor(kernel: str) -> Tuple[str, str]:
    """CPU model and count for a kernel of that release; two CPUs, as one hides what goes wrong between two.

    QEMU before 10 now and then corrupts flags after cmpxchg16b, and code that one CPU patches while another runs it,
    which panics kernels from 6.12 on.
    """
    since = re.match(r"(\d+)\.(\d+)", kernel)
    newer = since is None or (int(since[1]), int(since[2])) >= (6, 12)
    return ("max,cx16=off", "1") if newer and _qemu_major() < 10 else ("max", "2")


@lru_cache(maxsize=None)
def _qemu_major() -> int:
    """QEMU's major version; 0 if it does not say."""
    said = subprocess.run([_QEMU["amd64"], "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    version = re.search(r"version (\d+)", said)
    return int(version.group(1)) if version else 0
