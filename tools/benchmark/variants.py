"""What a call is measured with: nothing, empty programs, iotrace, and what iotrace can be compared with."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional, Tuple
from typing import Counter as Counts

from asm import Assembler, ProgramType
from iotrace.profile import reader
from iotrace.profile.target import Target
from iotrace.profile.whose import WHOSE
from iotrace.profile.writer import Writer
from iotrace.tracing.session import Session, Settings
from pybpf import links
from pybpf.programs import Program, load
from pybpf.types.tracefs import Tracefs
from tools.benchmark.machine import HERE, BenchError, Loop

TRACED = ("pread64", "pwrite64")
ON_REQUEST = "iotrace-by-"
"""What the names of variants begin with that are measured only where they are asked for."""
QUICK = (
    "empty-raw",
    "empty-exit",
    "iotrace-raw",
    "iotrace-light",
    "clang",
    "clang-typed",
    "clang-bare",
    "clang-bare-typed",
)
"""What is measured quickly: not what takes seconds to attach, and one way in."""
READY_WAIT, END_WAIT, DETACH_WAIT = 30.0, 10.0, 60.0
STILL = 0.5  # seconds without another probe: all of them are attached


@dataclass
class Attached:
    """A variant at work. `seen` is its own count of calls on the measured file, filled in once it has been detached."""

    programs: List[Program] = field(default_factory=list)
    seen: Optional[Dict[str, int]] = None


Variant = Callable[[Loop], ContextManager[Attached]]


@contextlib.contextmanager
def untraced(_target: Loop) -> Iterator[Attached]:
    yield Attached()


def _empty(name: str, kind: ProgramType) -> Program:
    a = Assembler(name, kind)
    a.ret(0)
    return load(a.program(), {})


def empty_raw(*names: str) -> Variant:
    """Raw tracepoints on the exit of every system call, on the entry, or on both."""

    @contextlib.contextmanager
    def variant(_target: Loop) -> Iterator[Attached]:
        with contextlib.ExitStack() as stack:
            programs = []
            for name in names:
                programs.append(stack.enter_context(_empty(name, ProgramType.RAW_TRACEPOINT)))
                stack.enter_context(links.raw_tracepoint(programs[-1], name))
            yield Attached(programs)

    return variant


@contextlib.contextmanager
def empty_perf(_target: Loop) -> Iterator[Attached]:
    """Perf tracepoints on the entry and exit of the traced calls."""
    with contextlib.ExitStack() as stack:
        tracefs = stack.enter_context(Tracefs.open())
        programs = []
        for name in (f"sys_{side}_{call}" for side in ("exit", "enter") for call in TRACED):
            programs.append(stack.enter_context(_empty(name, ProgramType.TRACEPOINT)))
            stack.enter_context(links.tracepoint(programs[-1], tracefs.event_id("syscalls", name)))
        yield Attached(programs)


def iotrace(attach: str, file: Path, interval: Optional[int] = None, by: str = "", light: bool = False) -> Variant:
    """iotrace itself, as `iotrace run --attach ATTACH --pid TARGET --follow` sets it up, and with `--by` or `--light`.

    `interval` is in ns.
    """

    @contextlib.contextmanager
    def variant(target: Loop) -> Iterator[Attached]:
        output = file.with_name(f"seen-{attach}{by}")
        chosen = Settings(pids=[target.pid], follow=True, attach=attach, interval=interval, by=by, light=light)
        with Session(chosen) as session:
            session.write_to(Writer(Target(output, force=True)))
            session.attach()
            session.trace_process(target.pid, follow=True)
            attached = Attached(session.loaded.programs)
            yield attached
            session.finish()
        with reader.open(output) as profile:
            counts: Counts[str] = Counter()
            for seen in profile.find(os.fsencode(file)):
                counts.update({name: call.calls for name, call in seen.syscalls.items()})
        attached.seen = counts
        if attach == "perf":
            _until_detached()

    return variant


def _until_detached() -> None:
    """Wait for the process that lets go of perf tracepoints after a run: until then others on them take longer."""
    until = time.monotonic() + DETACH_WAIT
    while time.monotonic() < until and any(map(_detaches, os.listdir("/proc"))):
        time.sleep(0.2)


def _detaches(entry: str) -> bool:
    with contextlib.suppress(OSError):  # one that has ended
        return entry.isdigit() and Path("/proc", entry, "comm").read_text() == "bpf-detach\n"
    return False


# -- clang ---------------------------------------------------------------------------------------------------------


class Libbpf:
    """As much of libbpf.so.1 as loading and attaching an object takes. Raises OSError where it is not installed."""

    def __init__(self) -> None:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
        pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p

        def function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
            of = library[name]
            of.restype, of.argtypes = result, arguments
            return of

        self.open = function("bpf_object__open_file", pointer, text, pointer)
        self.load = function("bpf_object__load", number, pointer)
        self.close = function("bpf_object__close", None, pointer)
        self.next_program = function("bpf_object__next_program", pointer, pointer, pointer)
        self.attach = function("bpf_program__attach", pointer, pointer)
        self.detach = function("bpf_link__destroy", number, pointer)
        self.map = function("bpf_object__find_map_fd_by_name", number, pointer, text)
        self.update = function("bpf_map_update_elem", number, number, pointer, pointer, ctypes.c_uint64)
        self.lookup = function("bpf_map_lookup_elem", number, number, pointer, pointer)
        self.next_key = function("bpf_map_get_next_key", number, number, pointer, pointer)

    def attach_all(self, loaded: int, stack: contextlib.ExitStack) -> None:
        """Attach every program of an object until `stack` unwinds."""
        program = self.next_program(loaded, None)
        while program:
            link = self.attach(program)
            if not link:
                raise BenchError(f"libbpf cannot attach: {os.strerror(ctypes.get_errno())}")
            stack.callback(self.detach, link)
            program = self.next_program(loaded, program)


class PlainStats(ctypes.Structure):
    """struct stats of plain.bpf.c; with -DBARE it ends before this does."""

    _fields_ = [("calls", ctypes.c_uint64), ("rest", ctypes.c_uint64 * (2 + 33 + 33 + 44))]


class PlainKey(ctypes.Structure):
    """struct key of plain.bpf.c"""

    _fields_ = [
        ("inode", ctypes.c_uint64),
        ("mount", ctypes.c_uint64),
        ("device", ctypes.c_uint32),
        ("call", ctypes.c_uint32),
    ]


CLANG = {
    "clang": (),
    "clang-typed": ("-DTYPED",),
    "clang-bare": ("-DBARE",),
    "clang-bare-typed": ("-DBARE", "-DTYPED"),
}
"""What of plain.bpf.c each variant is compiled with."""
PLAIN_CALLS = {0: "read", 1: "write", 17: "pread64", 18: "pwrite64"}


def clang(directory: Path, inode: int, *options: str) -> Variant:
    """The C program, compiled now with further options. Raises BenchError, or OSError without libbpf."""
    source, built = HERE / "plain.bpf.c", directory / f"plain{''.join(options)}.bpf.o"
    headers = f"-I/usr/include/{platform.machine()}-linux-gnu"
    command = ["clang", "-O2", "-g", "-target", "bpf", "-mcpu=v3", headers, *options]
    compiled = subprocess.run([*command, "-c", str(source), "-o", str(built)], stderr=subprocess.PIPE, text=True)
    if compiled.returncode:
        raise BenchError(f"clang cannot compile {source.name} (libbpf-dev?): {compiled.stderr.strip()[:300]}")
    library = Libbpf()

    @contextlib.contextmanager
    def variant(target: Loop) -> Iterator[Attached]:
        attached = Attached()
        with contextlib.ExitStack() as stack:
            loaded = library.open(os.fsencode(built), None)
            stack.callback(library.close, loaded)
            if not loaded or library.load(loaded) < 0:
                raise BenchError(f"libbpf cannot load {source.name}, see above")
            pid, one = ctypes.c_uint32(target.pid), ctypes.c_uint32(1)
            library.update(library.map(loaded, b"targets"), ctypes.byref(pid), ctypes.byref(one), 0)
            library.attach_all(loaded, stack)
            yield attached
            attached.seen = _plain_counts(library, library.map(loaded, b"files"), inode)

    return variant


def _plain_counts(library: Libbpf, files: int, inode: int) -> Dict[str, int]:
    counts: Counts[str] = Counter()
    key, stats = PlainKey(), PlainStats()
    start = None
    while library.next_key(files, start, ctypes.byref(key)) == 0:
        start = ctypes.byref(key)
        if key.inode == inode and library.lookup(files, start, ctypes.byref(stats)) == 0:
            counts[PLAIN_CALLS[key.call]] += stats.calls
    return counts


# -- bpftrace ------------------------------------------------------------------------------------------------------

BPFTRACE_CALLS = {"17": "pread64", "18": "pwrite64"}
# A tracefs of its own, wherever the machine has or has not mounted one.
_MOUNTED = 'mount -t tracefs tracefs /sys/kernel/tracing && exec bpftrace "$@"'
BPFTRACE = ["unshare", "--mount", "sh", "-c", _MOUNTED, "bpftrace"]


@contextlib.contextmanager
def running_bpftrace(*arguments: str) -> Iterator[Tuple[subprocess.Popen[str], float]]:
    """bpftrace while it traces, and time.monotonic() of when it had attached its last probe.

    Nothing that a script can do tells that: BEGIN comes first. But each probe is a perf event of bpftrace's. Raises
    BenchError.
    """
    command = [*BPFTRACE, "-B", "none", "-f", "json", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(READY_WAIT, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        said = next((line for line in process.stdout if "attached_probes" in line), "")
        if not said:
            raise BenchError(f"bpftrace did not start: {process.communicate()[1].strip()[-300:]}")
        ready = _last_growth(process.pid, json.loads(said)["data"]["probes"])
        watchdog.cancel()
        yield process, ready
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def _last_growth(pid: int, least: int) -> float:
    """When the number of perf events of a process last grew, once there are `least` and no more come."""
    most, at = 0, time.monotonic()
    until = at + READY_WAIT
    while most < least or time.monotonic() < at + STILL:
        if time.monotonic() > until:
            raise BenchError(f"bpftrace attached no more than {most} of {least} probes")
        time.sleep(0.002)
        now = sum("perf_event" in _target(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd"))
        if now > most:
            most, at = now, time.monotonic()
    return at


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


def bpftrace(inode: int) -> Variant:
    """plain.bt."""

    @contextlib.contextmanager
    def variant(target: Loop) -> Iterator[Attached]:
        attached = Attached()
        with running_bpftrace(str(HERE / "plain.bt"), str(target.pid)) as (process, _):
            yield attached
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs now and then; then its count is not known
                attached.seen = _bpftrace_counts(process.communicate(timeout=END_WAIT)[0], inode)

    return variant


def _bpftrace_counts(output: str, inode: int) -> Dict[str, int]:
    counts: Counts[str] = Counter()
    for line in output.splitlines():
        record = json.loads(line) if line.startswith("{") else {}
        if record.get("type") == "map" and "@calls" in record["data"]:
            for key, calls in record["data"]["@calls"].items():
                number, _device, of = key.split(",")
                if int(of) == inode:
                    counts[BPFTRACE_CALLS[number]] += calls
    return counts


# -- all of them ---------------------------------------------------------------------------------------------------


def available(directory: Path, file: Path) -> Dict[str, Variant]:
    """Every variant that this machine can run, by name; says on standard error why others cannot."""
    inode = file.stat().st_ino
    found: Dict[str, Variant] = {
        "untraced": untraced,
        "empty-raw": empty_raw("sys_exit", "sys_enter"),
        "empty-exit": empty_raw("sys_exit"),
        "empty-perf": empty_perf,
        "iotrace-raw": iotrace("raw", file),
        "iotrace-perf": iotrace("perf", file),
        "iotrace-light": iotrace("raw", file, light=True),
        "iotrace-interval": iotrace("raw", file, 10**9),
        **{f"{ON_REQUEST}{by}": iotrace("raw", file, by=by) for by in WHOSE},
    }
    if platform.machine() != "x86_64" or shutil.which("clang") is None:
        print("clang: left out: needs clang, and x86_64", file=sys.stderr)
    else:
        try:
            found.update({name: clang(directory, inode, *options) for name, options in CLANG.items()})
        except (BenchError, OSError) as error:
            print(f"clang: left out: {error}", file=sys.stderr)
    if shutil.which("bpftrace") is None:
        print("bpftrace: left out: not installed", file=sys.stderr)
    else:
        found["bpftrace"] = bpftrace(inode)
    return found
