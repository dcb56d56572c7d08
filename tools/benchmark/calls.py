"""Nanoseconds added to a call, a request, and the life of a process, by each variant."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence
from typing import Counter as Counts

from iotrace.tracing.overhead import reading_ns
from pybpf.programs import enable_stats
from tools.benchmark.machine import Loop, Quiet
from tools.benchmark.rows import Row
from tools.benchmark.variants import Variant

TRIES = 3  # how often a measurement is repeated that was disturbed
TOGETHER = 0.9  # of the time, each of two threads must have a CPU: those that take turns do not get in each other's way
PEERS = {"clang-bare": 1.0, "clang": 0.75, "bpftrace": 1 / 6}  # what a traced call may cost of theirs
LIGHT, LIGHT_NS = (
    "iotrace-light",
    60,
)  # what a traced call may cost with --light, more than an empty program at the exit
BYSTANDER_NS = 15  # and a call that is not traced, more than empty programs
SHARED = 1.5  # times what one thread pays: two on one file
REQUEST_NS = {"aio 1": 800, "aio 32": 500, "uring 1": 450, "uring 32": 500}
PROCESS = 0.03  # of the time untraced
OURS = (
    "untraced",
    "empty-raw",
    "empty-exit",
    "empty-perf",
    "iotrace-raw",
    "iotrace-perf",
    "iotrace-light",
    "iotrace-interval",
)


class Work(NamedTuple):
    """A column: what, by how many threads, of the traced process or of another one."""

    title: str
    group: str
    what: str
    threads: int = 1
    target: bool = True
    share: float = 1.0  # of the calls of a measurement
    counted: str = ""  # the system call that a tracer should have seen so often
    variants: Optional[Sequence[str]] = None  # None: all


WORKS = (
    Work("pread64", "calls", "pread64", counted="pread64"),
    Work("pwrite64", "calls", "pwrite64", counted="pwrite64"),
    Work("pread64 x2", "calls", "pread64", threads=2, counted="pread64"),
    Work("getppid", "calls", "getppid"),
    Work("~pread64", "calls", "pread64", target=False),
    Work("~getppid", "calls", "getppid", target=False),
    Work("aio 1", "requests", "aio_1", share=0.5, counted="aio_pread", variants=OURS),
    Work("aio 32", "requests", "aio_32", counted="aio_pread", variants=OURS),
    Work("uring 1", "requests", "uring_1", share=0.5, counted="uring_read", variants=OURS),
    Work("uring 32", "requests", "uring_32", counted="uring_read", variants=OURS),
    Work("process", "processes", "process", share=1 / 300, counted="read", variants=OURS),
)
LEGEND = (
    "x2: two threads on one descriptor, each on its CPU; getppid: a call that is not traced; ~: in another process;",
    "aio N, uring N: a request of 64 bytes, N submitted at a time; process: fork, exec, read, exit",
)


@dataclass
class Matrix:
    """All measurements: `ns[variant][title]` is a list with one number for each round."""

    works: List[Work]
    calls: int  # of one measurement
    ns: Dict[str, Dict[str, List[float]]] = field(default_factory=dict)
    problems: List[str] = field(default_factory=list)  # where a tracer has miscounted
    noisy: int = 0  # measurements that were taken on a busy machine
    in_turns: int = 0  # measurements of two threads that seldom ran at once

    def added(self, variant: str, title: str) -> List[float]:
        """By round: what the variant adds."""
        return [traced - alone for traced, alone in zip(self.ns[variant][title], self.ns["untraced"][title])]

    def median(self, variant: str, title: str) -> Optional[float]:
        """What the variant adds, None where that was not measured."""
        if title not in self.ns.get(variant, {}):
            return None
        return statistics.median(self.added(variant, title))


class Measurer:
    """Fills a matrix: the traced process, another one, and how quiet the machine is."""

    def __init__(self, target: Loop, other: Loop, quiet: Quiet, matrix: Matrix) -> None:
        self.target, self.other, self.quiet, self.matrix = target, other, quiet, matrix

    def round(self, name: str, variant: Variant) -> None:
        """Measure a variant once, again if it was disturbed and there is patience left."""
        for _ in range(TRIES):
            quiet = self.quiet.wait()
            measured = self._measure(name, variant)
            if not quiet or self.quiet.now():
                break
        self.matrix.noisy += not quiet
        for title, ns in measured.items():
            self.matrix.ns.setdefault(name, {}).setdefault(title, []).append(ns)

    def _measure(self, name: str, variant: Variant) -> Dict[str, float]:
        with variant(self.target) as attached:
            before = Counter(self.target.made)
            works = [work for work in self.matrix.works if work.variants is None or name in work.variants]
            measured = {work.title: self.work(work) for work in works}
        if attached.seen is not None:
            self._check(name, attached.seen, self.target.made - before)
        return measured

    def _check(self, name: str, seen: Dict[str, int], made: Counts[str]) -> None:
        expected: Counts[str] = Counter()
        of = {work.what: work.counted for work in self.matrix.works if work.target and work.counted}
        for what, count in made.items():
            if what in of:
                expected[of[what]] += count
        self.matrix.problems += [
            f"{name} counted {seen.get(call, 0):,} of {count:,} calls of {call}"
            for call, count in expected.items()
            if seen.get(call, 0) != count
        ]

    def work(self, work: Work) -> float:
        loop = self.target if work.target else self.other
        count = int(self.matrix.calls * work.share)
        loop.ns(work.what, max(count // 20, 512 if work.share > 0.1 else 1), work.threads)  # warms up, has names sent
        for _ in range(TRIES):
            ns = loop.ns(work.what, count, work.threads)
            if work.threads == 1 or loop.share >= TOGETHER:
                return ns
        self.matrix.in_turns += 1
        return ns

    def drop_impossible(self) -> Iterator[str]:
        """Leave out what this machine cannot do; yields why."""
        for work in list(self.matrix.works):
            try:
                self.target.ns(work.what, 512, work.threads)
            except OSError as error:
                self.matrix.works.remove(work)
                yield f"{work.title}: left out: {error.strerror}"

    def stats(self, variant: Variant) -> Iterator[str]:
        """Lines that say how long each program of a variant ran, by the kernel's own account."""
        reading = reading_ns()
        with enable_stats(), variant(self.target) as attached:
            for work in self.matrix.works:
                before = [program.info() for program in attached.programs]
                self.work(work)
                for program, then in zip(attached.programs, before):
                    now = program.info()
                    runs, ran = now.run_cnt - then.run_cnt, now.run_time_ns - then.run_time_ns
                    if runs >= self.matrix.calls * work.share / 40:
                        each = ran / runs - reading
                        yield f"  {work.title:<12} {program.name:<18} {runs:>9,} runs {each:>7.0f} ns each"


