"""fio's asynchronous engines: what to run, and where fio and iotrace disagree about it.

fio accounts for its I/O three times over: its report has each job's sum, its latency log each job's requests with their
sizes, and its I/O log each file's in the order of submission.  From the last follow the sizes, and also the runs,
the rewrites and the extent that iotrace must find; from the block sizes that it was told to mix, how they are spread.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple
from typing import Counter as CounterOf

from .observe import Command, Document, admitted, kernel, path_of

# Block sizes in percent of the requests: no two of one direction in one bucket.
SPLIT = {"read": {4096: 50, 12288: 30, 65536: 20}, "write": {4096: 20, 16384: 50, 61440: 30}}
REQUESTS = 800
FILE_SIZE = 8 << 20
# How far a block size's count may be from its share, in standard deviations of the binomial distribution: fio draws
# each request's size by itself.  Six are exceeded once in 500 million times.
DEVIATIONS = 6


class Engine(NamedTuple):
    """An ioengine, the operations that it is seen as, and its name in the coverage."""

    name: str
    operations: Mapping[str, str]  # fio's word for it in the I/O log -> iotrace's
    coverage: str
    sync_waits: bool  # until all that is under way has completed, and is logged at every try


# fio's libaio engine syncs by the system call.
LIBAIO = Engine(
    "libaio",
    {"read": "aio_pread", "write": "aio_pwrite", "sync": "fsync", "datasync": "fdatasync"},
    "aio",
    sync_waits=True,
)
URING = Engine(
    "io_uring",
    {"read": "uring_read", "write": "uring_write", "sync": "uring_fsync", "datasync": "uring_fsync"},
    "io_uring",
    sync_waits=False,
)
FIXED = URING._replace(operations={**URING.operations, "read": "uring_read_fixed", "write": "uring_write_fixed"})
VECTORED = URING._replace(operations={**URING.operations, "read": "uring_readv", "write": "uring_writev"})


@dataclass(frozen=True)
class Case:
    """A job file in the making: options for all jobs, and the options of each job by itself."""

    engine: Engine
    options: Mapping[str, object]
    jobs: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: {"job": {}})

    def job_file(self, place: Path) -> str:
        split = ",".join(":".join(f"{size}/{share}" for size, share in SPLIT[way].items()) for way in SPLIT)
        common = {
            "directory": place,
            "ioengine": self.engine.name,
            "rw": "randrw",
            "filesize": FILE_SIZE,
            "io_size": "1g",
            "number_ios": REQUESTS,
            "bssplit": split,
            "blockalign": 65536,
            "randrepeat": 0,
            "fsync": 8,
            "write_lat_log": place / "latency",
            **self.options,
        }
        if "fdatasync" in common:
            del common["fsync"]
        sections = {"global": common}
        for name, options in self.jobs.items():
            logged = {} if self.copies(name) > 1 else {"write_iolog": place / f"{name}.log"}
            sections[name] = {**logged, **options}
        return "".join(
            f"[{name}]\n" + "".join(f"{option}={value}\n" for option, value in options.items())
            for name, options in sections.items()
        )

    def copies(self, job: str) -> int:
        """numjobs: they would write one I/O log all at once."""
        return int(str(self._option(job, "numjobs", 1)))

    def files(self, job: str) -> List[List[str]]:
        """The names of the files of each copy of the job."""
        name = self._option(job, "filename", None)
        count = int(str(self._option(job, "nrfiles", 1)))
        return [
            [str(name)] if name else [f"{job}.{copy}.{number}" for number in range(count)]
            for copy in range(self.copies(job))
        ]

    def _option(self, job: str, name: str, default: object) -> object:
        return self.jobs[job].get(name, self.options.get(name, default))

    @property
    def actions(self) -> List[str]:
        """What it does, in the words of the I/O log."""
        ways = ["write"] if self.options.get("rw") == "randwrite" else ["read", "write"]
        if "fdatasync" in self.options:
            return [*ways, "datasync"]
        return [*ways, "sync"] if self.options.get("fsync", 1) else ways

    @property
    def direct(self) -> bool:
        return bool(self.options.get("direct"))


def _matrix() -> Iterator[Tuple[str, Case]]:
    for engine in (LIBAIO, URING):
        for cached, direct in (("direct", 1), ("buffered", 0)):
            for depth in (1, 32, 256):
                yield f"{engine.name}-{cached}-{depth}", Case(engine, {"direct": direct, "iodepth": depth})
            base = {"direct": direct, "iodepth": 32}
            batches = {"iodepth_batch_submit": 16, "iodepth_batch_complete_min": 4, "iodepth_batch_complete_max": 32}
            for name, options in (
                ("batches", batches),
                ("fdatasync", {"fdatasync": 8}),
                ("sequential", {"rw": "rw"}),
                ("files", {"nrfiles": 4}),
                ("reopened", {"nrfiles": 2, "filesize": 4 * 65536}),  # every round of fio's is one time through them
                ("jobs", {"numjobs": 2}),
                ("jobs-and-files", {"numjobs": 2, "nrfiles": 4}),
                ("threads", {"numjobs": 2, "nrfiles": 4, "thread": 1}),
                ("one-file", {"numjobs": 2, "filename": "shared"}),
            ):
                yield f"{engine.name}-{cached}-{name}", Case(engine, {**base, **options})
            sections = {"one": {}, "two": {"iodepth": 4}}
            yield f"{engine.name}-{cached}-two", Case(engine, {**base, "nrfiles": 4}, sections)
            if engine is LIBAIO:
                yield f"libaio-{cached}-userspace-reap", Case(engine, {**base, "userspace_reap": 1})
                yield (
                    f"libaio-{cached}-userspace-reap-deep",
                    Case(engine, {**batches, "direct": direct, "iodepth": 256, "userspace_reap": 1}),
                )
                yield f"libaio-{cached}-priorities", Case(engine, {**base, "cmdprio_percentage": 50})
                continue
            for name, kind, options in (
                ("registered-files", URING, {"registerfiles": 1, "nrfiles": 4}),
                ("fixed-buffers", FIXED, {"fixedbufs": 1}),
                ("fixed-both", FIXED, {"fixedbufs": 1, "registerfiles": 1}),
                ("polled-submission", URING, {"sqthread_poll": 1}),
                ("polled-all", FIXED, {"sqthread_poll": 1, "fixedbufs": 1, "registerfiles": 1}),
                ("hipri", URING, {"hipri": 1, "fsync": 0}),  # a ring that is polled takes no syncs
                ("hipri-writes", URING, {"hipri": 1, "fsync": 0, "rw": "randwrite"}),
                ("vectored", VECTORED, {"nonvectored": 0}),
                ("workers", URING, {"force_async": 4}),
                ("priorities", URING, {"cmdprio_percentage": 50}),
            ):
                if "hipri" not in options or direct:
                    yield f"io_uring-{cached}-{name}", Case(kind, {**base, **options})


CASES: Dict[str, Case] = dict(_matrix())


def prepare(case: Case, place: Path) -> Command:
    """The command that runs the case in `place`, whose files have their data already: fio would lay them out."""
    for job in case.jobs:
        for names in case.files(job):
            for name in names:
                (place / name).write_bytes(bytes(FILE_SIZE))
    (place / "jobs.fio").write_text(case.job_file(place))
    return Command(["fio", "--output-format=json", "--output=fio.json", "jobs.fio"], place)


def refusal(place: Path) -> Optional[str]:
    """What fio says if it could not do the job: io_uring is switched off, or the device has no queues to poll."""
    errors = _errors(place)
    return f"fio: {_named(errors)}" if errors and errors <= {errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP} else None


def disagreements(case: Case, place: Path, document: Document) -> List[str]:
    """One line per value on which fio and iotrace differ, or fio with itself.

    Before 5.3 no program can loop, and one call may bring more requests or events of Linux AIO than are accounted for:
    what is missing must then be admitted.
    """
    errors = _errors(place)
    if errors:
        return [f"fio: {_named(errors)}"]
    if case.engine is LIBAIO and kernel() < (5, 3) and admitted(document):
        return _about_admitted(case, place, document)
    files = {path_of(file).decode(): file for file in document["files"]}
    lines = [f"lost {name}: {count}" for name, count in document["lost"].items() if count]
    if "requests were not seen" in document["coverage"][case.engine.coverage]:
        lines.append(f"coverage: {document['coverage'][case.engine.coverage]}")
    numbers = iter(range(1, 1000))
    reports = iter(_report(place)["jobs"])
    by_files: Dict[Tuple[str, ...], _Sums] = {}
    for job in case.jobs:
        for copy in case.files(job):
            sums = _job_sums(next(reports), place / f"latency_lat.{next(numbers)}.log")
            by_files.setdefault(tuple(copy), _Sums()).add(sums)
        if case.copies(job) == 1:
            for path, requests in _io_log(place / f"{job}.log", case.engine.sync_waits).items():
                lines += _about_file(case, path, requests, files[path])
    for names, sums in by_files.items():
        lines += _about_job(case, ",".join(names), sums, [files[str(place / name)] for name in names])
    return lines


# -- what fio says -----------------------------------------------------------------------------------------------------


@dataclass
class _Sums:
    """Of the jobs on one set of files."""

    values: CounterOf[Tuple[str, str]] = field(default_factory=Counter)
    sizes: Dict[str, CounterOf[int]] = field(default_factory=lambda: {"read": Counter(), "write": Counter()})

    def add(self, other: _Sums) -> None:
        self.values.update(other.values)
        for way, sizes in other.sizes.items():
            self.sizes[way].update(sizes)


class Request(NamedTuple):
    """A line of the I/O log."""

    action: str
    offset: int
    size: int


def _report(place: Path) -> Any:
    text = (place / "fio.json").read_text()
    return json.loads(text[text.index("{") :])  # behind remarks


def _errors(place: Path) -> Set[int]:
    return {job["error"] for job in _report(place)["jobs"]} - {0}


def _named(errors: Set[int]) -> str:
    return ", ".join(os.strerror(error) for error in sorted(errors))


def _job_sums(report: Any, latencies: Path) -> _Sums:
    sums = _Sums()
    for way in ("read", "write"):
        for name in ("total_ios", "io_bytes", "short_ios"):
            sums.values[way, name] = report[way][name]
    sums.values["sync", "total_ios"] = report["sync"]["total_ios"]
    for line in latencies.read_text().splitlines():  # time, latency, direction, size, priority
        _, _, direction, size, _ = line.split(", ")
        sums.sizes["write" if int(direction) else "read"][int(size)] += 1
    return sums


def _io_log(path: Path, sync_waits: bool) -> Dict[str, List[Request]]:
    """Each file's requests in the order of submission, and its opens: fio does large jobs in several rounds."""
    found: Dict[str, List[Request]] = {}
    last = None
    for line in path.read_text().splitlines()[1:]:  # time, path, action, and for I/O offset and length
        _, name, action, *place = line.split()
        again = sync_waits and action in ("sync", "datasync") and last == (name, action)
        if (place or action == "open") and not again:
            found.setdefault(name, []).append(Request(action, *map(int, place or (0, 0))))
        last = (name, action)
    return found


