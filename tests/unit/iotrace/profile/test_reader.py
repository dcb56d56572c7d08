"""The SQLite file: what goes in comes out, and nothing else is let in."""

import contextlib
import errno
import json
import os
import re
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace.errors import Failure, IotraceError, UserError
from iotrace.profile import reader as profile
from iotrace.profile.model import FileStats, Header, SyscallStats
from iotrace.profile.writer import Writer

TOP = (1 << 63) - 1
counters = st.integers(0, TOP)
maybe = st.none() | counters
buckets = st.just(0) | st.integers(0, 63).map(lambda k: 1 << k)
histograms = st.dictionaries(buckets, st.integers(1, TOP), max_size=4)
errors = st.dictionaries(st.sampled_from(sorted(errno.errorcode.values())), st.integers(1, TOP), max_size=3)
paths = st.binary(min_size=1, max_size=60).map(lambda path: path.replace(b"\0", b"0"))
calls = st.builds(SyscallStats, counters, counters, errors, histograms, histograms, histograms, maybe, maybe)
files = st.builds(
    FileStats,
    mnt_ns=counters,
    path=paths,
    renamed_to=st.none() | paths,
    device=st.sampled_from(("8:1", "0:45")),
    inode=st.integers(0, (1 << 64) - 1),
    fstype=st.sampled_from(("ext4", "fuse.sshfs", "")),
    incarnations=counters,
    deleted=st.booleans(),
    mapped=st.booleans(),
    opens=counters,
    closes=counters,
    bytes_read=counters,
    bytes_written=counters,
    bytes_synced=counters,
    bytes_unsynced=counters,
    rewrites=counters,
    lowest_offset=maybe,
    highest_offset=maybe,
    direct_calls=counters,
    durable_writes=counters,
    first_read_ns=maybe,
    last_read_ns=maybe,
    first_write_ns=maybe,
    last_write_ns=maybe,
    last_sync_ns=maybe,
    syscalls=st.dictionaries(st.sampled_from(("read", "pwrite64", "fsync", "uring_readv")), calls, max_size=3),
    sequential_read=histograms,
    sequential_write=histograms,
    bytes_between_syncs=histograms,
)
counts = st.dictionaries(st.sampled_from(("EBADF", "EINTR")), counters, min_size=1)
headers = st.builds(
    Header,
    version=st.text(),
    host=st.text(),
    kernel=st.text(),
    machine=st.just("x86_64"),
    command=st.lists(paths, max_size=3),
    started_ns=counters,
    ended_ns=counters,
    filters=st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text())),
    attach=st.just("fentry"),
    coverage=st.dictionaries(st.text(), st.text()),
    lost=st.fixed_dictionaries({"events": counters, "files": counters, "calls": counters}),
    unattributed=st.dictionaries(st.sampled_from(("read", "close")), counts),
    overhead=st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False)),
)


def sample(count: int = 3) -> Iterator[FileStats]:
    for i in range(count):
        yield FileStats(
            4026531841,
            b"/srv/%03d/%06d.dat" % (i % 100, i),
            device="8:1",
            inode=i,
            fstype="ext4",
            opens=1,
            bytes_read=4096 * i,
            bytes_written=count - i,
            sequential_read={4096: 1},
            syscalls={
                "open": SyscallStats(1),
                "close": SyscallStats(1),
                "pread64": SyscallStats(
                    i % 7 + 1, 4096 * i, {"EIO": 1}, {4096: i % 7 + 1}, {4096: i % 7}, {512: i % 7}
                ),
            },
        )


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "run.iotrace"


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(headers, st.lists(files, max_size=3, unique_by=lambda file: (file.mnt_ns, file.path)))
def test_what_is_written_is_read(target: Path, header: Header, written: "list[FileStats]") -> None:
    profile.write(target, header, written)
    with profile.open(target) as reader:
        assert reader.header == header
        assert list(reader.files()) == written


def test_sorting_limits_and_globs(target: Path) -> None:
    profile.write(target, Header(), sample(300))
    with profile.open(target) as reader:
        assert [file.inode for file in reader.files("read", 3)] == [299, 298, 297]
        assert [file.inode for file in reader.files("written", 2)] == [0, 1]
        assert [row.path for row in reader.rows("path", 2)] == [b"/srv/000/000000.dat", b"/srv/000/000100.dat"]
        chosen = profile.Selection((b"/srv/00[12]/*", b"*7.dat"), (b"*/0002*",))
        expected = [i for i in range(200) if i % 100 in (1, 2) or i % 10 == 7]
        assert [file.inode for file in reader.files(selection=chosen)] == expected
        assert sum(call.calls for name, call in reader.syscalls(chosen) if name == "pread64") == sum(
            i % 7 + 1 for i in expected
        )