# -- the table -----------------------------------------------------------------------------------------------------

NAME, CELL = 26, 14
AGAINST = {
    "iotrace-raw": ("empty-raw", "clang-bare", "clang-bare-typed", "clang", "clang-typed", "bpftrace"),
    "iotrace-perf": ("empty-perf", "clang", "clang-typed", "bpftrace"),
    LIGHT: ("empty-exit", "clang-bare", "clang-bare-typed"),
}


def spread(values: List[float]) -> float:
    """The interquartile range; that of one value is 0."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low


def _cell(values: List[float], sign: str) -> str:
    return f"{statistics.median(values):{sign}.0f} ({spread(values):.0f})".rjust(CELL)


def table(matrix: Matrix) -> Iterator[str]:
    """What each variant adds, and how iotrace compares."""
    yield "ns untraced, and ns added by each variant: median (interquartile range)"
    for works in ([w for w in matrix.works if w.group == "calls"], [w for w in matrix.works if w.group != "calls"]):
        if works:
            yield from _part(matrix, [work.title for work in works])
    yield from LEGEND


def _part(matrix: Matrix, titles: List[str]) -> Iterator[str]:
    yield " " * NAME + "".join(title.rjust(CELL) for title in titles)
    yield "untraced".ljust(NAME) + "".join(_cell(matrix.ns["untraced"][title], "") for title in titles)
    for name in matrix.ns:
        if name != "untraced" and titles[0] in matrix.ns[name]:
            yield name.ljust(NAME) + "".join(_cell(matrix.added(name, title), "+") for title in titles)
    for name, others in AGAINST.items():
        for other in others:
            ratios = [_ratio(matrix, name, other, title) for title in titles]
            if any(ratios):
                cells = (f"{ratio:.2f}" if ratio else "-" for ratio in ratios)
                yield f"{name}/{other}".ljust(NAME) + "".join(cell.rjust(CELL) for cell in cells)


def _ratio(matrix: Matrix, name: str, other: str, title: str) -> Optional[float]:
    ours, theirs = matrix.median(name, title), matrix.median(other, title)
    return ours / theirs if ours is not None and theirs is not None and theirs > 1 else None


# -- the goals -----------------------------------------------------------------------------------------------------


def rows(matrix: Matrix) -> Iterator[Row]:
    """What is to be achieved, by the way in that iotrace chooses itself if that was measured."""
    name = next((name for name in AGAINST if name in matrix.ns), None)
    if name is None:
        return
    makers: Dict[str, Callable[[Matrix, str, Work], Row]] = {"requests": _request, "processes": _process}
    for work in matrix.works:
        make = makers.get(work.group) or (_shared if work.threads > 1 else _traced if work.counted else _bystander)
        yield make(matrix, name, work)
        if make is _traced and name != LIGHT and LIGHT in matrix.ns:
            yield _light(matrix, work)


def _added(matrix: Matrix, name: str, work: Work) -> float:
    added = matrix.median(name, work.title)
    assert added is not None
    return added


def _traced(matrix: Matrix, name: str, work: Work) -> Row:
    added = _added(matrix, name, work)
    ratios = {other: _ratio(matrix, name, other, work.title) for other in AGAINST[name]}
    known = [(ratio, PEERS[other]) for other, ratio in ratios.items() if other in PEERS and ratio is not None]
    said = [f"{ratio:.2f} of {other}" if ratio is not None else f"no {other}" for other, ratio in ratios.items()]
    return Row(
        work.group,
        f"ns added to a traced {work.what}",
        f"+{added:.0f}: {', '.join(said)}",
        ", ".join(f"{most:.2f} of {other}" for other, most in PEERS.items() if other in ratios),
        all(ratio <= most for ratio, most in known) if known else None,
        {"added": added, **{other: ratio for other, ratio in ratios.items() if ratio is not None}},
    )


def _light(matrix: Matrix, work: Work) -> Row:
    what = f"ns added to a traced {work.what}, --light"
    return _above_empty(matrix, LIGHT, work, what=what, which="an empty program at the exit", most=LIGHT_NS)


def _bystander(matrix: Matrix, name: str, work: Work) -> Row:
    who = "target" if work.target else "process that is not traced"
    what = f"ns added to {work.what} of a {who}"
    return _above_empty(matrix, name, work, what=what, which="empty programs", most=BYSTANDER_NS)


def _above_empty(matrix: Matrix, name: str, work: Work, *, what: str, which: str, most: int) -> Row:
    """What a variant adds, held against the empty programs that it is compared with first, in words `which`."""
    peer = AGAINST[name][0]
    added, empty = _added(matrix, name, work), matrix.median(peer, work.title)
    if empty is None:
        return Row(work.group, what, f"+{added:.0f}, no {peer}", numbers={"added": added})
    return Row(
        work.group,
        what,
        f"+{added:.0f}, {which} +{empty:.0f}: {added - empty:+.0f}",
        f"+{most} at most",
        added - empty <= most,
        {"added": added, "empty": empty},
    )


def _shared(matrix: Matrix, name: str, work: Work) -> Row:
    """Threads that take turns, for want of a CPU, do not get in each other's way: then nothing is met."""
    added, alone = _added(matrix, name, work), matrix.median(name, work.what)
    lost = [problem for problem in matrix.problems if problem.startswith(name) and problem.endswith(work.counted)]
    said = [f"+{added:.0f}"]
    if alone is not None:
        said[0] += f", {added / alone:.2f} times one thread's"
    said.append("miscounted" if lost else "every call counted")
    if matrix.in_turns:
        said.append(f"the threads took turns in {matrix.in_turns} measurements")
    return Row(
        work.group,
        f"ns added to a {work.what}, two threads on one file",
        "; ".join(said),
        f"{SHARED} times, all counted",
        False if lost else None if alone is None or matrix.in_turns else added / alone <= SHARED,
        {"added": added, **({} if alone is None else {"alone": alone})},
    )


def _request(matrix: Matrix, name: str, work: Work) -> Row:
    added = _added(matrix, name, work)
    family, depth = work.title.split()
    return Row(
        work.group,
        f"ns added to a request of {'Linux AIO' if family == 'aio' else 'io_uring'}, depth {depth}",
        f"+{added:.0f}",
        f"{REQUEST_NS[work.title]} at most",
        added <= REQUEST_NS[work.title],
        {"added": added},
    )


def _process(matrix: Matrix, name: str, work: Work) -> Row:
    added, alone = _added(matrix, name, work), statistics.median(matrix.ns["untraced"][work.title])
    slower = added / alone
    return Row(
        work.group,
        "fork, exec, read, exit",
        f"{slower:+.1%}: {added / 1000:+.1f} us to {alone / 1000:.0f}",
        f"{PROCESS:.0%} at most",
        slower <= PROCESS,
        {"added": added, "untraced": alone},
    )


def run(measurer: Measurer, variants: Mapping[str, Variant], rounds: int, progress: Callable[[str], None]) -> None:
    """Measure all variants in turn, each round beginning with another one."""
    for number in range(rounds):
        names = list(variants)
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            progress(f"calls: round {number + 1} of {rounds}: {name}")
            measurer.round(name, variants[name])