# -- where they differ -------------------------------------------------------------------------------------------------


def _differences(where: str, expected: Mapping[str, object], found: Mapping[str, object]) -> List[str]:
    return [
        f"{where}: {name}: fio {expected[name]}, iotrace {found[name]}"
        for name in expected
        if expected[name] != found[name]
    ]


def _about_admitted(case: Case, place: Path, document: Document) -> List[str]:
    """The requests that were counted, and those that were not."""
    expected = sum(job[way]["total_ios"] for job in _report(place)["jobs"] for way in SPLIT)
    names, missed = [case.engine.operations[way] for way in SPLIT], admitted(document)
    files = [file["syscalls"] for file in document["files"]]
    counted = sum(calls[name]["calls"] for calls in files for name in names if name in calls)
    if expected == counted + missed:
        return []
    return [f"requests: fio {expected}, iotrace {counted}, and {missed} that it has missed"]


def _about_job(case: Case, where: str, sums: _Sums, files: List[Mapping[str, Any]]) -> List[str]:
    """The sums of the jobs on these files, and how they spread over the block sizes."""
    lines = []
    operations = case.engine.operations
    used = {operations[action] for action in case.actions}
    seen = {key for file in files for key in file["syscalls"]} - {"open", "close"}
    if seen != used:
        return [f"{where}: operations: fio {sorted(used)}, iotrace {sorted(seen)}"]
    for way in (way for way in SPLIT if way in case.actions):
        calls = [file["syscalls"][operations[way]] for file in files]
        expected: Dict[str, object] = {
            "calls": sums.values[way, "total_ios"],
            "bytes": sums.values[way, "io_bytes"],
            "requested": _buckets(sums.sizes[way]),
            "completed": _buckets(sums.sizes[way]),
            "errors": {},
        }
        found: Dict[str, object] = {
            "calls": sum(call["calls"] for call in calls),
            "bytes": sum(call["bytes"] for call in calls),
            "requested": _added(call["requested"] for call in calls),
            "completed": _added(call["completed"] for call in calls),
            "errors": _added(call["errors"] for call in calls),
        }
        lines += _differences(f"{where}: {way}", expected, found)
        short = sums.values[way, "short_ios"]
        if short and not (way == "read" and "datasync" in case.actions):  # which fio 3.33 counts there
            lines.append(f"{where}: {way}: {short} short transfers, which fio does over again")
        lines += _about_split(f"{where}: {way}", way, _added(call["requested"] for call in calls), found["bytes"])
    if "sync" in case.actions:  # fio reports its fsyncs, but not its fdatasyncs
        calls = [file["syscalls"][operations["sync"]] for file in files if operations["sync"] in file["syscalls"]]
        found = {"calls": sum(call["calls"] for call in calls)}
        lines += _differences(f"{where}: sync", {"calls": sums.values["sync", "total_ios"]}, found)
    return lines


