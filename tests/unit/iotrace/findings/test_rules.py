"""Each rule on what just meets it, and on what just does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

import pytest

from iotrace.errors import UserError
from iotrace.findings import engine
from iotrace.findings.rule import Severity
from iotrace.findings.rules import RULES
from iotrace.globs import Selection
from iotrace.profile import reader
from iotrace.profile.failed_opens import FailedOpen
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.writer import write
from iotrace.views.findings import table

MS = 1 << 20
KIB = 1024


def data(number: int, size: int, got: int = -1, **more: Any) -> SyscallStats:
    """`number` calls that asked for `size` bytes each, and got as many, or `got`."""
    got = size if got < 0 else got
    values: Dict[str, Any] = {
        "requested": {1 << (size.bit_length() - 1): number},
        "completed": {1 << (got.bit_length() - 1) if got else 0: number},
        "latency_ns": {1024: number},
        "latency_sum_ns": 1100 * number,
    }
    return SyscallStats(number, number * got, **{**values, **more})


def syncs(number: int, latency: int = MS, slow: int = 0, slow_latency: int = 64 * MS) -> SyscallStats:
    histogram = {latency: number - slow, slow_latency: slow} if slow else {latency: number}
    total = sum(lower * count for lower, count in histogram.items())
    return SyscallStats(number, latency_ns=histogram, latency_sum_ns=total, latency_max_ns=slow_latency + 1)


def file(path: bytes = b"/f", **values: Any) -> FileStats:
    calls: Dict[str, SyscallStats] = values.get("syscalls", {})
    read = sum(call.bytes for name, call in calls.items() if "read" in name)
    written = sum(call.bytes for name, call in calls.items() if "write" in name)
    return FileStats(1, path, **{"opens": 1, "bytes_read": read, "bytes_written": written, **values})


def synced(writes: int, number: int, between: Dict[int, int], size: int = 8 * KIB, **more: Any) -> FileStats:
    return file(syscalls={"write": data(writes, size), "fdatasync": syncs(number)}, bytes_between_syncs=between, **more)


def sequential(name: str, number: int, size: int, runs: int = 1, **more: Any) -> FileStats:
    run = {1 << (size.bit_length() - 1): runs}
    return file(**{"syscalls": {name: data(number, size)}, f"sequential_{name}": run, **more})


def both(written: int, unaligned_calls: int, **more: Any) -> FileStats:
    """A file with 1,000 writes here and there, and as many reads of 512 bytes."""
    calls = {"write": data(1000, written, **more), "read": data(1000, 512)}
    run = {1 << (written.bit_length() - 1): 1000}
    return file(syscalls=calls, sequential_write=run, sequential_read={512: 1000}, unaligned_calls=unaligned_calls)


def missing(number: int, latency: int) -> FileStats:
    """A file of a hundred reads, of which some had to wait."""
    call = data(100, 4096, latency_ns={1024: 100 - number, latency: number}, storage_latency_ns={latency: number})
    return file(syscalls={"read": call})


class Case(NamedTuple):
    """A rule, files for which it holds, and files for which it just does not."""

    rule: str
    holds: List[FileStats]
    holds_not: List[FileStats]


def many(number: int, size: int, opening: int) -> List[FileStats]:
    opened = SyscallStats(1, latency_ns={1024: 1}, latency_sum_ns=opening)
    return [file(b"/%d" % i, syscalls={"open": opened, "read": data(1, size)}) for i in range(number)]


CASES = [
    Case("sync-after-every-write", [synced(150, 100, {8192: 100})], [synced(151, 100, {8192: 100})]),
    Case("sync-after-every-write", [synced(100, 100, {8192: 100})], [synced(99, 99, {8192: 99})]),
    Case("tiny-syncs", [synced(400, 100, {32768: 100})], [synced(400, 100, {32768: 49, 65536: 51})]),
    Case("tiny-syncs", [synced(400, 100, {32768: 100})], [synced(150, 100, {32768: 100})]),
    Case("empty-syncs", [synced(60, 100, {0: 50, 8192: 50})], [synced(60, 101, {0: 50, 8192: 51})]),
    Case("empty-syncs", [synced(60, 50, {0: 50})], [synced(60, 49, {0: 49})]),
    Case(
        "durable-small-writes",
        [file(durable_writes=100, syscalls={"write": data(100, 65536)})],
        [file(durable_writes=100, syscalls={"write": data(100, 65537)})],
    ),
    Case(
        "slow-sync-tail",
        [file(syscalls={"fsync": syncs(200, MS, slow=3)})],
        [file(syscalls={"fsync": syncs(200, MS, slow=1)}), file(syscalls={"fsync": syncs(200, 8 * MS, slow=3)})],
    ),
    Case(
        "slow-sync-tail",
        [file(syscalls={"fsync": syncs(200, MS, slow=3)})],
        [file(syscalls={"fsync": syncs(200, MS // 8, slow=3, slow_latency=8 * MS)})],
    ),
    Case("left-unsynced", [synced(2, 1, {8: 1}, bytes_unsynced=1)], [synced(2, 1, {8: 1}), file(bytes_unsynced=9)]),
    Case(
        "small-sequential-writes",
        [sequential("write", 1000, 100, runs=101)],
        [sequential("write", 999, 100), sequential("write", 1000, 4096), sequential("write", 1000, 100, runs=102)],
    ),
    Case(
        "small-sequential-writes",
        [sequential("write", 1000, 100)],
        [file(syscalls={"write": data(1000, 100), "fsync": syncs(700)}, sequential_write={64: 1})],
    ),
    Case(
        "small-sequential-reads",
        [sequential("read", 1000, 4095)],
        [
            sequential("read", 999, 4095),
            sequential("read", 1000, 4096),
            sequential("read", 1000, 100, runs=102),
            file(syscalls={"read": SyscallStats(1000, errors={"EBADF": 1000}, requested={64: 1000})}),
        ],
    ),
    Case(
        "small-random-reads",
        [sequential("read", 1000, 8 * KIB, runs=801)],
        [sequential("read", 1000, 8 * KIB, runs=800), sequential("read", 1000, 64 * KIB, runs=801)],
    ),
    Case(
        "unaligned-direct",
        [file(direct_calls=10, unaligned_direct_calls=1)],
        [file(direct_calls=11, unaligned_direct_calls=1), file(direct_calls=9, unaligned_direct_calls=9)],
    ),
    Case(
        "partial-page-writes",
        [sequential("write", 1000, 100, runs=501, unaligned_calls=500)],
        [
            sequential("write", 1000, 100, runs=500, unaligned_calls=500),
            sequential("write", 1000, 100, runs=501, unaligned_calls=499),
            both(written=4096, unaligned_calls=1000),  # those of the reads
        ],
    ),
    Case(
        "partial-page-writes",
        [both(written=100, common_sizes={100: 500, 4096: 500}, unaligned_calls=500)],
        [both(written=100, common_sizes={100: 499, 4096: 500}, unaligned_calls=500)],
    ),
    Case(
        "short-reads",
        [file(syscalls={"read": data(100, 65536, 100)})],
        [file(syscalls={"read": data(99, 65536, 100)}), file(syscalls={"read": data(100, 65536, 65536)})],
    ),
    Case(
        "polling-at-the-end",
        [file(syscalls={"read": data(100, 4096, 0)})],
        [
            file(syscalls={"read": data(99, 4096, 0)}),
            file(syscalls={"read": data(201, 64, completed={0: 100, 64: 101})}),
        ],
    ),
    Case(
        "read-again",
        [file(size=MS, syscalls={"read": data(3, MS)})],
        [
            file(size=MS + 1, syscalls={"read": data(3, MS)}),
            file(size=MS - 1, syscalls={"read": data(99, MS)}),
            file(size=0, highest_offset=MS, syscalls={"read": data(3, MS)}),  # cut off since
        ],
    ),
    Case(
        "from-storage-again",
        [file(size=MS, syscalls={"read": data(3, MS, storage_bytes=2 * MS)})],
        [
            file(size=MS, syscalls={"read": data(3, MS, storage_bytes=2 * MS - 1)}),
            file(size=MS - 1, syscalls={"read": data(9, MS, storage_bytes=9 * MS)}),
        ],
    ),
    Case("two-speeds", [missing(20, 1 << 14)], [missing(19, 1 << 14), missing(20, 1 << 13), missing(51, 1 << 14)]),
    Case(
        "rewritten-in-place",
        [file(rewrites=100, syscalls={"pwrite64": data(200, 64)})],
        [
            file(rewrites=99, syscalls={"pwrite64": data(99, 64)}),
            file(rewrites=100, syscalls={"pwrite64": data(201, 64)}),
        ],
    ),
    Case(
        "open-storm",
        [file(opens=200, syscalls={"read": data(600, 64)})],
        [file(opens=199, syscalls={"read": data(1, 64)}), file(opens=200, syscalls={"read": data(601, 64)})],
    ),
    Case("many-small-files", many(1000, KIB, 2000), many(999, KIB, 2000)),
    Case("many-small-files", many(1000, 65536, 500), many(1000, 65536, 400)),
    Case("many-small-files", many(1000, 65536, 2000), many(1000, 65537, 2000)),
    Case(
        "one-at-a-time",
        [file(queue_depth_max=1, queue_depth={1: 1000})],
        [file(queue_depth_max=2, queue_depth={1: 999, 2: 1}), file(queue_depth_max=1, queue_depth={1: 999})],
    ),
    Case(
        "shared-by-threads",
        [file(threads=8, syscalls={"read": data(10, 64)})],
        [file(threads=7, syscalls={"read": data(10, 64)})],
    ),
    Case(
        "hard-errors",
        [file(syscalls={"write": SyscallStats(1, errors={"ENOSPC": 1})})],
        [file(syscalls={"write": SyscallStats(9, errors={"EAGAIN": 9})})],
    ),
]


def found(place: Path, files: List[FileStats], header: Optional[Header] = None) -> Dict[str, engine.Finding]:
    write(place / "p", header or Header(), files, force=True)
    with reader.open(place / "p") as profile:
        return {each.rule.name: each for each in engine.find([profile])}


def test_sentences_have_figures_with_their_units(tmp_path: Path) -> None:
    small = found(tmp_path, [sequential("write", 4098, 976)])["small-sequential-writes"].sentence
    assert small.startswith("4,098 writes of 976 B each, ")
    unsynced = file(syscalls={"fsync": syncs(1)}, bytes_unsynced=3)
    assert found(tmp_path, [unsynced])["left-unsynced"].sentence.startswith("3 B written after the last sync")
    direct = [file(path, direct_calls=10, unaligned_calls=9, unaligned_direct_calls=1) for path in (b"/a", b"/b")]
    assert found(tmp_path, direct)["unaligned-direct"].sentence.startswith("2 of 20 calls with O_DIRECT ")


def test_nobody_says_how_long_took_what_was_not_timed(tmp_path: Path) -> None:
    untimed = data(4096, 1024, latency_ns={}, latency_sum_ns=0, untimed_calls=4096)
    files = [file(syscalls={"read": untimed}, sequential_read={1 << 22: 1})]
    sentence = found(tmp_path, files)["small-sequential-reads"].sentence
    assert sentence.endswith(" took a time that is not known, as none of them was timed")


@pytest.mark.parametrize("case", CASES, ids=[f"{case.rule}-{n}" for n, case in enumerate(CASES)])
def test_a_rule_holds_or_just_does_not(tmp_path: Path, case: Case) -> None:
    finding = found(tmp_path, case.holds)[case.rule]
    rule = finding.rule
    assert finding.sentence and "{" not in finding.sentence
    assert finding.files == (len(case.holds) if rule.holds is not None else 0)
    for one in case.holds_not if rule.holds is not None else [case.holds_not]:
        assert case.rule not in found(tmp_path, [one] if isinstance(one, FileStats) else one)


@pytest.mark.parametrize(
    ("times", "errno", "holds"), [(50, "ENOENT", True), (49, "ENOENT", False), (99, "EACCES", False)]
)
def test_a_file_that_is_not_there(tmp_path: Path, times: int, errno: str, holds: bool) -> None:
    opens = [FailedOpen(b"/etc/\x1bgone", errno, False, times), FailedOpen(None, "ENOENT", False, 1000)]
    findings = found(tmp_path, [], Header(failed_opens=opens))
    assert ("missing-files" in findings) == holds
    if holds:
        sentence = findings["missing-files"].sentence
        assert sentence == "50 opens of 1 file found nothing there, /etc/\\x1bgone 50 times"
        with reader.open(tmp_path / "p") as profile:
            elsewhere = engine.find([profile], {}, Selection((b"/srv/*",)))
        assert "missing-files" not in {each.rule.name for each in elsewhere}


def test_files_that_threads_share_take_a_part_of_all_time(tmp_path: Path) -> None:
    shared = [file(b"/%d" % n, threads=9, syscalls={"read": data(10, 64)}) for n in range(3)]
    others = [file(b"/x", syscalls={"read": data(30, 64)})]
    finding = found(tmp_path, shared + others)["shared-by-threads"]
    assert finding.share == 0.5 and "up to 9 threads wait for I/O on 3 files" in finding.sentence
    assert "shared-by-threads" not in found(tmp_path, [*shared, file(b"/x", syscalls={"read": data(31, 64)})])


def test_every_rule_has_a_case_of_both_kinds() -> None:
    assert {case.rule for case in CASES} | {"missing-files"} == {rule.name for rule in RULES}
    assert len(RULES) >= 15 and len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_says_all_that_it_has_to(rule: Any) -> None:
    numbers = {name: each.default for name, each in rule.thresholds.items()}
    assert rule.condition.format(**numbers) != rule.condition  # each threshold stands in the condition
    assert all("{" + name + "}" in rule.condition for name in rule.thresholds)
    assert rule.advice and rule.disproof and (rule.holds is None) != (rule.of_run is None)


def test_nothing_is_found_in_nothing(tmp_path: Path) -> None:
    assert found(tmp_path, []) == {}
    assert (
        found(tmp_path, [file(syscalls={"open": SyscallStats(1), "read": data(1, 4096), "close": SyscallStats(1)})])
        == {}
    )


def test_a_threshold_can_be_set(tmp_path: Path) -> None:
    files = [synced(99, 99, {8192: 99})]
    write(tmp_path / "p", Header(), files)
    with reader.open(tmp_path / "p") as profile:
        changed = engine.thresholds(["sync-after-every-write.syncs=99"])
        assert "sync-after-every-write" in {each.rule.name for each in engine.find([profile], changed)}


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("nothing=1", "there is no threshold 'nothing'"),
        ("tiny-syncs.syncs", "'' is not a number"),
        ("tiny-syncs.syncs=many", "'many' is not a number"),
        ("tiny-syncs.syncs=nan", "'nan' is not a number"),
    ],
)
def test_what_is_no_threshold_is_refused(word: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        engine.thresholds([word])


def test_the_worst_come_first(tmp_path: Path) -> None:
    """By severity, then by time; most of the time makes a finding more severe, and hardly any less."""
    slow = dataclasses.replace(synced(400, 100, {32768: 100}), path=b"/slow")
    short = dataclasses.replace(file(syscalls={"read": data(100, 65536, 100)}), path=b"/short")
    failed = dataclasses.replace(file(syscalls={"write": SyscallStats(1, errors={"EIO": 1})}), path=b"/failed")
    findings = found(tmp_path, [short, failed, slow])
    assert list(findings) == ["tiny-syncs", "hard-errors", "short-reads"]
    assert [each.severity for each in findings.values()] == [Severity.HIGH, Severity.HIGH, Severity.LOW]
    assert findings["tiny-syncs"].share > 0.99 and findings["tiny-syncs"].rule.severity is Severity.MEDIUM
    assert engine.worst(findings.values()) is Severity.HIGH


def test_the_worst_files_are_named(tmp_path: Path) -> None:
    number = engine.WORST + 2
    files = [
        file(b"/%d" % n, syscalls={"write": data(200, 8192), "fsync": syncs(100 + n)}, bytes_between_syncs={8192: 100})
        for n in range(number)
    ]
    finding = found(tmp_path, files)["tiny-syncs"]
    assert finding.files == number
    assert finding.worst == [b"/%d" % n for n in range(number - 1, 1, -1)]


def test_the_document_has_the_rules_and_their_thresholds() -> None:
    document = Path(engine.__file__).with_name("README.md").read_text()
    assert "\n".join(table()) in document, "write the table of iotrace.views.findings.table() into it"
