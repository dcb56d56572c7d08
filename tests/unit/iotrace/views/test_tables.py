"""Tables: that they fit, that they add up, and that no name reaches the terminal as it is."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iotrace import text
from iotrace.errors import UserError
from iotrace.globs import Selection
from iotrace.profile import reader
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.whose import WHOSE, Who
from iotrace.profile.writer import write
from iotrace.views import front, one_file, tables
from tests.unit.iotrace.views.samples import HEADER, TOP, one, sample, shown, table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    where = tmp_path / "p"
    write(where, HEADER, sample())
    return where


def test_by_file_is_sorted_cut_and_totalled(path: Path) -> None:
    output = shown(path, limit=2)
    titles, first, second, total, *_ = table(output)
    assert titles == ["READ", "WRITTEN", "CALLS", "ERRS", "SYNCS", "TIME", "F", "FILE"]
    assert first == ["22.0KiB", "22B", "24", "1", "2", "1.07ms", "m", "/srv/a/sub1/000022.log"]
    assert second[-1] == "/srv/b/sub0/000021.db"
    busy = sum(1024 * i + (1 << 20) for i in range(23))
    assert total == [
        "253KiB",
        "253B",
        "299",
        "23",
        "46",
        *text.duration(busy).replace(" ", "").split(),
        "total,",
        "23",
        "files",
    ]
    assert "21 more lines: --limit 0 shows all" in output
    assert "m: also memory-mapped" in output and "deleted while" not in output
    assert len(table(shown(path, limit=0))) == 1 + 23 + 1 + 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"by": "directory", "depth": 2}, {"/srv/a": 12, "/srv/b": 11}),
        (
            {"by": "directory"},
            {
                f"/srv/{d}/sub{n}": sum(i % 2 == "ab".index(d) and i % 3 == n for i in range(23))
                for d in "ab"
                for n in range(3)
            },
        ),
        ({"by": "extension"}, {".log": 12, ".db": 11}),
        ({"by": "extension", "selection": Selection((b"/srv/a/*",))}, {".log": 12}),
    ],
)
def test_groups_count_their_files(path: Path, options: dict[str, object], expected: dict[str, int]) -> None:
    lines = [line for line in table(shown(path, **options))[1:] if "total," not in line]
    assert {line[-1]: int(line[0]) for line in lines} == expected


def test_mounts_are_named_by_what_their_files_share(path: Path) -> None:
    names = {" ".join(line[-4:]): line[0] for line in table(shown(path, by="mount"))[1:-1]}
    assert names == {
        "1 ext4 8:0 /srv/a": "10",
        "1 ext4 8:1 /srv/b": "10",
        "2 ext4 8:0 /srv/a": "2",
        "2 ext4 8:1 /srv/b/sub0": "1",
    }


@pytest.mark.parametrize("sort", sorted(reader.SORTS))
def test_tables_sort_as_the_database_does(path: Path, sort: str) -> None:
    with reader.open(path) as profile:
        order = [text.safe(row.path) for row in profile.rows(sort, 5)]
    assert [line[-1] for line in table(shown(path, sort=sort, limit=5))[1:6]] == order


def test_several_profiles_are_added_up(path: Path) -> None:
    out = io.StringIO()
    with reader.open(path) as a, reader.open(path) as b:
        tables.show(out, [a, b], limit=1, columns=80)
    first, total = table(out.getvalue())[1:3]
    assert first[:3] == ["44.0KiB", "44B", "48"] and total[:2] == ["506KiB", "506B"]


def hostile(header_text: str, name: bytes) -> tuple[Header, list[FileStats]]:
    header = Header(
        version=header_text,
        host=header_text,
        kernel=header_text,
        command=[name],
        attach=header_text,
        filters={header_text: header_text},
        coverage={header_text: header_text},
        unattributed={header_text: {header_text: TOP}},
        lost={header_text: TOP},
        started_ns=TOP,
        overhead={header_text: header_text},
    )
    call = SyscallStats(TOP, TOP, TOP, TOP, {header_text: TOP}, {1 << 63: TOP, 0: 1}, {1: 1}, {1 << 63: TOP})
    file = FileStats(1, name, name, device=header_text, syscalls={"read": call}, sequential_read={1 << 40: TOP})
    for field in dataclasses.fields(FileStats):
        if field.type in ("int", "Optional[int]"):
            setattr(file, field.name, TOP)
    file = dataclasses.replace(file, mnt_ns=1, inode=1 << 63, fstype=header_text, deleted=True, mapped=True)
    file.who = Who("process", name)
    return header, [file]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=90).filter(lambda t: "\ud800" not in t), st.binary(min_size=1, max_size=200))
def test_no_name_drives_the_terminal_and_every_line_fits(tmp_path: Path, words: str, name: bytes) -> None:
    words, name = words.encode("utf-8", "replace").decode().replace("\0", ""), name.replace(b"\0", b"\x1b")
    write(tmp_path / "p", *hostile(words, name), force=True)
    out = io.StringIO()
    with reader.open(tmp_path / "p") as profile:
        for by in tables.GROUPS:
            if by in WHOSE[1:]:
                with pytest.raises(UserError, match=f"trace with iotrace run --by {by}"):
                    tables.show(out, [profile], by=by, columns=80)
            else:
                tables.show(out, [profile], by=by, columns=80)
        one_file.show(out, [profile], text.safe(name), columns=80)
    for line in out.getvalue().split("\n"):
        assert text.width(line) <= 80
        assert text.safe_text(line.replace("\\", "")) == line.replace("\\", "")


def test_a_terminal_without_unicode_gets_ascii(tmp_path: Path) -> None:
    file = FileStats(1, "/é/日本".encode(), sequential_read={64: 8, 128: 1})
    write(tmp_path / "p", HEADER, [file])
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, "ascii")
    with reader.open(tmp_path / "p") as profile:
        tables.show(out, [profile], columns=80)
        one_file.show(out, [profile], "/é/日本", columns=80)
    out.flush()
    assert rb"/\xc3\xa9/\xe6\x97\xa5\xe6\x9c\xac" in raw.getvalue() and b"########" in raw.getvalue()


def test_the_header_is_there_before_the_files_are_read(path: Path) -> None:
    """A million files take a second: nobody should wonder that long whether anything happens."""
    seen: List[str] = []

    class Out(io.StringIO):
        def flush(self) -> None:
            seen.append(self.getvalue())

    out = Out()
    with reader.open(path) as profile:
        tables.show(out, [profile], columns=80)
    head = out.getvalue().split("\n\n", 1)[0]
    assert seen[:2] == [head.split("\n")[0] + "\n", head + "\n\n"]
    del seen[:]
    with reader.open(path) as profile:
        front.show(Out(), [profile], columns=80)
    assert seen[0] == head.split("\n")[0] + "\n"


@pytest.mark.parametrize("by", ["file", "directory", "extension"])
def test_a_narrow_screen_shows_the_end_of_a_name(tmp_path: Path, by: str) -> None:
    """Beside the figures if there is room for it, and else below them."""
    deep = b"/" + b"/".join([b"directory"] * 30)
    files = [FileStats(1, deep + b"/base.the-end", syscalls={"read": SyscallStats(1)}), FileStats(1, deep + b"/x/y.z")]
    write(tmp_path / "p", HEADER, files)
    for columns in (50, 60, 80):
        out = io.StringIO()
        with reader.open(tmp_path / "p") as profile:
            tables.show(out, [profile], by=by, columns=columns)
        lines = out.getvalue().splitlines()
        assert max(map(text.width, lines)) <= columns and any(line.endswith("total, 2 files") for line in lines)
        end = {"file": "base.the-end", "directory": "/directory", "extension": ".the-end"}[by]
        assert any(line.endswith(end) for line in lines)


@pytest.mark.slow
def test_all_lines_of_many_files_stream(tmp_path: Path) -> None:
    """Sorted by SQLite, in a process whose memory does not grow with them."""
    program = (
        "import resource, sys; sys.path[:0] = sys.argv[2:]\n"
        "from iotrace import cli; from iotrace.profile import writer; from iotrace.profile.metrics import *\n"
        "files = (FileStats(1, b'/%d' % i, bytes_read=i * 7919 % 50021) for i in range(50000))\n"
        "writer.write(sys.argv[1], Header(), files)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert cli.main(['report', sys.argv[1], '--limit', '0', '--sort', 'read']) == 0\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, file=sys.stderr)\n"
    )
    root = str(Path(reader.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "p"), root], capture_output=True, check=True)
    names = [line.rpartition(b"/")[2] for line in done.stdout.splitlines() if b" /" in line]
    assert [int(name) for name in names] == sorted(range(50000), key=lambda i: -(i * 7919 % 50021))
    assert int(done.stderr) < 8 * 1024  # KiB; the lines' objects would take 15 MiB


def test_a_renamed_file_is_marked_and_found_by_either_name(tmp_path: Path) -> None:
    where = tmp_path / "p"
    names = {b"/db/#sql-1.ibd": b"/db/orders.ibd", b"/db/gone.ibd": None}
    write(
        where,
        HEADER,
        [
            FileStats(1, path, renamed_to=last, deleted=last is None, syscalls={"open": SyscallStats(1)})
            for path, last in names.items()
        ],
    )
    body = shown(where)
    assert [line[-2:] for line in table(body)[1:3]] == [["r", "/db/#sql-1.ibd"], ["d", "/db/gone.ibd"]]
    assert "r: renamed since" in body
    assert table(body)[3][-2:] == ["2", "files"]
    for name in ("/db/#sql-1.ibd", "/db/orders.ibd"):
        detail = one(where, name)
        assert "renamed to /db/orders.ibd" in detail and "open: 1 call\n" in detail


def test_a_temporary_file_stands_under_its_final_name(tmp_path: Path) -> None:
    where = tmp_path / "p"
    write_, close = ({"write": SyscallStats(1, 10), "close": SyscallStats(1)}, {"close": SyscallStats(1)})
    files = [
        FileStats(1, b"/db/X.lock", b"/db/X", b"/db/X", bytes_written=10, syscalls=write_),
        FileStats(1, b"/db/X", bytes_read=5, syscalls=close),
    ]
    write(where, HEADER, files)
    assert [line[:3] + line[-2:] for line in table(shown(where))[1:2]] == [["5B", "10B", "3", "t", "/db/X"]]
    opened = table(shown(where, folded=False))[1:3]
    assert [line[:3] + line[-2:] for line in opened] == [
        ["0", "10B", "2", "r", "/db/X.lock"],
        ["5B", "0", "1", "0", "0"][:3] + opened[1][-2:],
    ]
    assert opened[1][-1] == "/db/X"
    assert {line[-1]: line[0] for line in table(shown(where, by="extension"))[1:2]} == {"(none)": "1"}
    for name in ("/db/X", "/db/X.lock", "*.lock"):
        detail = one(where, name)
        assert "\n/db/X\nwith what was done when it was /db/X.lock\n" in detail and "close: 2 calls\n" in detail


def test_all_marks_of_one_file_fit(tmp_path: Path) -> None:
    where = tmp_path / "p"
    long = b"/" + b"x" * 200
    temporary = FileStats(1, long + b".tmp", long, long)
    unreachable = FileStats(2, long, renamed_to=b"/y", deleted=True, mapped=True, unreachable=True)
    write(where, HEADER, [FileStats(1, long, renamed_to=b"/y", deleted=True, mapped=True), temporary, unreachable])
    lines = shown(where).split("\n\n", 1)[1].splitlines()
    assert " dmrt  ...x" in lines[1] and " dmru  ...x" in lines[2] and lines[0].endswith(" F     FILE")
    assert all(len(line) <= 80 for line in lines)
