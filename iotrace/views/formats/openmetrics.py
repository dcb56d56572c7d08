"""OpenMetrics 1.0 (UTF-8), for Prometheus: counters, gauges, classic histograms, and a line of facts for each file.

The number of series is bounded: `top` files have series of their own, and all others are one file whose name is empty,
so that sums over files are those of the profile. System calls and errors that no kernel has are `other`. Histograms
have the same buckets everywhere, so that they can be added up over files, runs and hosts. Times are in seconds.

What is a counter, a gauge or a histogram, and how several files add up, the table of metrics says.
"""

from __future__ import annotations

import errno
import itertools
from operator import attrgetter
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from iotrace.profile import values
from iotrace.profile.metrics import FILE, HEADER, SYSCALL, FileStats, Metric, Unit, timed_ns
from iotrace.profile.values import Histogram
from iotrace.profile.whose import WHO
from iotrace.text import portable, portable_text
from iotrace.views.formats._runs import Run
from iotrace.views.formats._tables import PARTS, TABLES, TEXT, part_rows
from programs.facts.catalogue import BY_NAME

OPTIONS = ("top", "timestamps")

_NUMBERS, _HISTOGRAMS = (values.COUNT, values.MAYBE, values.FLAG), (values.HISTOGRAM, values.FINE)
_SUMS: Dict[str, Callable[[Any], int]] = {"latency_ns": timed_ns, "completed": attrgetter("bytes")}
"""Of the values that a histogram counts, where it is known."""
_LEFT_OUT = ("latency_sum_ns", "common_sizes_error")  # the sum of a histogram; about what is left out too
_FALLING = ("bytes_unsynced",)  # added up like a counter, but it can become less
_NO_SERIES = ("merged_run",)  # there may be thousands
_OTHER = "other"
_ERRORS = frozenset(errno.errorcode.values())

# The upper bounds of buckets are 2^k - 1, since all values are whole numbers: 0 for k = 0.
_POWERS = {Unit.BYTES: (0, *range(9, 31)), Unit.DURATION: tuple(range(10, 36)), Unit.NUMBER: tuple(range(11))}

Labels = Tuple[Tuple[str, str], ...]


def recognises(head: bytes, tail: bytes) -> bool:
    """Whether it is one of ours."""
    return head.startswith(b"# TYPE iotrace_")


# --- families --------------------------------------------------------------------------------------------------------


def _seconds(nanoseconds: int) -> str:
    whole, rest = divmod(nanoseconds, 10**9)
    return f"{whole}.{rest:09}"


def _whole(number: int) -> str:
    return str(int(number))  # flags too


class _Family(NamedTuple):
    """What a metric is in OpenMetrics."""

    name: str
    type: str
    help: str
    unit: str = ""

    def head(self) -> str:
        unit = f"# UNIT {self.name} {self.unit}\n" if self.unit else ""
        return f"# TYPE {self.name} {self.type}\n{unit}# HELP {self.name} {_escaped(self.help)}\n"

    def sample(self, ending: str, labels: Labels, value: str, stamp: str) -> str:
        pairs = ",".join([f'{name}="{_escaped(text)}"' for name, text in labels])
        return f"{self.name}{ending}{{{pairs}}} {value}{stamp}\n" if pairs else f"{self.name}{ending} {value}{stamp}\n"

    def number(self, labels: Labels, value: int, stamp: str) -> str:
        text = _seconds(value) if self.unit == "seconds" else _whole(value)
        return self.sample("_total" if self.type == "counter" else "", labels, text, stamp)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _family(prefix: str, metric: Metric) -> _Family:
    name, unit = metric.name, ""
    if metric.unit == Unit.BYTES:
        unit = "bytes"
        name = name[len("bytes_") :] if name.startswith("bytes_") else name
        name = name if name == unit or name.endswith("_bytes") else f"{name}_bytes"
    elif metric.unit in (Unit.DURATION, Unit.MOMENT):
        unit = "seconds"
        name = name[: -len("_ns")] if name.endswith("_ns") else name
        name += "_timestamp_seconds" if metric.unit == Unit.MOMENT else "_seconds"
    kind = "counter" if metric.merge is values.added and metric.name not in _FALLING else "gauge"
    return _Family(f"iotrace_{prefix}_{name}", "histogram" if metric.kind in _HISTOGRAMS else kind, metric.doc, unit)


