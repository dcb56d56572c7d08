"""The tables of each version, what older profiles are read as, and the document that describes them."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from pathlib import Path
from typing import Dict, Iterator, List, Sequence

import pytest

from iotrace.profile import metrics, parts, reader, rows, schema
from iotrace.profile.failed_opens import FailedOpen
from iotrace.profile.metrics import (
    FILE,
    FIRST_VERSION,
    HEADER,
    SCHEMA_VERSION,
    SYSCALL,
    FileStats,
    Header,
    Metric,
    SyscallStats,
)
from iotrace.profile.values import COUNT, FINE, HISTOGRAM, added
from iotrace.profile.writer import write
from iotrace.views import formats
from tests.unit.iotrace.profile.samples import sample

DATA = Path(__file__).parent / "data"
DOCUMENT = (Path(reader.__file__).parent / "SCHEMA.md").read_text()
NEXT = SCHEMA_VERSION + 1


def made_of(statements: str, path: Path) -> Path:
    """The database that these statements make: what `sqlite3 PROFILE .dump` shows, and the two pragmas."""
    database = sqlite3.connect(str(path))
    database.executescript(statements)
    database.close()
    return path


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    """A profile as the first release of schema 2 wrote it."""
    return made_of((DATA / "schema2.sql").read_text(), tmp_path / "2.iotrace")


def exported(path: Path) -> object:
    """The JSON document of a profile of version 2, without what version 2 did not know, which must be nothing."""
    out = io.BytesIO()
    with reader.open(path) as profile:
        formats.stream_writer("json")([formats.run_of(profile)], out)
    document = json.loads(out.getvalue())
    without_new(HEADER, document)
    for file in document["files"]:
        without_new(FILE, file)
        assert file.pop("series") == []
        for call in file["syscalls"].values():
            without_new(SYSCALL, call)
    return document


def without_new(table: Sequence[Metric], found: Dict[str, object]) -> None:
    for metric in table:
        if metric.since > 2 and metric.name in found:
            assert found.pop(metric.name) == metric.kind.dumped(metric.default())


def test_version_2_is_declared_as_it_always_was() -> None:
    """To the letter: a profile whose tables are declared otherwise is refused."""
    dump = (DATA / "schema2.sql").read_text()
    for statement in schema.schema(2).tables.values():
        assert statement + ";\n" in dump


def test_a_profile_of_version_2_is_read_as_it_always_was(version_2: Path) -> None:
    expected = json.loads((DATA / "schema2.json").read_text())
    assert exported(version_2) == expected
    with reader.open(version_2) as profile:
        assert [row.path for row in profile.rows("bytes")] == [b"/srv/\xff\n'new", b"/var/lib/x", b"/var/lib/x"]
        totals = profile.totals()
    assert (totals.files, totals.marks, totals.sums.bytes_read, totals.sums.calls) == (3, (1, 1, 1, 0, 0), 8192, 17)


def test_the_arrays_of_version_2_are_kept_in_order(tmp_path: Path) -> None:
    """What old readers know of a system call stands where they look for it."""
    call = SyscallStats(3, 8192, 5, 9, {"EIO": 1}, {4096: 3}, {4096: 2}, {512: 2})
    write(tmp_path / "p", Header(), [FileStats(1, b"/a", syscalls={"pread64": call, "close": SyscallStats(2)})])
    ((stored,),) = sqlite3.connect(str(tmp_path / "p")).execute("SELECT by_syscall FROM calls")
    old = json.loads(stored)
    assert old["pread64"][:8] == [3, 8192, 5, 9, {"EIO": 1}, {"4096": 3}, {"4096": 2}, {"512": 2}]
    assert old["close"] == [2]


def test_other_versions_do_not_exist() -> None:
    for version in (FIRST_VERSION - 1, NEXT):
        with pytest.raises(ValueError):
            schema.schema(version)


# --- a metric that is not there yet ----------------------------------------------------------------------------------


@pytest.fixture
def with_more(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the next version had one more metric of a file, which tables add up."""
    more = Metric(COUNT, added, "more", metrics.NUMBER, "what comes next", NEXT, name="more", default=int)
    monkeypatch.setattr(schema, "COLUMNS", (*parts.COLUMNS, more))
    monkeypatch.setattr(schema, "SCHEMA_VERSION", NEXT)
    monkeypatch.setattr(reader, "ROW_COLUMNS", (*rows.ROW_COLUMNS[:-1], "more"))
    monkeypatch.setitem(reader.SORTS, "more", ("more",))
    schema.schema.cache_clear()
    yield
    schema.schema.cache_clear()


