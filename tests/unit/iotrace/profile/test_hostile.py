"""Profiles that somebody made to do harm: whatever their size and shape they end soon, in little memory, in one line.

Each goes through the commands as a process of its own. The bounds are those that are promised: 10 s and 200 MB.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, Tuple

import pytest

from iotrace.profile import database, pages, reader
from iotrace.profile.combined import combined_files, combined_rows
from iotrace.profile.metrics import Header
from iotrace.profile.writer import write
from tests.unit.iotrace.profile.bounds import COMMANDS, ROOT, run, through
from tests.unit.iotrace.profile.craft import INTERIOR_INDEX, LEAF_INDEX, Image, altered, record, root
from tests.unit.iotrace.profile.samples import sample


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "run.iotrace"
    write(path, Header(host="h", coverage={"aio": "full"}, unattributed={"read": {"EBADF": 1}}), sample(1500))
    return path


@pytest.fixture
def target(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(good, tmp_path / "run.iotrace"))


FULL = "more in its tables than a file of"


# --- pages -----------------------------------------------------------------------------------------------------------


def leaf_below(image: Image, number: int) -> int:
    """The first leaf of a table."""
    while image.kind(number) == 5:
        number = struct.unpack_from(">I", image.data, image.cells(number)[0])[0]
    return number


@pytest.mark.slow
@pytest.mark.parametrize("height", [1, 2, 5])
@pytest.mark.parametrize("table", ["file", "calls"])
def test_pages_that_hundreds_share(target: Path, table: str, height: int) -> None:
    image, top = Image.of(target), root(target, table)
    image[top] = image.fan(image.tower(leaf_below(image, top), 500, height), 500)
    image.save(target)
    said = through(target)
    assert any(FULL in line or "malformed" in line for line in said)


@pytest.mark.parametrize("table", ["file", "calls"])
def test_a_page_that_is_shared_five_levels_up_is_named_in_every_walk(target: Path, table: str) -> None:
    image, top = Image.of(target), root(target, table)
    rows = list(sqlite3.connect(str(target)).execute(f"SELECT * FROM {table} WHERE rowid = 1"))
    leaf = image.append(image.leaf([record(None, *rows[0][1:])] * 5))
    image[top] = image.fan(image.tower(leaf, 500, 4), 500)
    image.save(target)
    with reader.open(target) as profile, pytest.raises(reader.ProfileError, match=FULL):
        list(profile.files() if table == "file" else profile.syscalls())
    if table == "file":
        with reader.open(target) as profile, pytest.raises(reader.ProfileError, match=FULL):
            profile.totals()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "row", "reason"),
    [
        ("meta", record("k", "v"), "table meta has a row twice"),
        ("lost", record("z", 1), "table lost has a row twice"),
        ("unattributed", record("z", "z", 1), "table unattributed has a row twice"),
    ],
)
def test_pages_of_small_tables_that_hundreds_share(target: Path, table: str, row: bytes, reason: str) -> None:
    image = Image.of(target)
    child = image.append(image.page(LEAF_INDEX, [bytes([len(row)]) + row] * 50))
    for _ in range(5):
        cell = struct.pack(">I", child) + bytes([len(row)]) + row
        child = image.append(image.page(INTERIOR_INDEX, [cell] * 200, child))
    image[root(target, table)] = image[child]
    image.save(target)
    assert all(reason in line for line in through(target, COMMANDS[:1]))


def test_a_schema_whose_pages_are_shared(target: Path) -> None:
    image = Image.of(target)
    leaf = image.append(image.leaf([record("index", "i", "x", 9, None)]))
    page = bytearray(image.fan(image.tower(leaf, 400, 4), 400))
    image[1] = bytes(image[1][:100]) + bytes(page[:-100])  # its header is behind that of the file
    assert image.kind(1) == 5
    image.save(target)
    with pytest.raises(reader.ProfileError, match=r"a page of its schema is used twice|a cell is beyond|is cut off"):
        reader.open(target)


def test_a_schema_of_very_many_tables(target: Path) -> None:
    altered(target, "BEGIN", *(f"CREATE TABLE t{i} (a)" for i in range(2000)), "COMMIT")
    with pytest.raises(reader.ProfileError, match="its schema has more than 1,000 rows"):
        reader.open(target)


def test_one_table_of_very_many_words(target: Path) -> None:
    altered(target, f"CREATE VIEW v AS SELECT 1 IN ({'1,' * 200_000}1)")
    with pytest.raises(reader.ProfileError, match=r"or 262,144 bytes"):
        reader.open(target)


@pytest.mark.slow
def test_cells_that_lie_over_each_other(target: Path) -> None:
    """One page of 64 KiB has 10,000 rows of 30 KB: 300 MB out of a small file."""
    altered(target, "PRAGMA page_size = 65536", "VACUUM")
    image, top = Image.of(target), root(target, "calls")
    text = json.dumps({f"call{i}": [1] for i in range(1000)}) + " " * 15_000
    image[top] = image.leaf([record(None, text)] * 10_000)
    image.save(target)
    assert any(FULL in line for line in through(target))


@pytest.mark.slow
def test_a_row_that_claims_a_gigabyte(target: Path) -> None:
    """In a file of that size, which has no blocks on disk; the list of overflow pages leads into the void."""
    image, top = Image.of(target), root(target, "file")
    leaf = leaf_below(image, top)
    at = image.cells(leaf)[0]
    image.data[at : at + 5] = b"\x84" + bytes([0x80 | 0]) * 3 + b"\x00"  # 2^30
    image.save(target)
    os.truncate(target, 3 << 30)
    assert all(said for said in through(target, COMMANDS[:2]))


def test_what_python_before_3_11_must_find_by_itself(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    altered(target, f"UPDATE file SET fstype = hex(zeroblob({database.LONGEST // 2 + 1000})) WHERE id = 7")
    with open(target, "rb") as file, pytest.raises(ValueError, match=r"a row of more than 4,194,304 bytes"):
        pages.check_payloads(file.fileno(), 4096, database.LONGEST, 60)


def test_good_profiles_have_no_long_rows(good: Path) -> None:
    with open(good, "rb") as file:
        pages.check_payloads(file.fileno(), 4096, 1 << 14, 60)
        pages.check_schema(file.fileno(), 4096)


@pytest.mark.parametrize("size", [512, 1024, 65536])
def test_pages_of_any_size_are_read(target: Path, size: int) -> None:
    altered(target, f"PRAGMA page_size = {size}", "VACUUM")
    with reader.open(target) as profile:
        assert len(list(profile.files())) == 1500


# --- values and rows -------------------------------------------------------------------------------------------------

MANY = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {})"
DAMAGE: Dict[str, Tuple[str, str]] = {
    "long path": ("UPDATE file SET path = zeroblob(50000000) WHERE id = 1", "a value of more than"),
    "path": ("UPDATE file SET path = CAST(hex(zeroblob(40000)) AS BLOB)", "a path of 80,000 bytes"),
    "long text": ("UPDATE file SET fstype = hex(zeroblob(20000000)) WHERE id = 1", "a value of more than"),
    "text": ("UPDATE file SET fstype = hex(zeroblob(40000))", "text of more than"),
    "command": ("UPDATE meta SET value = json_array(hex(zeroblob(1500000))) WHERE key = 'command'", "meta has more"),
    "meta twice": ("INSERT INTO meta SELECT key || 'x', value FROM meta", ""),
    "unattributed": (MANY.format(20000) + " INSERT INTO unattributed SELECT 'read', x, 1 FROM c", "10,000 rows"),
    "failed opens": (MANY.format(20000) + " INSERT INTO failed_open SELECT NULL, x, 0, 1 FROM c", "10,000 rows"),
    "failed paths": (MANY.format(400) + " INSERT INTO failed_open SELECT zeroblob(60000), x, 0, 1 FROM c", "not"),
    "long failed paths": (
        MANY.format(400) + " INSERT INTO failed_open SELECT CAST(hex(zeroblob(30000)) AS BLOB), x, 0, 1 FROM c",
        "bytes of paths",
    ),
    "deep": ("UPDATE meta SET value = '{\"x\":' || printf('%.*c', 900, '[') || printf('%.*c', 900, ']') || '}' "
             "WHERE key = 'filters'", "more than 8 deep"),
    "nan": ("UPDATE meta SET value = '{\"x\":NaN}' WHERE key = 'overhead'", "NaN is not a number"),
    "infinite": ("UPDATE meta SET value = '{\"x\":1e999}' WHERE key = 'overhead'", "not finite"),
    "digits": ("UPDATE meta SET value = printf('%.*c', 1000000, '1') WHERE key = 'started_ns'", "too many digits"),
    "lost": ("INSERT INTO lost VALUES ('x', 'y')", "a table of counts is not valid"),
    "unattributed text": ("INSERT INTO unattributed VALUES ('read', 'x', 'y')", "a table of counts is not valid"),
    "names": ("UPDATE calls SET by_syscall = '{\"' || hex(zeroblob(1000)) || '\":[1]}'", "a name of more than"),
    "sum": ("UPDATE file SET bytes_read = 9223372036854775807", "integer overflow"),
    "utf-8": ("UPDATE file SET device = CAST(x'ff' AS TEXT)", "Could not decode"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGE)
def test_values_of_any_size_and_shape(target: Path, name: str) -> None:
    statement, reason = DAMAGE[name]
    altered(target, statement)
    said = through(target)
    large = "a row of more than"  # where Python cannot limit values (before 3.11) rows are measured beforehand
    assert any(reason in line or large in line for line in said) if reason else not any(said)


def test_rows_of_meta_for_what_has_a_table_are_others(target: Path) -> None:
    """They are no more than what anybody may add."""
    altered(target, "INSERT INTO meta VALUES ('lost', '{\"x\":\"y\"}'), ('unattributed', '5')")
    with reader.open(target) as profile:
        assert profile.header.lost == {"events": 0, "files": 0, "calls": 0}
        assert profile.header.unattributed == {"read": {"EBADF": 1}}


def test_counters_at_the_top_add_up_exactly(tmp_path: Path) -> None:
    path = tmp_path / "p"
    (file,) = sample(1)
    file.bytes_read = (1 << 63) - 1
    write(path, Header(), [file])
    ended = run("report", str(path), str(path), "--by", "file")
    assert ended.status == 0 and not ended.stderr
    with reader.open(path) as a, reader.open(path) as b:
        assert [row.sums.bytes_read for row in combined_rows([a, b])] == [(1 << 64) - 2]
        assert [found.file.bytes_read for found in combined_files([a, b], file.path)] == [(1 << 64) - 2]


@pytest.mark.slow
def test_more_kinds_of_system_calls_than_there_can_be(target: Path) -> None:
    database = sqlite3.connect(str(target))
    for number in range(1, 100):
        text = json.dumps({f"c{number}.{i}": [1] for i in range(900)})
        database.execute("UPDATE calls SET by_syscall = ? WHERE file_id = ?", (text, number))
    database.execute("UPDATE file SET path = (SELECT path FROM file WHERE id = 2), mnt_ns = 1")
    database.commit()
    database.close()
    said = through(target)
    assert "kinds of system calls" in said[5] and "system calls and errors on one file" in said[2]


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True])
def test_very_many_groups(tmp_path: Path, wide: bool) -> None:
    """Half a million directories, or mounts; or fewer of long names."""
    path = tmp_path / "p"
    write(path, Header(), sample(1))
    name = "CAST('/' || x || hex(zeroblob(3000)) || '/f' AS BLOB)" if wide else "CAST('/' || x || '/f' AS BLOB)"
    number = 40_000 if wide else 500_000
    columns = [row[1] for row in sqlite3.connect(str(path)).execute("PRAGMA table_info(file)")]
    values = ", ".join({"id": "x + 1", "path": name, "device": "x || ':1'"}.get(column, column) for column in columns)
    altered(path, f"{MANY.format(number)} INSERT INTO file SELECT {values} FROM file, c WHERE id = 1")
    said = through(path, (COMMANDS[0], *COMMANDS[3:5], ("report", "{}", "{}", "--limit", "0")))
    assert not said[0] and all("groups: --depth" in line for line in said[1:3]) and "lines to sort" in said[3]


# --- in place of tables ----------------------------------------------------------------------------------------------

BOMB = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
OTHERS: Dict[str, Tuple[str, ...]] = {
    "view": ("ALTER TABLE file RENAME TO f", f"CREATE VIEW file AS SELECT *, ({BOMB}) AS z FROM f"),
    "view before": (
        "UPDATE sqlite_master SET rowid = rowid + 100",
        "INSERT INTO sqlite_master (rowid, type, name, tbl_name, rootpage, sql) "
        f"VALUES (1, 'view', 'file', 'file', 0, 'CREATE VIEW file AS {BOMB}')",
    ),
    "temporary view": (
        "INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) "
        f"VALUES ('view', 'z', 'z', 0, 'CREATE TEMP VIEW file AS {BOMB}')",
    ),
    "virtual": ("DROP TABLE lost", "CREATE VIRTUAL TABLE lost USING fts4(what, count)"),
    "generated": ("DROP TABLE lost", "CREATE TABLE lost (what TEXT PRIMARY KEY, count AS (1)) WITHOUT ROWID"),
    "rowid": ("DROP TABLE lost", "CREATE TABLE lost (what TEXT PRIMARY KEY, count INTEGER NOT NULL)"),
    "collation": ("UPDATE sqlite_master SET sql = replace(sql, 'path BLOB', 'path BLOB COLLATE none')",),
    "check": ("UPDATE sqlite_master SET sql = replace(sql, 'path BLOB', 'path BLOB CHECK (abs(1))')",),
    "root": ("UPDATE sqlite_master SET rootpage = 1 WHERE name = 'file'",),
    "roots": ("UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'calls') "
              "WHERE name = 'file'",),
}  # fmt: skip
HARMLESS: Dict[str, Tuple[str, ...]] = {
    "trigger": (f"CREATE TRIGGER t AFTER INSERT ON file BEGIN INSERT INTO lost SELECT 'x', ({BOMB}); END",),
    "our view": ("DROP VIEW syscall", f"CREATE VIEW syscall AS {BOMB}"),
    "partial index": ("CREATE INDEX i ON file (bytes_read) WHERE length(hex(zeroblob(1000000))) > 1",),
    "statistics": ("ANALYZE", "INSERT INTO sqlite_stat1 SELECT 'file', 'x', hex(zeroblob(500000))"),
    "wal": ("PRAGMA journal_mode = WAL", "UPDATE lost SET count = count"),
    "incremental": ("PRAGMA auto_vacuum = INCREMENTAL", "VACUUM"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_nothing_else_takes_the_place_of_a_table(target: Path, name: str) -> None:
    altered(target, *OTHERS[name])
    said = through(target, (COMMANDS[0], COMMANDS[7]))
    assert all(line.startswith(f"iotrace: {target}: damaged profile: ") for line in said) or name == "temporary view"


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_never_run_does_no_harm(target: Path, name: str) -> None:
    altered(target, *HARMLESS[name])
    with reader.open(target) as profile:
        assert len(list(profile.rows("path"))) == 1500
        assert profile.totals().files == 1500


def test_text_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "p"
    altered(path, "PRAGMA encoding = 'UTF-16le'", "PRAGMA application_id = 1768911986", "PRAGMA user_version = 3",
            "CREATE TABLE t (a)")  # fmt: skip
    with pytest.raises(reader.ProfileError, match="its text is not UTF-8"):
        reader.open(path)


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
def test_what_lies_beside_a_profile_is_not_looked_at(target: Path, suffix: str) -> None:
    """A journal that would empty the file, in the name of a transaction that was cut short."""
    before = target.read_bytes()
    companion = target.with_name(target.name + suffix)
    if suffix == "-journal":
        header = bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", 0xFFFFFFFF, 0, 0, 512, 4096)
        companion.write_bytes(header.ljust(512, b"\0"))
    else:
        os.mkfifo(companion)
    with reader.open(target) as profile:
        assert len(list(profile.rows())) == 1500
    assert target.read_bytes() == before and companion.exists()


# --- files that are none ---------------------------------------------------------------------------------------------


def unreadable(place: Path) -> Iterator[Tuple[Path, str]]:
    os.mkfifo(place / "fifo")
    yield place / "fifo", "not a regular file"
    for name in ("/dev/zero", "/dev/tty", "/proc/self/fd", str(place)):
        yield Path(name), "not a regular file"
    for name in ("/proc/kmsg", "/sys/kernel/tracing/trace_pipe", "/sys/kernel/debug/tracing/trace_pipe"):
        if os.access(name, os.R_OK):
            yield Path(name), "not a profile of iotrace"
    (place / "loop").symlink_to("loop")
    yield place / "loop", "Too many levels of symbolic links"
    (place / "huge").touch()
    os.truncate(place / "huge", 1 << 40)
    yield place / "huge", "not a profile of iotrace"


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    for path, reason in unreadable(tmp_path):
        with pytest.raises(reader.ProfileError, match=reason):
            reader.open(path)


@pytest.mark.slow
def test_a_terabyte_of_holes(target: Path) -> None:
    os.truncate(target, 1 << 40)
    for line in through(target):
        assert line == "" or "damaged profile" in line


# --- patience --------------------------------------------------------------------------------------------------------


def slow_profile(target: Path) -> None:
    """Pages that are shared, in a file large enough to have many steps."""
    image, top = Image.of(target), root(target, "file")
    rows = list(sqlite3.connect(str(target)).execute("SELECT * FROM file WHERE rowid = 1"))
    leaf = image.append(image.leaf([record(None, *rows[0][1:])] * 5))
    image[top] = image.fan(image.tower(leaf, 500, 4), 500)
    image.data += b"\0" * 4096
    image.data += os.urandom(4096) * 50_000
    image.save(target)


@pytest.mark.slow
def test_a_large_file_may_be_silent_for_so_long_alone(target: Path) -> None:
    slow_profile(target)
    ended = run("report", str(target), IOTRACE_READ_SECONDS="0.5")
    assert ended.status == 2 and "no answer within 0.5 s; if you trust the file, IOTRACE_READ_SECONDS" in ended.stderr
    ended = run("report", str(target), IOTRACE_READ_SECONDS="soon")
    assert ended.status == 2 and "IOTRACE_READ_SECONDS=soon: not a number of seconds" in ended.stderr


@pytest.mark.slow
def test_ctrl_c_ends_a_query(target: Path) -> None:
    slow_profile(target)
    source = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from iotrace.cli import main; print(); sys.exit(main())"
    child = subprocess.Popen(
        [sys.executable, "-u", "-c", source, "report", str(target), "--by", "file"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "IOTRACE_READ_SECONDS": "1000"},
    )
    assert child.stdout is not None
    child.stdout.readline()
    while child.stdout.readline().strip():  # the header, which ends with an empty line: then SQLite is at work
        pass
    while cpu_seconds(child.pid) < 1:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130 and not stderr


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_what_a_handler_raises_comes_through(target: Path) -> None:
    """SQLite calls back, and would make a damaged profile of it."""

    class Enough(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Enough

    slow_profile(target)
    before = signal.signal(signal.SIGVTALRM, handler)
    try:
        with reader.open(target) as profile:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.05)
            with pytest.raises((Enough, KeyboardInterrupt)):
                profile.totals()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