class _Shape:
    """The metrics of a record that become series: their families, in the order of the table."""

    def __init__(self, prefix: str, metrics: Sequence[Metric]) -> None:
        self.numbers = [
            metric
            for metric in metrics
            if metric.kind in _NUMBERS and metric.merge is not values.same and metric.name not in _LEFT_OUT
        ]
        histograms = [metric for metric in metrics if metric.kind in _HISTOGRAMS]
        self.powers = {metric.name: _POWERS[metric.unit] for metric in histograms}
        self.sums = {metric.name: _SUMS[metric.name] for metric in histograms if metric.name in _SUMS}
        self.families = {metric.name: _family(prefix, metric) for metric in (*self.numbers, *histograms)}
        self.of_one = {metric.name for metric in self.numbers if metric.merge is values.latest}


_OF_FILE, _OF_CALL = _Shape("file", FILE), _Shape("operation", SYSCALL)
_KEYS = [metric for metric in FILE if metric.merge is values.same and metric.name != "path"]
_FACTS = [m for m in FILE if m.merge is not values.same and m.kind not in (*_NUMBERS, *_HISTOGRAMS, WHO)]
_BOUNDS = {
    unit: [repr((2.0**power - 1) / (1e9 if unit == Unit.DURATION else 1)) for power in powers]
    for unit, powers in _POWERS.items()
}
_ERROR = _Family("iotrace_operation_errors", "counter", "calls that failed, by errno")
# Facts are gauges of 1: to node_exporter and the Pushgateway, which read an older format, the type "info" is an error.
_INFO = _Family("iotrace_file_info", "gauge", "what is known about a file besides")


# --- what is counted -------------------------------------------------------------------------------------------------


class _Series:
    """The values of a record, or of several that are one here."""

    def __init__(self, shape: _Shape) -> None:
        self._shape = shape
        self.numbers: Dict[str, Optional[int]] = {}
        self.buckets: Dict[str, List[int]] = {name: [0] * (len(powers) + 1) for name, powers in shape.powers.items()}
        self.sums: Dict[str, int] = dict.fromkeys(shape.sums, 0)

    def add(self, record: object) -> None:
        known, numbers, shape = vars(record), self.numbers, self._shape
        for metric in shape.numbers:
            name = metric.name
            numbers[name] = metric.merge(numbers[name], known[name]) if name in numbers else known[name]
        for name, buckets in self.buckets.items():
            if known[name]:
                _fill(buckets, known[name], shape.powers[name])
        for name, of in shape.sums.items():
            self.sums[name] += of(record)

    def lines(self, name: str, labels: Labels, stamp: str) -> Iterator[str]:
        """The samples of one family."""
        family = self._shape.families[name]
        if name in self.buckets:
            yield from self._histogram(name, family, labels, stamp)
        elif self.numbers[name] is not None:
            yield family.number(labels, self.numbers[name] or 0, stamp)

    def _histogram(self, name: str, family: _Family, labels: Labels, stamp: str) -> Iterator[str]:
        counts = list(itertools.accumulate(self.buckets[name]))
        if not counts[-1]:
            return
        unit = Unit.DURATION if family.unit == "seconds" else Unit.BYTES if family.unit else Unit.NUMBER
        for bound, count in zip([*_BOUNDS[unit], "+Inf"], counts):
            yield family.sample("_bucket", (*labels, ("le", bound)), str(count), stamp)
        if name in self.sums:  # without it there may be no count either
            total = self.sums[name]
            yield family.sample("_count", labels, str(counts[-1]), stamp)
            yield family.sample("_sum", labels, _seconds(total) if unit == Unit.DURATION else str(total), stamp)


def _fill(buckets: List[int], histogram: Histogram, powers: Tuple[int, ...]) -> None:
    last = len(powers)
    for lower, count in histogram.items():
        power, place = lower.bit_length(), 0  # all values of a bucket are below 2 to this power
        while place < last and powers[place] < power:
            place += 1
        buckets[place] += count


class _File:
    """A file, or all those that have no series of their own."""

    def __init__(self, labels: Labels, stamp: str) -> None:
        self.labels, self.stamp = labels, stamp
        self.facts: Labels = ()
        self.series = _Series(_OF_FILE)
        self.calls: Dict[str, _Series] = {}
        self.failures: Dict[Tuple[str, str], int] = {}

    def add(self, file: FileStats) -> None:
        self.series.add(file)
        for syscall, call in file.syscalls.items():
            name = syscall if syscall in BY_NAME else _OTHER
            if name not in self.calls:
                self.calls[name] = _Series(_OF_CALL)
            self.calls[name].add(call)
            for error, count in call.errors.items():
                key = name, error if error in _ERRORS else _OTHER
                self.failures[key] = self.failures.get(key, 0) + count


def _fact(metric: Metric, file: FileStats) -> str:
    value = getattr(file, metric.name)
    if isinstance(value, bytes):
        return portable(value)
    value = metric.kind.dumped(value)
    return "" if value is None else portable_text(str(value))