def test_a_new_metric_is_a_column_of_its_version_alone(with_more: None) -> None:
    assert "more INTEGER NOT NULL" in schema.schema(NEXT).tables["file"]
    assert "more" not in schema.schema(SCHEMA_VERSION).tables["file"]


def test_older_profiles_are_read_without_it(with_more: None, version_2: Path) -> None:
    """By default a metric that they do not have is nothing: when they are sorted, added up, and walked."""
    assert exported(version_2) == json.loads((DATA / "schema2.json").read_text())
    with reader.open(version_2) as profile:
        assert [row.sums[-1] for row in profile.rows("more")] == [0, 0, 0]
        assert profile.totals().files == 3


# --- the document ----------------------------------------------------------------------------------------------------


def described(metric: Metric) -> str:
    kind = "histogram: " if metric.kind in (HISTOGRAM, FINE) else ""
    since = f" (since schema {metric.since})" if metric.since > FIRST_VERSION else ""
    return f"{kind}{metric.doc}{since} |"


def section(title: str) -> List[str]:
    """The lines of the table in a section, without its head."""
    (text,) = (part for part in DOCUMENT.split("\n## ") if part.startswith(title + ":"))
    return [line for line in text.splitlines() if line.startswith("| ")][1:]


def with_types(metrics: Sequence[Metric]) -> List[str]:
    return [f"| {metric.name} | {metric.kind.column} | {described(metric)}" for metric in metrics]


def without_types(metrics: Sequence[Metric]) -> List[str]:
    return [f"| {metric.name} | {described(metric)}" for metric in metrics]


def test_the_document_describes_every_column_as_the_table_of_metrics_does() -> None:
    current = schema.CURRENT
    assert section("file")[1:] == with_types((*current.columns, *current.totals))
    assert section("syscall")[2:] == without_types(SYSCALL)
    assert section("meta") == without_types(
        [m for m in HEADER if m.name not in ("lost", "unattributed", "failed_opens", "runs")]
    )
    assert f"`PRAGMA user_version` is the version of the schema described here: **{SCHEMA_VERSION}**" in DOCUMENT
    assert f"`PRAGMA application_id` is {schema.APPLICATION_ID} " in DOCUMENT


def test_every_column_is_documented(tmp_path: Path) -> None:
    """As SQLite sees the tables and views."""
    write(tmp_path / "p", Header(), [])
    database = sqlite3.connect(str(tmp_path / "p"))
    for table in ("file", "calls", "syscall", "series"):
        documented = [line.split(" | ")[0][2:] for line in section(table)]
        assert documented == [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    assert {line.split(" | ")[0][2:] for line in section("meta")} == {
        row[0] for row in database.execute("SELECT key FROM meta")
    }


def test_every_documented_query_runs(tmp_path: Path) -> None:
    lost = {"events": 2, "files": 0, "calls": 0}
    failed = [FailedOpen(b"/nosuch", "ENOENT", False, 2), FailedOpen(None, "ENOENT", False, 1)]
    timed = FileStats(1, b"/srv/data", series=[(2, 0, 0, 1, 512, 0, 0, 9)])
    write(tmp_path / "p", Header(host="h", command=[b"x"], lost=lost, failed_opens=failed), [*sample(50), timed])
    queries = re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL)
    assert len(queries) == 9
    database = sqlite3.connect(str(tmp_path / "p"))
    by_host, *answers = [database.execute(query).fetchall() for query in queries]
    assert by_host == [(None, sum(range(1, 51)))]
    assert answers[1] == [(4096, sum(i % 7 for i in range(50)))]
    assert answers[2][0][1:] == ("pread64", "EIO", 1) and len(answers[2]) == 50
    assert answers[3:5] == [[(2, 512)], [("/nosuch", "ENOENT", 2)]]
    assert answers[5] == [(None, sum(file.bytes_written for file in sample(50)))]
    assert answers[6:] == [[("events", 2)], [("h", json.dumps(["x"]))]]


def test_the_views_show_every_bucket_and_error(tmp_path: Path) -> None:
    read = SyscallStats(3, 5, errors={"EIO": 1}, requested={8: 3}, completed={4: 2})
    write(tmp_path / "p", Header(), [FileStats(1, b"/a", bytes_between_syncs={0: 2}, syscalls={"read": read})])
    database = sqlite3.connect(str(tmp_path / "p"))
    found = database.execute("SELECT * FROM histogram ORDER BY metric").fetchall()
    assert found[0] == (1, None, "bytes_between_syncs", 0, 2)
    assert found[1:] == [(1, "read", "completed", 4, 2), (1, "read", "requested", 8, 3)]
    assert database.execute("SELECT * FROM error").fetchall() == [(1, "read", "EIO", 1)]
