"""Getting the programs of a run into the kernel: from the plan that an earlier run has kept, or from one made now.

A kernel may refuse what was kept, or what was made with abilities that it has by all probes: then the next simpler way
is taken. What is loaded is attached to nothing yet.
"""

from __future__ import annotations

import os
import resource
import threading
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, AbstractSet, Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

import asm
from iotrace.errors import Failure, UserError
from iotrace.kernel import cache, plan, way_in
from iotrace.tracing.attach import Attachment
from iotrace.tracing.settings import Settings
from programs.facts import maps, records
from programs.facts.kernel import Options
from programs.facts.signatures import SWITCH
from programs.way import patterns
from pybpf.descriptor import Descriptor
from pybpf.events.perf import PerfBuffer
from pybpf.events.ring import RingBuffer
from pybpf.maps import CgroupArray, Map, PerfEventArray, RingBuf, create, create_all, footprint
from pybpf.privileges import lacking, make_room
from pybpf.programs import Program, VerifierError
from pybpf.syscalls import BpfError, rename_thread
from pybpf.types.tracefs import Tracefs

if TYPE_CHECKING:
    from iotrace.kernel import facts
    from iotrace.kernel.apart import Assemblers

DEFAULT_FILES, DEFAULT_FILES_AT_ONCE = 131072, 16384
"""`--max-files` unless it is given; the second where tables take all their memory at once."""
PERF_PAGES = 128  # of a CPU's buffer for events
LEAST = "raw"  # the way in that opens the fewest files
_OPENED = {
    "raw": 120,
    "light": 180,
    "perf": 216,
    "fentry": 460,
}  # files at most, besides one for each CPU, by the way in


def default_files(*, preallocate: bool) -> int:
    """How many files there is room for unless the user says it."""
    return DEFAULT_FILES_AT_ONCE if preallocate else DEFAULT_FILES


class OnDemand:
    """A program that is loaded when it is first needed, and run for this process alone when this wants it.

    It has a table of tail calls of its own. `run` raises BpfError.
    """

    def __init__(self, form: plan.Form, loaded: Loaded) -> None:
        self._form = form
        self._loaded = loaded
        self._stack = ExitStack()
        self._attachment: Optional[Attachment] = None
        self._run: Optional[Callable[[], None]] = None  # None: it runs at its event alone

    def run(self) -> bool:
        """Run it here and now; False where this kernel runs it at its event alone, to which it is attached then."""
        if self._attachment is None:
            self._attachment = self._load()
            self._run = self._attachment.entered[0].runner()
        if self._run is None:
            return False
        try:
            self._run()
        except BpfError:
            self._run = None
            self._attachment.attach()
        return self._run is not None

    def _load(self) -> Attachment:
        loaded = self._loaded
        table = self._stack.enter_context(create(loaded.maps["jumps"].spec))
        tracefs = self._stack.enter_context(way_in.tracefs_for(loaded.plan.options.attach))
        made = Attachment(self._form, loaded.kernel.machine, {**loaded.maps, "jumps": table}, tracefs)
        self._stack.callback(made.close)
        return made

    def close(self) -> None:
        """Detach and unload it; twice does nothing."""
        self._stack.close()