def _identity(file: FileStats) -> Labels:
    """What tells a file from all others: its path, as `file`, and whatever else has to be known."""
    found = [("file", portable(file.path))]
    for metric in _KEYS:
        value = getattr(file, metric.name)
        if value is not None:
            found.append((metric.name, portable_text(str(value))))
    if file.who is not None:
        found.append((file.who.by, portable(file.who.word)))
    return tuple(found)


def _files(run: Run, labels: Labels, stamp: str, top: int) -> List[_File]:
    """Those of a run that have series of their own, the largest first, and the rest as one."""
    found: Dict[Labels, _File] = {}
    rest = _File((*labels, ("file", ""), ("mnt_ns", "")), stamp)
    more = False
    for number, (_, file) in enumerate(run.files):
        key = _identity(file)
        if key not in found and number >= top:
            rest.add(file)
            more = True
            continue
        if key not in found:
            found[key] = _File((*labels, *key), stamp)
        found[key].add(file)
        found[key].facts = tuple((metric.name, _fact(metric, file)) for metric in _FACTS)
    for name in _OF_FILE.of_one:
        rest.series.numbers[name] = None
    return [*found.values(), *([rest] if more else [])]


# --- writing ---------------------------------------------------------------------------------------------------------


def write(runs: Sequence[Run], stream: BinaryIO, *, top: int = 50, timestamps: bool = False) -> None:
    """Write the runs. The first `top` files of each have series of their own.

    With `timestamps` every sample has the time at which tracing ended.
    """
    told: List[Tuple[Run, Labels, str]] = []
    for run in runs:
        labels: Labels = (("run", run.id),) if len(runs) > 1 else ()
        told.append((run, labels, " " + _seconds(run.header.ended_ns) if timestamps else ""))
    _put(stream, _run_lines(told))
    stream.flush()
    _put(stream, _file_lines([file for run, labels, stamp in told for file in _files(run, labels, stamp, top)]))
    stream.write(b"# EOF\n")
    stream.flush()


def _put(stream: BinaryIO, lines: Iterator[str]) -> None:
    for line in lines:
        stream.write(line.encode())


def _told(run: Run) -> Labels:
    texts = [(metric.name, getattr(run.header, metric.name)) for metric in HEADER if metric.kind == values.TEXT]
    command = " ".join(map(portable, run.header.command))
    return ("run", run.id), *((name, portable_text(text)) for name, text in texts), ("command", command)


def _run_lines(told: Sequence[Tuple[Run, Labels, str]]) -> Iterator[str]:
    """What is known about runs as a whole."""
    info = _Family("iotrace_run_info", "gauge", "what was traced, where and by what")
    yield info.head()
    for run, _, stamp in told:
        yield info.sample("", _told(run), "1", stamp)
    for metric in HEADER:
        if metric.kind == values.COUNT:
            family = _family("run", metric._replace(unit=Unit.MOMENT))
            yield family.head()
            for run, labels, stamp in told:
                yield family.number(labels, getattr(run.header, metric.name), stamp)
    for name in PARTS:
        if name not in _NO_SERIES:
            yield from _table_lines(name, told)


def _table_lines(name: str, told: Sequence[Tuple[Run, Labels, str]]) -> Iterator[str]:
    """A table of the header: its counts, apart by all texts but paths; or its texts, where it has no counts."""
    columns = TABLES[name].columns[1:]
    counted = [index for index, column in enumerate(columns) if column.name == "count"]
    texts = [index for index, column in enumerate(columns) if column.type == TEXT and column.name != "path"]
    ending, kind = ("", "counter") if counted else ("_info", "gauge")
    family = _Family(f"iotrace_{name}{ending}", kind, PARTS[name].doc)
    yield family.head()
    for run, labels, stamp in told:
        totals: Dict[Labels, int] = {}
        for row in part_rows(run.header, name):
            key = tuple((columns[index].name, row[index]) for index in texts)
            totals[key] = totals.get(key, 0) + row[counted[0]] if counted else 1
        for key, count in totals.items():
            yield family.number((*labels, *key), count, stamp)


def _file_lines(files: Sequence[_File]) -> Iterator[str]:
    yield _INFO.head()
    for file in files:
        if file.facts:
            yield _INFO.sample("", (*file.labels, *file.facts), "1", file.stamp)
    for name, family in _OF_FILE.families.items():
        yield family.head()
        for file in files:
            yield from file.series.lines(name, file.labels, file.stamp)
    for name, family in _OF_CALL.families.items():
        yield family.head()
        for file in files:
            for call, series in sorted(file.calls.items()):
                yield from series.lines(name, (*file.labels, ("operation", call)), file.stamp)
    yield _ERROR.head()
    for file in files:
        for (call, error), count in sorted(file.failures.items()):
            yield _ERROR.number((*file.labels, ("operation", call), ("errno", error)), count, file.stamp)
