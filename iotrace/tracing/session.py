"""One tracing run: load, attach, follow the targets, stop, and hand over what was seen.

with Session(settings) as session:
    session.attach()
    session.trace_process(pid)
    session.write_to(Writer(path))
    while session.step(0.2): ...
    session.finish()
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple, Type, Union

import asm
from iotrace import __version__
from iotrace.errors import Failure, UserError
from iotrace.globs import Selection
from iotrace.kernel import cache, plan, way_in
from iotrace.profile.model import Header
from iotrace.profile.parts import Part
from iotrace.tracing import aio, eviction, inflight, losses, processes
from iotrace.tracing.attach import Attachment
from iotrace.tracing.collector import Clock, Collector
from iotrace.tracing.coverage import coverage
from iotrace.tracing.names import Names
from programs.facts import maps, records
from programs.facts.kernel import Options
from programs.facts.records import TARGET_COMM, TARGET_DESCENT, TARGET_FOLLOW, TARGET_PID
from programs.facts.signatures import SWITCH
from programs.way import patterns
from pybpf.events.perf import PerfBuffer
from pybpf.events.ring import RingBuffer
from pybpf.grace import GracePeriods
from pybpf.maps import Array, Map, PerCpuArray, PerfEventArray, RingBuf, create, create_all, footprint
from pybpf.programs import VerifierError
from pybpf.syscalls import BpfError
from pybpf.types.tracefs import Tracefs, TracefsError

if TYPE_CHECKING:
    from iotrace.kernel import facts
    from iotrace.profile.writer import Writer

DEFAULT_FILES, DEFAULT_FILES_AT_ONCE = 131072, 16384
PERF_PAGES = 128
GENERATIONS = 1 << 20


@dataclass
class Settings:
    """What the user asked for."""

    pids: List[int] = field(default_factory=list)
    comms: List[bytes] = field(default_factory=list)
    everything: bool = False
    follow: bool = True
    attach: str = "auto"
    include_pseudo: bool = False
    max_files: int = 0  # 0: as many as suit the kernel
    paths: List[bytes] = field(default_factory=list)
    excludes: List[bytes] = field(default_factory=list)
    offsets: str = "auto"
    vmlinux: Optional[str] = None

    def as_filters(self) -> Dict[str, object]:
        """For the profile: option -> value, what was not given left out."""
        shown: Dict[str, object] = {
            "pid": self.pids,
            "comm": [os.fsdecode(name) for name in self.comms],
            "all": self.everything,
            "include_pseudo": self.include_pseudo,
            "path": [os.fsdecode(glob) for glob in self.paths],
            "exclude": [os.fsdecode(glob) for glob in self.excludes],
        }
        return {**{name: value for name, value in shown.items() if value}, "follow": self.follow}


class Session:
    """The programs of one run, loaded; everything is released by ``close``, and by the kernel if this process dies."""

    def __init__(self, settings: Settings, found: Optional[facts.Facts] = None) -> None:
        """Load everything, for this kernel as `found` describes it, or as it turns out to be.

        Raises Failure or UserError; nothing is attached yet.
        """
        self.settings = settings
        self._stack = ExitStack()
        self._skipped = 0
        self._all_stacks = False
        self.ended_ns = 0
        try:
            self._load(found)
        except BpfError as error:
            self.close()
            raise Failure(str(error)) from error
        except BaseException:
            self.close()
            raise

    # -- loading ----------------------------------------------------------------------------------------------------

    def _load(self, found: Optional[facts.Facts]) -> None:
        # Where this is refused so is all else, and no feature can be told: the reason is what the user has to hear.
        create(asm.MapSpec("trial", asm.MapType.ARRAY, asm.U32, asm.U32, 1), name=False, btf=False).close()
        settings = self.settings
        options = Options(
            attach=settings.attach,
            everything=settings.everything,
            comm=bool(settings.comms),
            follow=settings.follow,
            include_pseudo=settings.include_pseudo,
        )
        identity = self._identity(options) if found is None else None
        if identity is not None and self._load_kept(identity):
            return
        from iotrace.kernel import planning  # noqa: PLC0415 - not needed where a plan is kept

        options = planning.choose(options)
        made = planning.make(options, self._open_tracefs(options), settings.offsets, settings.vmlinux, found)
        try:
            self._load_plan(made)
        except VerifierError:
            if made.kernel.loops or not made.kernel.back_jumps:
                raise
            self._stack.close()
            self._open_tracefs(options)
            made = planning.without_back_jumps(made)
            self._load_plan(made)
        if identity is not None:
            cache.store(identity, made.packed())

    def _identity(self, options: Options) -> Optional[Tuple[str, ...]]:
        """What a plan is kept under; None if what it is made from cannot be told to be the same another time."""
        settings = self.settings
        if settings.vmlinux is not None or settings.offsets not in plan.SOURCES:
            return None
        return plan.identity(options, settings.offsets)

    def _load_kept(self, identity: Tuple[str, ...]) -> bool:
        """Load what an earlier run has left, if there is something and the kernel takes it."""
        raw = cache.load(identity)
        if raw is None:
            return False
        try:
            kept = plan.unpacked(raw)
            self._open_tracefs(kept.options)
            self._load_plan(kept)
        except (ValueError, BpfError):
            self._stack.close()
            return False
        return True

    def _open_tracefs(self, options: Options) -> Optional[Tracefs]:
        self._tracefs = self._stack.enter_context(open_tracefs()) if options.attach == "perf" else None
        return self._tracefs

    def _load_plan(self, made: plan.Plan) -> None:
        self.plan = made
        self.kernel = made.kernel
        self.attach_method = made.options.attach
        self.default_files = DEFAULT_FILES_AT_ONCE if made.preallocate else DEFAULT_FILES
        self.max_files = self.settings.max_files or self.default_files
        specs = maps.declare(self.kernel, self.max_files, preallocate=made.preallocate)
        used = made.form.map_names | (made.rings.map_names if made.rings is not None else frozenset())
        self.maps: Dict[str, Map[Any]] = create_all({name: spec for name, spec in specs.all().items() if name in used})
        for made_map in self.maps.values():
            self._stack.enter_context(made_map)
        self._fill_comm_table()
        self.attachment = Attachment(made.form, self.kernel.machine, self.maps, self._tracefs)
        self._stack.callback(self.attachment.close)
        self.rings = self._load_rings(made.rings, specs.jumps) if made.rings is not None else None
        self.programs = self.attachment.programs + (self.rings.programs if self.rings is not None else [])
        self.entered = self.attachment.entered + (self.rings.entered if self.rings is not None else [])
        self.names = Names()
        events = self.maps["events"]
        self.events: Union[RingBuffer, PerfBuffer] = (
            RingBuffer(RingBuf.of(events))
            if self.kernel.ring_buffer
            else PerfBuffer(PerfEventArray.of(events), PERF_PAGES)
        )
        self._stack.callback(self.events.close)
        self._before = (time.monotonic(), 0, 0)
        self.collector = Collector(self.maps, self.names, Clock(), self.kernel.big_values)
        self._selected = Selection(tuple(self.settings.paths), tuple(self.settings.excludes)).matcher()
        self.eviction: Optional[eviction.Eviction] = None

    def _load_rings(self, form: plan.Form, jumps: asm.MapSpec) -> Optional[Attachment]:
        """The programs for io_uring, loaded if the kernel takes them, as what they read changes often.

        They have a tail-call table of their own: all that such a table holds are of one kind.
        """
        table = self._stack.enter_context(create(jumps))
        try:
            loaded = Attachment(form, self.kernel.machine, {**self.maps, "jumps": table}, None)
        except VerifierError:
            self.kernel = replace(self.kernel, uring=None)
            return None
        self._stack.callback(loaded.close)
        return loaded

    def _fill_comm_table(self) -> None:
        if not self.settings.comms:
            return
        try:
            table = patterns.comm_table(self.settings.comms)
        except patterns.PatternError as error:
            raise UserError(f"--comm: {error}") from None
        for number, words in enumerate(table):
            self.maps["comm"].update(number.to_bytes(4, "little"), records.CommWords.pack(words=words))

    def memory_bound(self, max_files: int = 0) -> int:
        """Bytes of kernel memory that the maps of a run with `max_files` (default: this run's) take at most."""
        specs = maps.declare(self.kernel, max_files or self.max_files, preallocate=self.plan.preallocate)
        return sum(footprint(spec) for spec in specs.all().values() if spec.name in self.maps)

    # -- tracing ----------------------------------------------------------------------------------------------------

    def write_to(self, writer: Writer) -> None:
        """Say where the profile goes: from now on idle files move there when the tables fill up.

        The session gives the writer up when it ends without ``finish``.
        """
        self.writer = self._stack.enter_context(writer)
        grace = self._stack.enter_context(GracePeriods(preemptible=self.kernel.spares > 0))
        if grace.possible:
            self.eviction = eviction.Eviction(
                self.maps, self.collector, self.names, self.max_files, keep=self._keep, wait=grace.wait
            )

    def attach(self) -> None:
        """Start tracing.  Raises Failure."""
        self.started_ns = time.time_ns()
        if self.settings.everything:
            self._set_target(os.getpid(), TARGET_PID)
        try:
            self.attachment.attach()
            if self.rings is not None:
                self.rings.attach()
            for pid in processes.names() if self.settings.everything else ():
                self._note_reapers(pid)
            self._switch(on=True)
        except BpfError as error:
            raise Failure(str(error)) from error

    def _switch(self, *, on: bool) -> None:
        """Have the programs take or refuse new calls: all system calls at once, which attaching or detaching dozens of
        tracepoints would not be.  Closing a perf tracepoint takes the kernel a tenth of a second."""
        for number, descriptor in self.plan.form.syscalls.items():
            row = descriptor | on << SWITCH
            self.maps["syscalls"].update(number.to_bytes(4, "little"), row.to_bytes(8, "little"))

    def _set_target(self, pid: int, flags: int) -> None:
        try:
            self.maps["targets"].update(pid.to_bytes(4, "little"), records.Target.pack(flags=flags))
        except BpfError as error:
            if error.errno == errno.E2BIG:
                raise Failure(f"more than {maps.TARGETS} processes to trace at once") from error
            raise

    def _new_generation(self) -> None:
        """Have every thread look again whether it is a target's: to be called after the targets were changed.

        Programs count on at the same time, one by one: a step that is larger than all they can count between the two
        calls leaves a number that was never there before.
        """
        counter = Array.of(self.maps["generation"])
        generation = int.from_bytes(counter.at(0), "little")
        counter.set(0, (generation + GENERATIONS).to_bytes(8, "little"))

    def _note_reapers(self, pid: int) -> None:
        """Note the waits for completions that a process is in, before its calls are traced."""
        where = self.maps["slots" if self.kernel.tid_direct else "calls"]
        for tid, record in aio.reapers(pid, self.kernel, self.plan.form.syscalls):
            where.update(tid.to_bytes(4, "little"), record)
            self._mark_stacks()

    def _mark_stacks(self) -> None:
        """Have no exit turned away by its stack: nobody tells here on which ones the calls are that were noted here."""
        stacks = self.maps.get("stacks")
        if stacks is not None and not self._all_stacks:
            for row in range(maps.STACKS):
                stacks.update(row.to_bytes(4, "little"), (1).to_bytes(8, "little"))
            self._all_stacks = True

    def _add_target(self, pid: int, flags: int) -> None:
        """Make a process that may run already a target. What its threads note is their own once it is one."""
        if self.maps["targets"].lookup(pid.to_bytes(4, "little")) is None:
            self._note_reapers(pid)
        self._set_target(pid, flags)

    def trace_process(self, pid: int, *, follow: bool) -> None:
        """Make a process a target, with its descendants from now on if ``follow``."""
        self._add_target(pid, TARGET_PID | (TARGET_FOLLOW if follow else 0))
        self._new_generation()

    def trace_running(self) -> int:
        """Make those targets that run already and match; how many.  Call it after ``attach``, so that none slips by."""
        settings, found = self.settings, 0
        follow = TARGET_FOLLOW if settings.follow else 0
        roots = list(settings.pids)
        for pid in processes.names() if settings.comms else ():
            name = processes.comm(pid)
            if name is not None and pid != os.getpid() and patterns.matches(settings.comms, name):
                self._add_target(pid, TARGET_COMM | follow)
                roots.append(pid)
                found += 1
        if follow and roots:
            for pid in processes.descendants(roots):
                self._add_target(pid, TARGET_DESCENT | TARGET_FOLLOW)
        self._new_generation()
        return found

    def step(self, timeout: float) -> bool:
        """Take the names that have arrived, waiting ``timeout`` seconds for some at most; whether to come back soon."""
        self.events.poll(timeout)
        self._take_names()
        return self.eviction is not None and self.eviction.step()

    def _take_names(self) -> None:
        self.names.begin()
        self.events.read(self.names.take)
        if self.names.changes:
            self.writer.change(self.names.changes)
            self.names.changes = []

    def activity(self) -> Tuple[int, int]:
        """Data calls and bytes so far."""
        shares = [records.Activity.struct.unpack(raw) for raw in PerCpuArray.of(self.maps["activity"]).at(0)]
        return sum(share[0] for share in shares), sum(share[1] for share in shares)

    def rates(self, now: float) -> Tuple[float, float, int]:
        """Data calls and bytes a second since the last time, and what was lost so far; `now` is time.monotonic()."""
        calls, moved = self.activity()
        then, calls_then, moved_then = self._before
        self._before = (now, calls, moved)
        span = max(now - then, 1e-3)
        return (calls - calls_then) / span, (moved - moved_then) / span, losses.so_far(losses.read(self.maps))

    def stop(self) -> None:
        """End tracing; what was counted can still be read.  Calls under way are still accounted for on their return."""
        if self.ended_ns:
            return
        self._switch(on=False)
        self.ended_ns = time.time_ns()
        self._skipped = losses.skipped(self.programs)

    # -- the result -------------------------------------------------------------------------------------------------

    def finish(self, command: Optional[List[str]] = None, overhead: Optional[Dict[str, object]] = None) -> int:
        """Stop, and put the profile in its place; how many files it has.  ``write_to`` has said where that is."""
        self.stop()
        left = inflight.settle(inflight.requests(self.maps), self.programs)
        self._take_names()
        for part in self.collector.finish():
            self._keep(part)
        return self.writer.finish(self._header(command, left, overhead or {}))

    def _keep(self, part: Part) -> None:
        if self._selected(part.path):
            self.writer.add(part)

    def _header(self, command: Optional[List[str]], left: inflight.Left, overhead: Dict[str, object]) -> Header:
        account = losses.read(self.maps)
        system = os.uname()
        return Header(
            version=__version__,
            host=system.nodename,
            kernel=system.release,
            machine=system.machine,
            command=[os.fsencode(word) for word in command or []],
            started_ns=self.started_ns,
            ended_ns=self.ended_ns,
            filters=self.settings.as_filters(),
            attach=way_in.NAMES[self.attach_method],
            coverage=coverage(
                self.attach_method,
                self.kernel.uring,
                self.attachment.missing,
                left._replace(uring=left.uring + account["requests"]),
                account["rings"],
            ),
            lost=losses.losses(
                account, skipped=self._skipped, unnamed=self.collector.unnamed, truncated=self.names.truncated
            ),
            unattributed={name: dict(errors) for name, errors in sorted(self.collector.unattributed.items())},
            overhead=overhead,
        )

    def close(self) -> None:
        """Release everything; twice does nothing."""
        self._stack.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


def open_tracefs() -> Tracefs:
    """The tracefs, mounted privately if need be.  Raises Failure."""
    try:
        return Tracefs.open()
    except TracefsError as error:
        raise Failure(str(error)) from error