def _about_split(where: str, way: str, requested: Mapping[int, int], moved: object) -> List[str]:
    """The counts by the percentages that fio was given, and the bytes by the counts."""
    size_of = {_bucket(size): size for size in SPLIT[way]}
    total = sum(requested.values())
    if not requested.keys() <= size_of.keys():
        return [f"{where}: sizes {sorted(requested)} of {sorted(size_of)}"]
    lines = []
    if sum(size_of[bucket] * count for bucket, count in requested.items()) != moved:
        lines.append(f"{where}: {moved} bytes in {dict(requested)}")
    for bucket, size in size_of.items():
        share = SPLIT[way][size] / 100
        allowed = DEVIATIONS * math.sqrt(total * share * (1 - share))
        if abs(requested.get(bucket, 0) - total * share) > allowed:
            lines.append(f"{where}: {requested.get(bucket, 0)} of {total} requests of {size}, told {share}")
    return lines


def _about_file(case: Case, path: str, logged: List[Request], file: Mapping[str, Any]) -> List[str]:
    """A file's own requests, what follows from their order, and what from their places."""
    requests = [request for request in logged if request.action != "open"]
    expected: Dict[str, object] = {}
    found: Dict[str, object] = {}
    counts: CounterOf[str] = Counter()
    sizes: Dict[str, CounterOf[int]] = {}
    for request in requests:
        operation = case.engine.operations[request.action]
        counts[operation] += 1
        if request.action in SPLIT:
            sizes.setdefault(operation, Counter())[request.size] += 1
    calls = {key: call for key, call in file["syscalls"].items() if key not in ("open", "close")}
    expected["calls"], found["calls"] = dict(counts), {key: call["calls"] for key, call in calls.items()}
    expected["requested"] = {key: _buckets(by_size) for key, by_size in sizes.items()}
    found["requested"] = {key: _added([call["requested"]]) for key, call in calls.items() if "requested" in call}
    for way, total in (("read", "bytes_read"), ("write", "bytes_written")):
        expected[total] = sum(request.size for request in requests if request.action == way)
        expected[f"sequential_{way}"] = _buckets(Counter(_runs(logged, way)))
        found[f"sequential_{way}"] = _added([file[f"sequential_{way}"]])
        found[total] = file[total]
    transfers = [request for request in requests if request.action in SPLIT]
    writes = [request for request in requests if request.action == "write"]
    expected["lowest_offset"] = min(request.offset for request in transfers)
    expected["highest_offset"] = max(request.offset + request.size for request in transfers) - 1
    expected["rewrites"] = sum(one.offset == other.offset for one, other in zip(writes, writes[1:]))
    expected["direct_calls"] = len(transfers) if case.direct else 0
    for name in ("lowest_offset", "highest_offset", "rewrites", "direct_calls"):
        found[name] = file[name]
    return _differences(path, expected, found)


def _runs(logged: List[Request], way: str) -> Iterator[int]:
    """The bytes of maximal contiguous runs of one direction: none goes beyond an open file description."""
    end, length = -1, 0
    for action, offset, size in logged:
        if action not in (way, "open"):
            continue
        if (action == "open" or offset != end) and length:
            yield length
            length = 0
        length += size
        end = -1 if action == "open" else offset + size
    if length:
        yield length


def _bucket(size: int) -> int:
    return 1 << size.bit_length() - 1 if size else 0


def _buckets(sizes: Mapping[int, int]) -> Dict[int, int]:
    """Counts by size as counts by bucket."""
    found: CounterOf[int] = Counter()
    for size, count in sizes.items():
        found[_bucket(size)] += count
    return dict(found)


def _added(histograms: Any) -> Dict[Any, int]:
    """The sum of histograms of the document."""
    found: CounterOf[Any] = Counter()
    for histogram in histograms:
        found.update({int(key) if key.isdigit() else key: count for key, count in histogram.items()})
    return dict(found)