class Loaded:
    """The maps and programs of one plan, in the kernel; `close` releases them.

    `kernel` are the facts that the programs were made for, without what the kernel turned out to refuse. `missing`
    are system calls that cannot be traced.
    """

    def __init__(self, made: plan.Plan, settings: Settings) -> None:
        """Load everything. Raises BpfError, Failure, UserError."""
        self.plan = made
        self.kernel = made.kernel
        self.default_files = default_files(preallocate=made.preallocate)
        self.max_files = settings.max_files or self.default_files
        if made.options.attach != LEAST or made.options.light:  # more than what `check` has asked for
            _make_room("light" if made.options.light else made.options.attach)
        self._stack = ExitStack()
        try:
            self._load(made, settings)
        except BaseException:
            self.close()
            raise

    def _load(self, made: plan.Plan, settings: Settings) -> None:
        specs = maps.declare(self.kernel, self.max_files, preallocate=made.preallocate, options=made.options)
        self.maps: Dict[str, Map[Any]] = {}
        self._create(specs, made.form.map_names)
        self._fill_names(settings.comms if made.options.comm else [])
        if "cgroups" in self.maps:
            self._fill_cgroups(settings.cgroups)
        tracefs = self._stack.enter_context(
            way_in.tracefs_for(made.options.light or made.options.attach, light=bool(made.options.light))
        )
        calls = Attachment(made.form, self.kernel.machine, self.maps, tracefs)
        self._stack.callback(calls.close)
        self._attachments = [calls]
        self.missing = calls.missing
        self._load_others(made.others(), specs, tracefs)
        self.programs: List[Program] = [program for one in self._attachments for program in one.programs]
        self.entered: List[Program] = [program for one in self._attachments for program in one.entered]
        self.events: Union[RingBuffer, PerfBuffer] = (
            RingBuffer(RingBuf.of(self.maps["events"]))
            if self.kernel.ring_buffer
            else PerfBuffer(PerfEventArray.of(self.maps["events"]), PERF_PAGES)
        )
        self._stack.callback(self.events.close)

    def _create(self, specs: maps.Maps, names: AbstractSet[str]) -> None:
        """Create the maps with these names that are not there yet."""
        wanted = {name: spec for name, spec in specs.all().items() if name in names and name not in self.maps}
        created: Dict[str, Map[Any]] = create_all(wanted)
        for one in created.values():
            self._stack.enter_context(one)
        self.maps.update(created)

    def _load_others(self, others: plan.Others, specs: maps.Maps, tracefs: Optional[Tracefs]) -> None:
        self._create(specs, others.map_names)
        self._fates = OnDemand(others.fates, self)
        self.numbers = None if others.numbers is None else OnDemand(others.numbers, self)
        """Tells numbers of processes; None in the initial PID namespace."""
        for one in filter(None, (self._fates, self.numbers)):
            self._stack.callback(one.close)
        if others.entries is not None:
            self._attachments.append(self._load_apart(others.entries, specs.jumps, tracefs))
        rings = self._load_rings(others.rings, specs.jumps) if others.rings is not None else None
        if rings is not None:
            self._attachments.append(rings)
        self.timing = None if others.timing is None else self._load_apart(others.timing, specs.jumps, None)
        """Times data calls now and then, where they have no entry."""

    def _load_rings(self, form: plan.Form, jumps: asm.MapSpec) -> Optional[Attachment]:
        """The programs for io_uring, loaded if the kernel takes them, as what they read changes often."""
        try:
            return self._load_apart(form, jumps, None)
        except VerifierError:
            self.kernel = replace(self.kernel, uring=None)
            return None

    def _load_apart(self, form: plan.Form, jumps: asm.MapSpec, tracefs: Optional[Tracefs]) -> Attachment:
        """Programs with a tail-call table of their own, since all programs in such a table must be of one type."""
        table = self._stack.enter_context(create(jumps))
        loaded = Attachment(form, self.kernel.machine, {**self.maps, "jumps": table}, tracefs)
        self._stack.callback(loaded.close)
        return loaded

    def _fill_names(self, comms: List[bytes]) -> None:
        """The table by which the programs know names of processes."""
        if not comms:
            return
        try:
            table = patterns.comm_table(comms)
        except patterns.PatternError as error:
            raise UserError(f"--comm: {error}") from None
        for number, words in enumerate(table):
            self.maps["comm"].update(number.to_bytes(4, "little"), records.CommWords.pack(words=words))

    def _fill_cgroups(self, directories: List[str]) -> None:
        """The table of the cgroups that are traced, in the hierarchy of version 2."""
        for number, directory in enumerate(directories):
            try:
                with Descriptor(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as opened:
                    CgroupArray.of(self.maps["cgroups"]).set(number, opened)
            except BpfError as error:
                raise Failure(f"--cgroup {directory}: {error}") from error
            except OSError as error:
                raise UserError(f"--cgroup {directory}: {error.strerror}") from error

    def memory_bound(self, max_files: int = 0) -> int:
        """Bytes of kernel memory that the maps of a run with `max_files` (default: this run's) take at most."""
        specs = maps.declare(
            self.kernel,
            max_files or self.max_files,
            preallocate=self.plan.preallocate,
            options=self.plan.options,
        )
        return sum(footprint(spec) for spec in specs.all().values() if spec.name in self.maps)

    def attach(self) -> None:
        """Attach everything; the programs refuse calls until they are switched on. Raises BpfError and Failure."""
        for attachment in self._attachments:
            attachment.attach()

    def switch(self, *, on: bool) -> None:
        """Have the programs take or refuse new calls: all system calls at once, which attaching or detaching dozens of
        tracepoints would not be. Closing a perf tracepoint takes the kernel a tenth of a second."""
        for number, descriptor in self.plan.form.syscalls.items():
            row = descriptor | on << SWITCH
            self.maps["syscalls"].update(number.to_bytes(4, "little"), row.to_bytes(8, "little"))

    def ask(self) -> None:
        """Run the program that tells what has become of files, which is loaded when it is first needed.

        Raises BpfError.
        """
        if not self._fates.run():
            rename_thread(b"iotrace")

    def hooks(self) -> int:
        """How many programs are attached to something."""
        return sum(len(attachment.form.hooks) for attachment in self._attachments)

    def close(self) -> None:
        """Detach and unload everything; twice does nothing."""
        self._stack.close()

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _make_room(method: str) -> None:
    """See that a run by this way in can open its files. Raises Failure.

    Halfway through, what cannot be opened would look like what the kernel does not have.
    """
    files = _OPENED[method] + (os.cpu_count() or 1)
    if not make_room(files):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        raise Failure(
            f"a run opens up to {files} files, and only {limit} may be open: raise the limit (ulimit -n 1024)"
        )


def check() -> None:
    """See that this process may load anything, and open what that takes. Raises Failure."""
    refused = lacking()
    if refused:
        raise Failure(refused)
    _make_room(LEAST)


class Kept(NamedTuple):
    """What an earlier run has kept for the same options, as bytes, and the key under which that is."""

    identity: Optional[Tuple[str, ...]]
    raw: Optional[bytes] = None


def _kept(settings: Settings) -> Kept:
    identity = _identity(settings.options(), settings)
    return Kept(identity, None if identity is None else cache.load(identity))


def load(settings: Settings, found: Optional[facts.Facts] = None) -> Loaded:
    """The programs for `settings`, for this kernel as `found` describes it, or as it turns out to be.

    Raises BpfError, Failure, UserError.
    """
    check()
    loaded, store = _load(settings, found, Kept(None) if found is not None else _kept(settings), None)
    store()
    return loaded


def _load(
    settings: Settings, found: Optional[facts.Facts], kept: Kept, assemblers: Optional[Assemblers]
) -> Tuple[Loaded, Callable[[], None]]:
    """What was loaded, and what keeps a plan of it if it is a new one."""
    # Where this is refused, everything else is too, and probes tell nothing: give the user the reason.
    create(asm.MapSpec("trial", asm.MapType.ARRAY, asm.U32, asm.U32, 1), name=False, btf=False).close()
    if kept.raw is not None:
        with suppress(ValueError, BpfError):
            return Loaded(plan.unpacked(kept.raw), settings), lambda: None
    made, loaded = _load_new(settings, found, assemblers)

    def store() -> None:
        if kept.identity is not None:
            cache.store(kept.identity, made.packed())

    return loaded, store


def _identity(options: Options, settings: Settings) -> Optional[Tuple[str, ...]]:
    """The key under which a plan is kept; None if it cannot be known whether what it is made from will be the same."""
    if settings.vmlinux is not None or settings.offsets not in plan.SOURCES:
        return None
    return plan.identity(options, settings.offsets)


def _load_new(
    settings: Settings, found: Optional[facts.Facts], assemblers: Optional[Assemblers]
) -> Tuple[plan.Plan, Loaded]:
    """A plan made now, and what it has loaded."""
    from iotrace.kernel import planning  # noqa: PLC0415 - not needed where a plan is kept

    options = planning.choose(settings.options())
    with way_in.tracefs_for(options.light or options.attach, light=bool(options.light)) as tracefs:
        made = planning.make(options, tracefs, settings.offsets, settings.vmlinux, found, assemblers=assemblers)
    try:
        loaded = Loaded(made, settings)
    except VerifierError:
        if made.kernel.loops or not made.kernel.back_jumps:
            raise
        made = planning.without_back_jumps(made)
        loaded = Loaded(made, settings)
    return made, loaded


class Loading:
    """A `load` that goes on in a thread of its own, while this one does something else; a context manager.

    Most of it is the kernel's work, for which the interpreter does not wait. For the main thread of a process that has
    no other threads yet: where no plan is kept, it is forked, to have programs assembled on all CPUs.
    """

    def __init__(self, settings: Settings) -> None:
        """Begin, if there is enough of what both take: files that may be open. Raises Failure."""
        check()
        self._settings = settings
        self._kept = _kept(settings)
        self._assemblers: Optional[Assemblers] = None
        self._loaded: Optional[Loaded] = None
        self._error: Optional[BaseException] = None
        # Not `Thread.join`, which a signal's handler must not interrupt before 3.13.
        self._done, self._over = threading.Event(), threading.Event()
        if self._kept.raw is None:
            from iotrace.kernel import apart  # noqa: PLC0415 - not needed where a plan is kept

            if apart.are_useful():
                with suppress(OSError):
                    self._assemblers = apart.Assemblers()
        try:
            threading.Thread(target=self._work, name="loading").start()
        except RuntimeError:
            self._work()  # there is no room for a thread

    def _work(self) -> None:
        store: Optional[Callable[[], None]] = None
        try:
            with self._assemblers or nullcontext():
                self._loaded, store = _load(self._settings, None, self._kept, self._assemblers)
        except BaseException as error:  # raised where it can be seen
            self._error = error
        self._done.set()
        if store is not None:
            store()  # while the other thread goes on
        self._over.set()

    def result(self) -> Loaded:
        """What was loaded, which is the caller's. Raises what `load` does."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        assert self._loaded is not None
        loaded, self._loaded = self._loaded, None
        return loaded

    def __enter__(self) -> Loading:
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.wait()
        if self._loaded is not None:
            self._loaded.close()
