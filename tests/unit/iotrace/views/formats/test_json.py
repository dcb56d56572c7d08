"""The JSON document, schema iotrace/1: a contract, key by key."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import List

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace.profile import reader
from iotrace.profile.metrics import FILE, SYSCALL, FileStats
from iotrace.profile.metrics import HEADER as HEADER_TABLE
from iotrace.profile.writer import write
from iotrace.views import formats
from iotrace.views.formats import json as json_format
from tests.unit.iotrace.views.formats.samples import FILE as SAMPLE
from tests.unit.iotrace.views.formats.samples import HEADER, exported, paths, several

# As the specification of schema iotrace/1 has it: keys, their order and their meaning.
DOCUMENT = """
{"schema": "iotrace/1",
 "version": "0.1.0", "host": "db1", "kernel": "6.1.0", "machine": "x86_64", "command": ["cp", "\\udcff"],
 "started_ns": 10, "ended_ns": 20,
 "filters": {"comm": ["cp"]}, "attach": "raw_tracepoint", "coverage": {"io_uring": "full"},
 "lost": {"events": 0, "files": 0, "calls": 0}, "unattributed": {"read": {"EBADF": 3}}, "overhead": {"ns": 5},
 "failed_opens": [{"path": "/etc/\\udcff", "errno": "ENOENT", "cut": false, "count": 3},
                  {"path": null, "errno": "EACCES", "cut": false, "count": 1}],
 "runs": [], "interval_ns": 1000000000,
 "files": [
  {"mnt_ns": 4026531841, "path": "/var/lib/x", "renamed_to": null, "ended_as": null,
   "device": "8:1", "inode": 131, "fstype": "ext4",
   "incarnations": 1, "state": null, "deleted": false, "unreachable": false, "size": 8192, "mapped": false,
   "host": null, "who": null,
   "opens": 2, "closes": 2,
   "bytes_read": 8192, "bytes_written": 0, "bytes_synced": 0, "bytes_unsynced": 0, "rewrites": 0,
   "lowest_offset": null, "highest_offset": null, "direct_calls": 0, "unaligned_calls": 0,
   "unaligned_direct_calls": 0, "durable_writes": 0,
   "first_read_ns": null, "last_read_ns": null, "first_write_ns": null, "last_write_ns": null, "last_sync_ns": null,
   "syscalls": {"fsync": {"calls": 1, "errors": {}, "latency_ns": {"65536": 1},
                          "latency_sum_ns": 65537, "latency_max_ns": 65537},
                "pread64": {"calls": 3, "bytes": 8192, "errors": {"EIO": 1},
                            "requested": {"4096": 3}, "completed": {"4096": 2}, "latency_ns": {"512": 2},
                            "latency_sum_ns": 1100, "latency_max_ns": 600, "common_sizes": {"4096": 3},
                            "common_sizes_error": 0,
                            "storage_bytes": 4096, "storage_calls": 1, "storage_latency_ns": {}, "readahead_bytes": 0,
                            "untimed_calls": 0, "untimed_ns": 0}},
   "sequential_read": {"8192": 1}, "sequential_write": {}, "bytes_between_syncs": {"0": 1},
    "threads": 2, "queue_depth_max": 3, "queue_depth": {"1": 1, "2": 2},
    "series": [[0, 3, 8192, 0, 0, 1, 1, 1100]]}]}
"""


def test_the_json_document_is_the_contract_to_the_byte() -> None:
    assert json.dumps(json.loads(exported("json", [SAMPLE]))) == json.dumps(json.loads(DOCUMENT))


@given(several)
def test_paths_survive_json(names: List[bytes]) -> None:
    files = [FileStats(1, name, renamed_to=name) for name in names]
    out = exported("json", files)
    assert out.isascii()
    back = json.loads(out)["files"]
    assert [file["path"].encode("utf-8", "surrogateescape") for file in back] == names
    assert [file["renamed_to"].encode("utf-8", "surrogateescape") for file in back] == names


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(paths, max_size=3, unique=True))
def test_the_profile_in_between_loses_nothing(tmp_path: Path, names: List[bytes]) -> None:
    files = [FileStats(1, name, syscalls=SAMPLE.syscalls) for name in names]
    write(tmp_path / "q", HEADER, files, force=True)
    with reader.open(tmp_path / "q") as profile:
        out = io.BytesIO()
        json_format.write([formats.run_of(profile)], out)
    assert out.getvalue().decode() == exported("json", files)


def test_every_metric_is_in_the_document() -> None:
    """Of a system call, but for the two that were never a part of it."""
    document = json.loads(exported("json", [SAMPLE]))
    assert list(document) == ["schema", *(metric.name for metric in HEADER_TABLE), "files"]
    (file,) = document["files"]
    assert file.keys() == {*(metric.name for metric in FILE), "syscalls", "series"}
    assert file["syscalls"]["pread64"].keys() == {metric.name for metric in SYSCALL} - {"first_ns", "last_ok_ns"}
    without_data = {metric.name for metric in SYSCALL if metric.in_document and not metric.of_transfers}
    assert file["syscalls"]["fsync"].keys() == without_data