@pytest.mark.parametrize("name", [b"\xff\x1b\n", b"[a]*?", b"plain", "日本".encode()])
def test_a_file_is_found_by_its_exact_name(target: Path, name: bytes) -> None:
    others = [b"/" + other for other in (b"a", b"plain2", b"\xfe\x1b\n")]
    profile.write(target, Header(), [FileStats(ns, path) for path in (*others, b"/" + name) for ns in (1, 2)])
    with profile.open(target) as reader:
        assert [(file.mnt_ns, file.path) for file in reader.find(b"/" + name)] == [(1, b"/" + name), (2, b"/" + name)]


def test_several_profiles_add_up(tmp_path: Path) -> None:
    for name, count in (("a", 10), ("b", 5)):
        profile.write(tmp_path / name, Header(), sample(count))
    with profile.open(tmp_path / "a") as a, profile.open(tmp_path / "b") as b:
        rows = list(profile.combined_rows([a, b]))
        assert [row.bytes_read for row in rows] == [4096 * i * (2 if i < 5 else 1) for i in range(10)]
        (file,) = profile.combined_files([a, b], b"/srv/003/000003.dat")
        assert (file.opens, file.syscalls["pread64"].calls) == (2, 8)


@pytest.mark.slow
def test_a_hundred_thousand_files_stream(target: Path) -> None:
    program = (
        "import resource, sys; sys.path[:0] = sys.argv[2:]\n"
        "from iotrace.profile import reader as profile; from iotrace.profile.model import *\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "names = ('open', 'read', 'close')\n"
        "files = (FileStats(1, b'/%d' % i, syscalls={name: SyscallStats(i, requested={1: i}) for name in names})"
        " for i in range(100000))\n"
        "profile.write(sys.argv[1], Header(), files)\n"
        "with profile.open(sys.argv[1]) as reader:\n"
        "    print(sum(file.syscalls['read'].requested.get(1, 0) for file in reader.files()))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    root = str(Path(profile.__file__).parents[2])
    out = subprocess.run([sys.executable, "-c", program, str(target), root], stdout=subprocess.PIPE, check=True).stdout
    total, grown_kib = map(int, out.split())
    assert total == sum(range(100000))
    assert grown_kib < 20 * 1024  # the objects of all files together would take 200 MiB


# --- atomicity -------------------------------------------------------------------------------------------------------


def test_a_failing_producer_leaves_the_old_profile_alone(target: Path) -> None:
    profile.write(target, Header(host="old"), [])

    def failing() -> Iterator[FileStats]:
        yield from sample()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile.write(target, Header(host="new"), failing())
    assert os.listdir(target.parent) == [target.name]
    with profile.open(target) as reader:
        assert reader.header.host == "old"


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """Within the block no file grows beyond so many bytes, as if the disk were full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 4096, 8192, 20_000, 200_000])
def test_a_full_disk_leaves_the_old_profile_alone(target: Path, size: int) -> None:
    """Whenever it fills up: when the file is created, while it is being filled, when all that is left is written."""
    profile.write(target, Header(host="old"), [])
    before = target.read_bytes()
    with room_for(size), pytest.raises(Failure) as caught:
        profile.write(target, Header(host="new"), sample(20_000))
    assert str(target) in str(caught.value) and "\n" not in str(caught.value)
    assert target.read_bytes() == before
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 4096, 200_000])
def test_what_a_full_disk_has_spoilt_is_never_finished(target: Path, size: int) -> None:
    """Not even if there is room again by then: rows are missing, or there twice."""
    profile.write(target, Header(host="old"), [])
    before = target.read_bytes()
    with Writer(target) as writer:
        with room_for(size), pytest.raises(Failure):
            for file in sample(20_000):
                writer.add_file(file)
        with pytest.raises(Failure):
            writer.finish(Header())
    assert target.read_bytes() == before
    assert os.listdir(target.parent) == [target.name]


def test_a_number_that_does_not_fit_is_refused(target: Path) -> None:
    with pytest.raises(Failure):
        profile.write(target, Header(), [FileStats(1, b"/a", opens=1 << 63)])
    assert not target.exists()


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for place in (tmp_path, tmp_path / "fifo", "/dev/null"):
        with pytest.raises(UserError):
            profile.write(place, Header(), [])
    with pytest.raises(Failure, match="No such file"):
        profile.write(tmp_path / "absent" / "p", Header(), [])


def test_a_link_is_followed_and_the_umask_obeyed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    old = os.umask(0o027)
    try:
        profile.write(tmp_path / "link", Header(), [])
    finally:
        os.umask(old)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


def test_names_that_mean_something_in_a_uri(tmp_path: Path) -> None:
    for name in (b"a?mode=rwc", b"b#c", b"%41", b"\xff\n", b"n" * 255):
        path = os.fsencode(tmp_path) + b"/" + name
        profile.write(path, Header(host="h"), [])
        with profile.open(path) as reader:
            assert reader.header.host == "h"
        os.unlink(path)


# --- hostile files ---------------------------------------------------------------------------------------------------


def read_all(path: Path) -> None:
    with profile.open(path) as reader:
        list(reader.files("latency"))
        list(reader.rows("path"))
        list(reader.syscalls())


def refused(path: Path) -> str:
    with pytest.raises(profile.ProfileError) as caught:
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
    profile.write(target, Header(host="h", coverage={"aio": "full"}), sample())
    database = sqlite3.connect(str(target), isolation_level=None)
    for statement in statements:
        database.execute(statement)
    database.close()
    return target


def test_a_newer_schema_asks_for_an_upgrade(target: Path) -> None:
    assert "newer iotrace (schema 3" in refused(altered(target, "PRAGMA user_version = 3"))
    assert "older iotrace (schema 1" in refused(altered(target, "PRAGMA user_version = 1"))


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
def test_damage_is_refused_in_one_line(target: Path, statements: "tuple[str, ...]") -> None:
    assert "damaged profile" in refused(altered(target, *statements))


def test_what_others_add_is_ignored(target: Path) -> None:
    altered(target, "CREATE INDEX i ON file (path)", "CREATE TABLE notes (t)", "INSERT INTO meta VALUES ('more', '{')")
    read_all(target)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, TOP), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6), maybe)
def test_random_damage_never_escapes_as_another_error(target: Path, patches: Any, cut: Any) -> None:
    profile.write(target, Header(), sample(40))
    raw = bytearray(target.read_bytes())
    for where, what in patches:
        raw[where % len(raw) : where % len(raw) + len(what)] = what
    target.write_bytes(raw[: cut % len(raw)] if cut is not None else raw)
    try:
        read_all(target)
    except IotraceError as error:
        assert "\n" not in str(error)


# --- the documentation -----------------------------------------------------------------------------------------------

SCHEMA = (Path(profile.__file__).parent / "SCHEMA.md").read_text()


def test_every_documented_query_runs(target: Path) -> None:
    profile.write(target, Header(host="h", command=[b"x"], lost={"events": 2, "files": 0, "calls": 0}), sample(50))
    queries = re.findall(r"```sql\n(.*?)```", SCHEMA, re.DOTALL)
    assert len(queries) == 5
    database = sqlite3.connect(str(target))
    answers = [database.execute(query).fetchall() for query in queries]
    assert answers[1] == [(4096, sum(i % 7 for i in range(50)))]
    assert answers[2][0][1:] == ("pread64", "EIO", 1) and len(answers[2]) == 50
    assert answers[3:] == [[("events", 2)], [("h", json.dumps(["x"]))]]


def test_every_column_is_documented(target: Path) -> None:
    profile.write(target, Header(), [])
    database = sqlite3.connect(str(target))
    sections = {part.split(":")[0].split("\n")[0]: part for part in SCHEMA.split("\n## ")}

    def documented(section: str) -> "set[str]":
        cells = re.findall(r"^\| ([a-z_, ]+) \|", sections[section], re.MULTILINE)
        return {name for cell in cells for name in cell.split(", ")} - {"column", "key"}

    for table in ("file", "calls", "syscall"):
        assert documented(table) == {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
    assert documented("meta") == {row[0] for row in database.execute("SELECT key FROM meta")}


def test_the_views_show_every_bucket_and_error(target: Path) -> None:
    read = SyscallStats(3, 5, {"EIO": 1}, {8: 3}, {4: 2})
    file = FileStats(1, b"/a", bytes_between_syncs={0: 2}, syscalls={"read": read})
    profile.write(target, Header(), [file])
    database = sqlite3.connect(str(target))
    rows = database.execute("SELECT * FROM histogram ORDER BY metric").fetchall()
    assert rows[0] == (1, None, "bytes_between_syncs", 0, 2)
    assert rows[1:] == [(1, "read", "completed", 4, 2), (1, "read", "requested", 8, 3)]
    assert database.execute("SELECT * FROM error").fetchall() == [(1, "read", "EIO", 1)]
