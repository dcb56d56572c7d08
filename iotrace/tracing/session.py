"""One tracing run: load, attach, follow the targets, stop, and hand over what was seen.

with Session(settings) as session:
    session.attach()
    session.trace_process(pid, follow=True)
    session.write_to(Writer(path))
    while session.step(0.2): ...
    session.finish()
"""

from __future__ import annotations

import copy
import os
import time
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Tuple, Type

from iotrace.errors import Failure
from iotrace.globs import glob_matcher
from iotrace.kernel import way_in
from iotrace.profile.metrics import Header
from iotrace.profile.parts import Part
from iotrace.profile.runs import Run, host_name, new_id
from iotrace.release import __version__
from iotrace.tracing import eviction, halves, inflight, losses
from iotrace.tracing.clock import Clock
from iotrace.tracing.collector import Collector, Rest
from iotrace.tracing.coverage import coverage, latency, whose
from iotrace.tracing.fates import Fates
from iotrace.tracing.gathering import Gathering
from iotrace.tracing.loader import Loading, load
from iotrace.tracing.names import Names
from iotrace.tracing.refused import Refused
from iotrace.tracing.series import Series
from iotrace.tracing.settings import Settings
from iotrace.tracing.targets import Targets
from iotrace.tracing.who import Whose
from iotrace.tracing.windows import Windows
from programs.facts.maps import ASKED_ROWS
from programs.facts.records import ONE_IN, Activity
from pybpf.grace import GracePeriods
from pybpf.maps import PerCpuArray
from pybpf.syscalls import BpfError

if TYPE_CHECKING:
    from iotrace.kernel import facts
    from iotrace.profile.metrics import FileStats
    from iotrace.profile.target import Target
    from iotrace.profile.writer import Writer
    from iotrace.tracing.glances import Glance, Glances
    from iotrace.tracing.snapshots import Snapshot, Snapshots
    from iotrace.tracing.whereabouts import Whereabouts

__all__ = ["Session", "Settings"]

_PATIENCE, _PATIENCE_WHILE_TRACING = 10.0, 1.0  # seconds that file systems are waited for, at the end and before
_TOGETHER = 0.004  # seconds; the buffer of events has room for those of a tenth of a second at least


