"""Reading a profile: what goes in comes out, and nothing else is let in."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace.errors import IotraceError
from iotrace.globs import Selection
from iotrace.profile import reader
from iotrace.profile.metrics import FIRST_VERSION, SCHEMA_VERSION, FileStats, Header
from iotrace.profile.writer import write
from tests.unit.iotrace.profile.samples import TOP, files, headers, maybe, sample


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "run.iotrace"


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(headers, st.lists(files, max_size=3, unique_by=lambda file: (file.mnt_ns, file.path)))
def test_what_is_written_is_read(target: Path, header: Header, written: list[FileStats]) -> None:
    write(target, header, written, force=True)
    with reader.open(target) as profile:
        assert profile.header == header
        assert list(profile.files()) == written


@pytest.mark.parametrize("name", [b"a b?mode=rw#c%20d&e", b"caf\xc3\xa9+~", b"\xff\n;=:@"])
def test_any_name_of_a_profile_is_one_file(tmp_path: Path, name: bytes) -> None:
    """SQLite is given a URI."""
    target = tmp_path / os.fsdecode(name)
    write(target, Header(), sample(3))
    with reader.open(target) as profile:
        assert len(list(profile.files())) == 3


def test_sorting_limits_and_globs(target: Path) -> None:
    write(target, Header(), sample(300))
    with reader.open(target) as profile:
        assert [file.inode for file in profile.files("read", 3)] == [299, 298, 297]
        assert [file.inode for file in profile.files("written", 2)] == [0, 1]
        assert [row.path for row in profile.rows("path", 2)] == [b"/srv/000/000000.dat", b"/srv/000/000100.dat"]
        chosen = Selection((b"/srv/00[12]/*", b"*7.dat"), (b"*/0002*",))
        expected = [i for i in range(200) if i % 100 in (1, 2) or i % 10 == 7]
        assert [file.inode for file in profile.files(selection=chosen)] == expected
        assert sum(call.calls for name, call in profile.syscalls(chosen) if name == "pread64") == sum(
            i % 7 + 1 for i in expected
        )


def test_an_unknown_order_is_not_the_fault_of_the_profile(target: Path) -> None:
    write(target, Header(), sample(3))
    with reader.open(target) as profile:
        for walk in (profile.files, profile.rows):
            with pytest.raises(ValueError, match="cannot be sorted by 'size', but by bytes, read"):
                next(walk("size"))


@pytest.mark.parametrize("name", [b"\xff\x1b\n", b"[a]*?", b"plain", "日本".encode()])
def test_a_file_is_found_by_its_exact_name(target: Path, name: bytes) -> None:
    others = [b"/" + other for other in (b"a", b"plain2", b"\xfe\x1b\n")]
    write(target, Header(), [FileStats(ns, path) for path in (*others, b"/" + name) for ns in (1, 2)])
    with reader.open(target) as profile:
        assert [(file.mnt_ns, file.path) for file in profile.find(b"/" + name)] == [(1, b"/" + name), (2, b"/" + name)]


@pytest.mark.slow
def test_a_hundred_thousand_files_stream(target: Path) -> None:
    program = (
        "import resource, sys; sys.path[:0] = sys.argv[2:]\n"
        "from iotrace.profile import reader, writer; from iotrace.profile.metrics import *\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "names = ('open', 'read', 'close')\n"
        "files = (FileStats(1, b'/%d' % i, syscalls={name: SyscallStats(i, requested={1: i}) for name in names})"
        " for i in range(100000))\n"
        "writer.write(sys.argv[1], Header(), files)\n"
        "with reader.open(sys.argv[1]) as profile:\n"
        "    print(sum(file.syscalls['read'].requested.get(1, 0) for file in profile.files()))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    root = str(Path(reader.__file__).parents[2])
    out = subprocess.run([sys.executable, "-c", program, str(target), root], stdout=subprocess.PIPE, check=True).stdout
    total, grown_kib = map(int, out.split())
    assert total == sum(range(100000))
    assert grown_kib < 20 * 1024  # the objects of all files together would take 200 MiB


# --- hostile files ---------------------------------------------------------------------------------------------------


def read_all(path: Path) -> None:
    with reader.open(path) as profile:
        list(profile.files("latency"))
        list(profile.rows("path"))
        list(profile.syscalls())


def refused(path: Path) -> str:
    with pytest.raises(reader.ProfileError) as caught:
        read_all(path)
    assert caught.value.status == 2
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def test_what_is_no_profile_is_told_apart(tmp_path: Path) -> None:
    place = tmp_path / "x"
    assert "No such file" in refused(place)
    place.write_bytes(b"")
    assert "not a profile" in refused(place)
    place.write_bytes(os.urandom(5000))
    assert "not a profile" in refused(place)
    place.unlink()
    place.mkdir()
    assert "not a regular file" in refused(place)
    place.rmdir()
    os.mkfifo(place)
    assert "not a regular file" in refused(place)
    place.unlink()
    sqlite3.connect(str(place)).execute("CREATE TABLE t (x)").connection.close()
    assert "but not a profile" in refused(place)


def altered(target: Path, *statements: str) -> Path:
    write(target, Header(host="h", coverage={"aio": "full"}), sample(), force=True)
    database = sqlite3.connect(str(target), isolation_level=None)
    for statement in statements:
        database.execute(statement)
    database.close()
    return target


def test_a_newer_schema_asks_for_an_upgrade(target: Path) -> None:
    newer, older = SCHEMA_VERSION + 1, FIRST_VERSION - 1
    assert f"newer iotrace (schema {newer}, this one reads" in refused(
        altered(target, f"PRAGMA user_version = {newer}")
    )
    assert f"older iotrace (schema {older}, this one reads" in refused(
        altered(target, f"PRAGMA user_version = {older}")
    )


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP TABLE calls",),
        ("DROP TABLE file", "CREATE VIEW file AS SELECT * FROM calls"),
        ("DROP TABLE lost", "CREATE TABLE lost (what TEXT PRIMARY KEY, count INTEGER NOT NULL)"),
        ("ALTER TABLE file ADD COLUMN more",),
        ("UPDATE file SET opens = 'many'",),
        ("UPDATE file SET opens = -1",),
        ("UPDATE file SET opens = 1.5",),
        ("UPDATE file SET calls = x'00'",),
        ("UPDATE file SET path = 'text'",),
        ("UPDATE file SET path = x'2f0041'",),
        ("UPDATE file SET renamed_to = 7",),
        ("UPDATE file SET device = x'00'",),
        ("UPDATE file SET inode = 'i'",),
        ("UPDATE file SET first_read_ns = -5",),
        ("UPDATE file SET sequential_read = '{\"3\":1}'",),
        ("UPDATE file SET sequential_read = '{\"18446744073709551616\":1}'",),
        ("UPDATE file SET sequential_read = '{\"-1\":1}'",),
        ("UPDATE file SET sequential_read = 4",),
        *(
            (f"UPDATE calls SET by_syscall = '{text}'",)
            for text in (
                "",
                "{",
                "[1]",
                "null",
                '{"read":1}',
                '{"read":[]}',
                '{"read":["x"]}',
                '{"read":[-1]}',
                '{"read":[1.5]}',
                '{"read":[null]}',
                '{"read":[true]}',
                '{"read":[9223372036854775808]}',
                '{"read":[1,0,9223372036854775808]}',
                '{"read":[1,0,-1]}',
                '{"read":[1,0,null,null,[]]}',
                '{"read":[1,0,null,null,{"EIO":{}}]}',
                '{"read":[1,0,null,null,null,null,null,[1]]}',
                '{"read":[1,0,null,null,null,{"3":1}]}',
                '{"read":[1,0,null,null,null,null,null,{"1":-1}]}',
                '{"read":[1,0,null,null,null,null,null,{"1":true}]}',
                '{"read":[1,0,null,null,null,null,null,{"1":1e400}]}',
                '{"read":[1,0,null,null,null,null,null,{"1":9223372036854775808}]}',
                '{"read":[1,0,null,null,null,null,null,null,null]}',
            )
        ),
        ("UPDATE calls SET by_syscall = printf('%.*c', 100000, '[')",),
        ("UPDATE calls SET by_syscall = printf('%.*c', 10000000, ' ')",),
        ("UPDATE calls SET by_syscall = 7",),
        ("UPDATE calls SET by_syscall = x'ff'",),
        ("UPDATE calls SET by_syscall = CAST(x'ff' AS TEXT)",),
        ("UPDATE file SET sequential_read = printf('%.*c', 100000, '[')",),
        ("UPDATE meta SET value = '5' WHERE key = 'host'",),
        ("UPDATE meta SET value = '[5]' WHERE key = 'command'",),
        ("UPDATE meta SET value = '{\"aio\": {}}' WHERE key = 'coverage'",),
        ("UPDATE meta SET value = '1e999' WHERE key = 'started_ns'",),
        ("UPDATE meta SET value = '99999999999999999999' WHERE key = 'ended_ns'",),
        ("UPDATE meta SET value = printf('%.*c', 100000, '[') WHERE key = 'filters'",),
        ("UPDATE lost SET count = 'none'",),
        ("INSERT INTO unattributed VALUES ('read', x'00', 1)",),
    ],
)
def test_damage_is_refused_in_one_line(target: Path, statements: tuple[str, ...]) -> None:
    assert "damaged profile" in refused(altered(target, *statements))


@pytest.mark.parametrize("column", ["path", "renamed_to"])
def test_a_path_that_is_text_is_refused_whatever_is_selected(target: Path, column: str) -> None:
    """Text that is not UTF-8 does not even get as far as the selection."""
    altered(target, f"UPDATE file SET {column} = CAST(x'2fff' AS TEXT) WHERE id = 2")
    with reader.open(target) as profile, pytest.raises(reader.ProfileError, match="decode to UTF-8"):
        list(profile.files(selection=Selection((b"*a*",), (b"*zz*",))))


def test_what_others_add_is_ignored(target: Path) -> None:
    altered(target, "CREATE INDEX i ON file (path)", "CREATE TABLE notes (t)", "INSERT INTO meta VALUES ('more', '{')")
    read_all(target)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, TOP), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6), maybe)
def test_random_damage_never_escapes_as_another_error(target: Path, patches: Any, cut: Any) -> None:
    target.unlink(missing_ok=True)
    write(target, Header(), sample(40))
    raw = bytearray(target.read_bytes())
    for where, what in patches:
        raw[where % len(raw) : where % len(raw) + len(what)] = what
    target.write_bytes(raw[: cut % len(raw)] if cut is not None else raw)
    try:
        read_all(target)
    except IotraceError as error:
        assert "\n" not in str(error)
