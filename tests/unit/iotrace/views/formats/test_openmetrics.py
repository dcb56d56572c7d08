"""OpenMetrics, as the parsers of Prometheus read it."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace import unescape
from iotrace.profile.metrics import FileStats, SyscallStats
from iotrace.profile.whose import Who
from tests import needs
from tests.unit.iotrace.profile import samples
from tests.unit.iotrace.views.formats.samples import FILE, exported, several


class Sample(NamedTuple):
    name: str
    labels: Dict[str, str]
    value: float
    timestamp: Optional[float]


def parsed(text: str) -> List[Sample]:
    """The samples, read by prometheus_client, which checks the rules: order, names, units, histograms."""
    parser = needs.module("prometheus_client.openmetrics.parser")
    families = list(parser.text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    return [Sample(s.name, s.labels, s.value, s.timestamp) for family in families for s in family.samples]


def total(found: List[Sample], name: str, **labels: str) -> float:
    return sum(s.value for s in found if s.name == f"iotrace_{name}" and labels.items() <= s.labels.items())


def near(numbers: Iterable[int], unit: float = 1) -> object:
    """Prometheus has no more than floating-point numbers."""
    return pytest.approx(sum(numbers) / unit, rel=1e-9)


@pytest.mark.slow
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(samples.files, max_size=5), st.integers(0, 4), st.booleans())
def test_sums_over_files_are_those_of_the_profile(files: List[FileStats], top: int, timestamps: bool) -> None:
    found = parsed(exported("openmetrics", files, top=top, timestamps=timestamps))
    assert total(found, "file_read_bytes_total") == near(file.bytes_read for file in files)
    assert total(found, "file_opens_total") == near(file.opens for file in files)
    assert total(found, "file_unsynced_bytes") == near(file.bytes_unsynced for file in files)
    runs = itertools.chain.from_iterable(file.sequential_read.values() for file in files)
    assert total(found, "file_sequential_read_bytes_bucket", le="+Inf") == near(runs)
    for name in {name for file in files for name in file.syscalls}:
        calls = [file.syscalls[name] for file in files if name in file.syscalls]
        assert total(found, "operation_calls_total", operation=name) == near(call.calls for call in calls)
        assert total(found, "operation_bytes_total", operation=name) == near(call.bytes for call in calls)
        latencies = near(count for call in calls for count in call.latency_ns.values())
        assert total(found, "operation_latency_seconds_bucket", operation=name, le="+Inf") == latencies
        assert total(found, "operation_errors_total", operation=name) == near(
            count for call in calls for count in call.errors.values()
        )
    assert len({(s.labels["file"], s.labels["mnt_ns"]) for s in found if "file" in s.labels}) <= top + 1
    assert all((s.timestamp is not None) == timestamps for s in found)


def test_a_histogram_is_cumulative_and_exact() -> None:
    """Of whole numbers, so that an upper bound of 511 holds what is below 512."""
    call = SyscallStats(
        9,
        3 * 512,
        requested={0: 1, 256: 2, 512: 3, 1 << 40: 1},
        completed={512: 3},
        latency_ns={64: 1, 1024: 2, 1 << 20: 1},
        latency_sum_ns=1_500_000,
        latency_max_ns=1_400_000,
    )
    found = parsed(exported("openmetrics", [FileStats(1, b"/a", syscalls={"read": call})]))

    def below(name: str, bound: float) -> float:
        (value,) = [s.value for s in found if s.name == f"iotrace_{name}_bucket" and float(s.labels["le"]) == bound]
        return value

    sizes = [below("operation_requested_bytes", bound) for bound in (0, 511, 1023, (1 << 30) - 1, float("inf"))]
    assert sizes == [1, 3, 6, 6, 7]
    times = [below("operation_latency_seconds", ns / 1e9) for ns in (1023, 2047, (1 << 20) - 1, (1 << 21) - 1)]
    assert times == [1, 3, 3, 4]
    assert total(found, "operation_latency_seconds_sum") == 0.0015
    assert total(found, "operation_latency_seconds_count") == 4
    assert total(found, "operation_completed_bytes_sum") == 3 * 512
    assert total(found, "operation_latency_max_seconds") == 0.0014


def test_series_are_few_whatever_the_profile() -> None:
    """System calls, errors and files that somebody made up do not make series."""
    calls = {f"call{i}": SyscallStats(1, errors={f"E{j}": 1 for j in range(50)}) for i in range(50)}
    files = [FileStats(1, b"/%d" % i, bytes_read=i, syscalls=calls) for i in range(30)]
    found = parsed(exported("openmetrics", files, top=2))
    assert {s.labels.get("operation") for s in found} <= {None, "read", "other"}
    assert total(found, "operation_calls_total", operation="other") == 30 * 50
    assert total(found, "operation_errors_total", operation="other", errno="other") == 30 * 50 * 50
    assert {s.labels["file"] for s in found if "file" in s.labels} == {"/0", "/1", ""}
    assert total(found, "file_read_bytes_total", file="") == sum(range(2, 30))
    every, one = (exported("openmetrics", files[:count], top=2).count("\n") for count in (30, 3))
    assert every == one


def test_what_makes_no_sense_of_several_files_is_not_told_of_the_rest() -> None:
    files = [FileStats(1, b"/%d" % i, size=i, first_read_ns=10**18 + i, incarnations=i + 1) for i in range(3)]
    found = parsed(exported("openmetrics", files, top=1))
    assert [s.labels["file"] for s in found if s.name == "iotrace_file_size_bytes"] == ["/0"]
    assert [s.labels["file"] for s in found if s.name == "iotrace_file_info"] == ["/0"]
    assert total(found, "file_first_read_timestamp_seconds", file="") == 1e9
    assert total(found, "file_incarnations", file="") == 3


def test_what_is_known_of_the_run() -> None:
    found = parsed(exported("openmetrics", [FILE]))
    (told,) = [s.labels for s in found if s.name == "iotrace_run_info"]
    assert (told["host"], told["kernel"], told["command"]) == ("db1", "6.1.0", r"cp \xff")
    assert total(found, "unattributed_total", operation="read", errno="EBADF") == 3
    assert [s.labels for s in found if s.name == "iotrace_coverage_info"] == [{"what": "io_uring", "text": "full"}]
    (file,) = [s.labels for s in found if s.name == "iotrace_file_info"]
    assert (file["file"], file["device"], file["inode"], file["fstype"]) == ("/var/lib/x", "8:1", "131", "ext4")


@given(several)
def test_names_survive_in_labels(names: List[bytes]) -> None:
    files = [FileStats(number, name, bytes_read=1) for number, name in enumerate(names)]
    found = parsed(exported("openmetrics", files))
    labels = [s.labels for s in found if s.name == "iotrace_file_read_bytes_total"]
    assert [(label["mnt_ns"], unescape(label["file"])) for label in labels] == [(str(f.mnt_ns), f.path) for f in files]


def test_files_that_cannot_be_told_apart_are_one() -> None:
    """One of them is unreachable, say: two series of the same labels would be an error."""
    files = [FileStats(1, b"/a", bytes_read=1), FileStats(1, b"/a", bytes_read=2, unreachable=True)]
    found = parsed(exported("openmetrics", files))
    assert [s.value for s in found if s.name == "iotrace_file_read_bytes_total"] == [3]


def test_rows_of_a_file_for_each_process_or_host_have_series_of_their_own() -> None:
    whose = [Who("process", b"=a"), Who("process", b"b"), Who("user", 1000), Who("cgroup", b"/x.slice"), None]
    files = [FileStats(1, b"/a", who=who, host="h", bytes_read=number) for number, who in enumerate(whose)]
    found = [s for s in parsed(exported("openmetrics", files)) if s.name == "iotrace_file_read_bytes_total"]
    assert [s.value for s in found] == [0, 1, 2, 3, 4]
    assert all(s.labels["file"] == "/a" and s.labels["host"] == "h" for s in found)
    assert [(s.labels.get("process"), s.labels.get("user"), s.labels.get("cgroup")) for s in found] == [
        (r"\x3da", None, None),
        ("b", None, None),
        (None, "1000", None),
        (None, None, "/x.slice"),
        (None, None, None),
    ]


PROMTOOL = shutil.which("promtool")  # its package starts a server, so that it is used where it is there, and no more


def test_promtool_takes_it(tmp_path: Path) -> None:
    """Both ways in: blocks of samples from OpenMetrics, and the older text format of node_exporter's textfiles."""
    if PROMTOOL is None:
        needs.impossible("the package with promtool is not installed for a test")
    files = [FILE, FileStats(1, b'/"\\\n\xff,=1', bytes_read=5, syscalls={"read": SyscallStats(1, errors={"EIO": 1})})]
    (tmp_path / "om").write_text(exported("openmetrics", files, timestamps=True))
    words = [PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", "om", "data"]
    subprocess.run(words, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    text = exported("openmetrics", files).encode()
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, stderr=subprocess.PIPE)
    assert b"error" not in done.stderr.replace(b"errors_total", b"")