class Session:
    """The programs of one run, loaded; everything is released by `close`, and by the kernel if this process dies."""

    def __init__(
        self, settings: Settings, found: Optional[facts.Facts] = None, loading: Optional[Loading] = None
    ) -> None:
        """Load everything, for this kernel as `found` describes it, or as it turns out to be; or take what `loading`
        loads for the same settings.

        Raises Failure or UserError; nothing is attached yet.
        """
        self.settings = settings
        self._stack = ExitStack()
        self._skipped = 0
        self.started_ns = self.ended_ns = 0
        try:
            self.loaded = self._stack.enter_context(load(settings, found) if loading is None else loading.result())
            self._selected = settings.selection().matcher()
            self._unmatched = {glob: glob_matcher(glob) for glob in settings.paths}
            self._targets = Targets(self.loaded, settings)
            self._refused = Refused(self.loaded.maps["refused"])
            self._names = Names(self._refused.found)
            self._fates = Fates(
                self._names,
                self.loaded.maps,
                self.loaded.ask,
                self._take_names,
                self._whereabouts,
                at_once=ASKED_ROWS if self.loaded.kernel.loops else 1,
            )
            self._series = None if settings.interval is None else Series(self.loaded.maps, settings.interval)
            self._whose = Whose(settings) if settings.by else None
            if self._whose is not None:
                self._stack.callback(self._whose.close)
            self._collector = Collector(
                self.loaded.maps, self._names, self.loaded.kernel.big_values, self._series, self._whose
            )
            self._clock = Clock(sampled=settings.light)
            self._stuck: Dict[int, int] = {}  # see `Whereabouts`
            self._gathering = Gathering(self._clock, self._wanted, self._keep)
            self._windows = None if self.loaded.timing is None else Windows(self.loaded.timing, self.loaded.maps)
            if self._windows is not None:
                self._stack.callback(self._windows.end)
            self._snapshots: Optional[Snapshots] = None  # where somebody takes any
            self._glances: Optional[Glances] = None  # likewise
            self._eviction: Optional[eviction.Eviction] = None
            self._busy = False  # as of the last step
            self._woken = 0.0  # when events came last
        except BpfError as error:
            self.close()
            raise Failure(str(error)) from error
        except BaseException:
            self.close()
            raise

    def write_to(self, writer: Writer) -> None:
        """Say where the profile goes: from now on idle files move there when the tables fill up.

        The session gives the writer up when it ends without `finish`.
        """
        self.writer = self._stack.enter_context(writer)
        grace = self._stack.enter_context(GracePeriods(preemptible=self.loaded.kernel.spares > 0))
        if grace.possible:
            if self._series is not None:
                self._series.wait = grace.wait
            self._eviction = eviction.Eviction(
                self.loaded.maps,
                self._collector,
                self._names,
                self.loaded.max_files,
                gathering=self._gathering,
                ask=self._fates.ask,
                together=self._fates.together,
                wait=grace.wait,
                last_words=self._series.drain if self._series is not None else lambda: None,
            )

    # -- tracing ----------------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Start tracing. Raises Failure."""
        self.started_ns = time.time_ns()
        try:
            if self._series is not None:
                self._series.begin()
            self._targets.prepare()
            if self._windows is not None:
                self._windows.begin()
            self.loaded.attach()
            self._targets.begin()
            self.loaded.switch(on=True)
        except BpfError as error:
            raise Failure(str(error)) from error

    def trace_process(self, pid: int, *, follow: bool) -> None:
        """Make a process a target, with its descendants from now on if `follow`."""
        self._targets.add(pid, follow=follow)

    def trace_running(self) -> int:
        """Make targets of running processes that match; how many. Call it after `attach`, so that none is missed."""
        return self._targets.add_running()

    def step(self, timeout: float) -> bool:
        """Take the names that have arrived, waiting `timeout` seconds for some at most; whether to come back soon."""
        if self.loaded.events.poll(self.wait(timeout)) and not self._busy:
            self._gather_events()
        if self._windows is not None:
            self._windows.step()
        self._take_names()
        self._fates.learn()
        self._refused.step()
        if self._series is not None:
            self._series.step(len(self._names))
        if self._whose is not None:
            self._whose.learn()
        self._busy = self._eviction is not None and self._eviction.step()
        return self._busy

    def _gather_events(self) -> None:
        """Where events come one after the other, let some gather: being woken up takes longer than reading one."""
        since = time.monotonic() - self._woken
        if since < _TOGETHER:
            time.sleep(_TOGETHER - since)
        self._woken = time.monotonic()

    def wait(self, most: float) -> float:
        """Seconds until `step` has something to do whatever arrives, at most `most`."""
        return most if self._windows is None else self._windows.wait(most)

    def fileno(self) -> int:
        """Readable when names have arrived, for `select`."""
        return self.loaded.events.fileno()

    def _take_names(self) -> None:
        self.loaded.events.read(self._names.take)

    def snapshot(self) -> Snapshot:
        """What changed since the last snapshot, the first time everything: see `snapshots`.

        After the first one, files that are moved to the profile are kept in memory until the next. Raises BpfError.
        """
        from iotrace.tracing.snapshots import Snapshots  # noqa: PLC0415 - most runs take none

        if self._snapshots is None:
            self._snapshots = Snapshots(
                self.loaded.maps,
                self._collector,
                self._names,
                copy.copy(self._clock),
                self._selected,
                series=self._series,
            )
            self._gathering.apart = True
        self._take_names()
        return self._snapshots.take()

    def watch(self) -> Glances:
        """From now on there are glances, and files that are moved to the profile are kept in memory until the next."""
        from iotrace.tracing.glances import Glances  # noqa: PLC0415 - most runs take none

        if self._glances is None:
            find = None if self.loaded.kernel.big_values else self._collector.operation
            self._glances = Glances(
                self.loaded.maps,
                self._names,
                self._selected,
                whose=self._whose,
                operation=find,
                stand_for=ONE_IN if self.settings.light else 1,
            )
            self._gathering.apart = True
        return self._glances

    def glance(self) -> Glance:
        """What changed since the last glance, in a few numbers; the first time everything: see `glances`.

        Raises BpfError.
        """
        from iotrace.tracing.glances import Glance  # noqa: PLC0415 - most runs take none

        glances = self.watch()
        self._take_names()
        return Glance(time.monotonic_ns(), glances.take(), len(self._names), self.lost())

    def look(self, path: bytes) -> List[FileStats]:
        """What is in the tables about the files of this path, as the profile would have it now. Raises BpfError."""
        from iotrace.profile.rows import file_of  # noqa: PLC0415 - most runs do not look

        wanted = [number for number, name in self._names.first.items() if name.path == path]
        rest = self._collector.rest() if wanted else None
        found = [records for number in wanted if rest is not None for records in self._collector.records(number, rest)]
        clock = copy.copy(self._clock)
        return [file_of(records.part(clock)) for records in found]

    def save(self, target: Target, command: Optional[List[str]] = None) -> int:
        """Write a profile of all that has been counted so far, beside the one at the end; how many files it has.

        Raises BpfError, Failure, UserError.
        """
        self._take_names()
        self._fates.ask(list(self._names.first))
        self._gathering.flush()
        rest, clock = self._collector.rest(), copy.copy(self._clock)
        found = (
            records
            for number, name in list(self._names.first.items())
            if self._selected(name.path, self._names.renamed.get(number))
            for records in self._collector.records(number, rest)
        )
        header = self._header(command, inflight.NOTHING_LEFT, {})
        return self.writer.copy(target, (records.part(clock) for records in found), header)

    def activity(self) -> Tuple[int, int, int]:
        """Data calls, their bytes, and opens, closes and syncs, all so far."""
        calls, moved, others = zip(*map(Activity.struct.unpack, PerCpuArray.of(self.loaded.maps["activity"]).at(0)))
        return sum(calls), sum(moved), sum(others)

    def descendants(self) -> List[int]:
        """The processes that are traced because of who started them, and go on; none where everything is traced."""
        return self._targets.descendants()

    def processes(self) -> int:
        """How many processes are traced now."""
        return self._targets.count()

    def unmatched(self) -> Dict[str, List[bytes]]:
        """The globs of `--comm` that no process has matched and, after `finish`, those of `--path` that no file has."""
        return {"--comm": self._targets.unmatched(), "--path": list(self._unmatched)}

    def has_descendants(self) -> bool:
        """Whether there are any of them."""
        return self._targets.has_descendants()

    def lost(self) -> int:
        """How much was lost so far, in one number."""
        return losses.so_far(losses.read(self.loaded.maps))

    def files(self) -> int:
        """How many files are in the tables."""
        return len(self._names)

    def stop(self) -> None:
        """End tracing; what was counted can still be read. Calls under way are still accounted for on their return."""
        if self.ended_ns:
            return
        if self._windows is not None:
            self._windows.end()
        self.loaded.switch(on=False)
        self.ended_ns = time.time_ns()
        self._skipped = losses.skipped(self.loaded.programs)

    # -- the result -------------------------------------------------------------------------------------------------

    def finish(self, command: Optional[List[str]] = None, overhead: Optional[Dict[str, object]] = None) -> int:
        """Stop, and put the profile in its place, which `write_to` was given; returns how many files it has."""
        self.stop()
        if self._eviction is not None:
            self._eviction.stop()
        left = inflight.settle(inflight.requests(self.loaded.maps), self.loaded.programs)
        self._take_names()
        self._fates.ask(list(self._names.first))
        self._refused.read()  # before the collector reads how many there were
        if self._series is not None:
            self._series.finish()  # the same
        self._gather()
        return self.writer.finish(self._header(command, left, overhead or {}))

    def _gather(self) -> None:
        """Put all files that are left into the profile."""
        files, rest = self._collector.ended()
        with ExitStack() as stack:
            helper, half = None, len(files) // 2
            # What is known of intervals, and of who did the I/O, changes with each file that is taken.
            if self._series is None and self._whose is None and halves.are_useful(len(files)):
                with suppress(OSError):
                    helper = stack.enter_context(halves.Helper(lambda: self._gather_apart(files[half:], rest)))
            self._take(files if helper is None else files[:half], rest)
            if helper is not None and not self._adopt(helper):
                self._take(files[half:], rest)
        self._gathering.flush()

    def _take(self, files: List[int], rest: Rest) -> None:
        for records in self._collector.take(files, rest):
            self._gathering.take(records)

    def _gather_apart(self, files: List[int], rest: Rest) -> Tuple[object, ...]:
        """In a process of its own: what `_adopt` takes."""
        self._gathering.drop()
        self.writer = self.writer.apart()
        self._clock.timed = self._clock.untimed = 0
        self._take(files, rest)
        self._gathering.flush()
        told = self._clock.timed, self._clock.untimed, self._collector.buffered, list(self._unmatched)
        return (*self.writer.handed(), *told)

    def _adopt(self, helper: halves.Helper) -> bool:
        """Take over what another process has made; whether it has made it."""
        found = helper.result()
        if found is None:
            return False
        added, places, timed, untimed, buffered, unmatched = found
        try:
            self.writer.adopt(helper.pid, added, places)
        except OSError:
            return False
        self._clock.timed += timed
        self._clock.untimed += untimed
        self._collector.buffered |= buffered
        self._unmatched = {glob: matches for glob, matches in self._unmatched.items() if glob in unmatched}
        return True

    def _whereabouts(self) -> Whereabouts:
        from iotrace.tracing.whereabouts import Whereabouts  # noqa: PLC0415 - most files need not be asked for by path

        seconds = _PATIENCE if self.ended_ns else _PATIENCE_WHILE_TRACING
        return Whereabouts(seconds=seconds, exempt=self._targets.exempt, stuck=self._stuck)

    def _wanted(self, names: Sequence[bytes]) -> bool:
        """Whether a file is wanted in the profile, by the paths that it has had or has."""
        if self._unmatched:
            for glob in [glob for glob, matches in self._unmatched.items() if any(map(matches, names))]:
                del self._unmatched[glob]
        return self._selected(*names)

    def _keep(self, part: Part) -> None:
        """Put a file into the profile."""
        self.writer.add(part)
        for watching in (self._snapshots, self._glances):
            if watching is not None and not self.ended_ns:
                watching.leaves(part)

    def _header(self, command: Optional[List[str]], left: inflight.Left, overhead: Dict[str, object]) -> Header:
        loaded, account = self.loaded, losses.read(self.loaded.maps)
        ended = self.ended_ns or time.time_ns()
        system = os.uname()
        method = loaded.plan.options.attach
        return Header(
            version=__version__,
            host=system.nodename,
            kernel=system.release,
            machine=system.machine,
            command=[os.fsencode(word) for word in command or []],
            started_ns=self.started_ns,
            ended_ns=ended,
            filters=self.settings.as_filters(),
            attach=way_in.NAMES[method],
            coverage=coverage(
                method,
                loaded.kernel.uring,
                loaded.missing,
                left._replace(uring=left.uring + account["requests"]),
                rings=account["rings"],
                account=account,
                straight=loaded.kernel.straight,
                folios=loaded.kernel.shows_folios,
                buffered=self._collector.buffered,
                over_time=None if self._series is None else self._series.account(),
                whose=whose(self.settings.by, loaded.kernel),
                timed=self._timed(),
            ),
            lost=losses.losses(
                account, skipped=self._skipped, unnamed=self._collector.unnamed, truncated=self._names.truncated
            ),
            unattributed={name: dict(errors) for name, errors in sorted(self._collector.unattributed.items())},
            failed_opens=self._refused.most(self._collector.unattributed.get("open", {})),
            overhead=overhead,
            runs=[Run(new_id(), host_name(system.nodename), self.started_ns, ended)],
            interval_ns=None if self._series is None else self._series.interval_ns,
        )

    def _timed(self) -> Optional[str]:
        """What is to be said of the latencies of data calls, where these have no program at their entry."""
        if self._windows is None:
            return None
        problem = self._windows.problem
        return latency(self._clock.timed, self._clock.untimed, None if problem is None else str(problem))

    def close(self) -> None:
        """Release everything; twice does nothing."""
        self._stack.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()
