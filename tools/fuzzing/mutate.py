"""Damaged profiles: a seed names one, for ever.

A base is chosen, then one to three ways to damage it, some of which know pages, some rows, some what is in them.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import struct
from pathlib import Path
from typing import Any, Callable, List, Sequence

from iotrace.profile.metrics import HEADER, FileStats, Header, SyscallStats
from iotrace.profile.writer import write
from tests.unit.iotrace.profile.craft import INTERIOR_INDEX, INTERIOR_TABLE, LEAF_TABLE, PAGES, Image, varint

KNOWN = "/srv/1/known.dat"  # in every base

_TABLES = ("meta", "lost", "unattributed", "file", "calls")
_HEADER_BYTES = (16, 18, 19, 20, 21, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 92)
_SIZES = (0, 1, 5, 127, 128, 300, 5000, 1 << 14, 1 << 20, 1 << 22, 1 << 28, 1 << 31, 1 << 40, (1 << 55) - 1)


# --- bases -----------------------------------------------------------------------------------------------------------


def _header() -> Header:
    return Header(
        version="0.1.0",
        host="vm",
        kernel="6.1",
        machine="x86_64",
        command=[b"sh", b"-c", b"cp a b\xff"],
        started_ns=10**18,
        ended_ns=10**18 + 10**9,
        filters={"follow": True, "path": ["*.dat"]},
        attach="raw_tracepoint",
        coverage={"aio": "full", "mmap": "marked"},
        lost={"events": 0, "files": 1, "calls": 2},
        unattributed={"open": {"ENOENT": 3}, "read": {"EBADF": 1}},
        overhead={"not_measured": "no", "bystander_ns": 1.5, "own_ns": 2, "own_share": 0.1, "start_ns": 9},
    )


def _file(number: int) -> FileStats:
    path = KNOWN.encode() if number == 1 else b"/srv/%d/%d.dat" % (number % 5, number)
    count = number % 7 + 1
    calls = {
        "open": SyscallStats(2),
        "fsync": SyscallStats(2, errors={"EIO": 1}, latency_ns={1024: 1}),
        "pread64": SyscallStats(
            count, 4096 * number, 10**18, 10**18 + 7, {"EIO": 1}, {4096: count}, {4096: count - 1}, {512: count - 1}
        ),
    }
    return FileStats(
        4026531841 + number % 2,
        path,
        renamed_to=b"/srv/new%d" % number if number % 9 == 0 else None,
        device="8:1",
        inode=number,
        fstype="ext4",
        mapped=number % 5 == 0,
        opens=2,
        bytes_read=4096 * number,
        bytes_written=number * number,
        lowest_offset=0,
        highest_offset=4095,
        sequential_read={4096: 1, 0: 2},
        bytes_between_syncs={0: 1, 8192: 3},
        syscalls=calls,
    )


def make_bases(place: Path) -> List[Path]:
    """The profiles that are damaged: a few files, and more of them with pages of several sizes."""
    found = []
    for number, page_size in ((3, 4096), (60, 512), (60, 4096), (200, 1024), (300, 65536)):
        path = place / f"base-{number}-{page_size}"
        write(path, _header(), map(_file, range(1, number + 1)))
        database = sqlite3.connect(str(path), isolation_level=None)
        database.execute(f"PRAGMA page_size = {page_size}")
        database.execute("VACUUM")
        database.close()
        found.append(path)
    return found


# --- damage to bytes and pages ---------------------------------------------------------------------------------------


def _tree_pages(image: Image) -> List[int]:
    return [number for number in range(1, len(image) + 1) if image.kind(number) in PAGES]


def _random_bytes(image: Image, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        image.data[rng.randrange(len(image.data))] = rng.randrange(256)


def _file_header(image: Image, rng: random.Random) -> None:
    at = rng.choice(_HEADER_BYTES)
    struct.pack_into(">I", image.data, at, rng.choice((0, 1, 2, 3, 5, 0xFFFF, 1 << 31, rng.getrandbits(32))))


def _page_header(image: Image, rng: random.Random) -> None:
    begin = image.begin(rng.choice(_tree_pages(image)))
    at = rng.randrange(12)
    image.data[begin + at] = rng.choice((*PAGES, 0, 1, 127, 255)) if at == 0 else rng.randrange(256)


def _cell_pointers(image: Image, rng: random.Random) -> None:
    number = rng.choice(_tree_pages(image))
    begin = image.begin(number) + (12 if image.kind(number) in (INTERIOR_INDEX, INTERIOR_TABLE) else 8)
    count = len(image.cells(number))
    places = [rng.choice(image.cells(number)) % image.page_size for _ in range(count)]
    if rng.random() < 0.3:
        places = [rng.randrange(image.page_size)] * count
    if rng.random() < 0.3:  # more of them, all the same
        count = rng.choice((count, (image.page_size - 8) // 6))
        places = (places * count)[:count]
        struct.pack_into(">H", image.data, image.begin(number) + 3, count)
    room = max(0, (number * image.page_size - begin) // 2)
    struct.pack_into(f">{min(room, len(places))}H", image.data, begin, *places[:room])


def _payload(image: Image, rng: random.Random) -> None:
    """What a cell says of its size, and types of its columns."""
    number = rng.choice(_tree_pages(image))
    if not image.cells(number):
        return
    at = rng.choice(image.cells(number)) + (4 if image.kind(number) in (INTERIOR_INDEX, INTERIOR_TABLE) else 0)
    size = varint(rng.choice(_SIZES))
    if rng.random() < 0.5:
        at += rng.randrange(60)  # somewhere in the header of the row
    image.data[at : at + len(size)] = size
    del image.data[-(len(image.data) % image.page_size) or len(image.data) :]


def _children(image: Image, rng: random.Random) -> None:
    """Interior pages lead elsewhere: to a page that others lead to, to themselves, beyond the end."""
    inner = [n for n in _tree_pages(image) if image.kind(n) in (INTERIOR_INDEX, INTERIOR_TABLE) and image.cells(n)]
    if not inner:
        return
    number = rng.choice(inner)
    child = rng.choice((number, 1, len(image) + 5, 0, *_tree_pages(image)))
    cells = image.cells(number)
    for at in cells if rng.random() < 0.5 else rng.sample(cells, 1):
        struct.pack_into(">I", image.data, min(at, len(image.data) - 4), child)


def _swapped(image: Image, rng: random.Random) -> None:
    a, b = (rng.randrange(1, len(image) + 1) for _ in range(2))
    image[a], image[b] = image[b], image[a]


def _copied(image: Image, rng: random.Random) -> None:
    a, b = (rng.randrange(1, len(image) + 1) for _ in range(2))
    image[a] = image[b]


def _shared(image: Image, rng: random.Random) -> None:
    """A tower of interior pages, each with one child many times, in place of a page of a table or of an index."""
    pages = _tree_pages(image)
    number = rng.choice(pages[1:] or pages)
    if number == 1:
        return
    child, height = rng.choice((number, *pages)), rng.choice((1, 2, 3, 6, 25))
    cells = image.cells(child)
    widest = (image.page_size - 40) // 8
    if image.kind(number) in (INTERIOR_TABLE, LEAF_TABLE) or not cells:
        width = max(2, min(widest, rng.choice((2, 50, 500))))
        first = image.append(image[child]) if child == number else child
        image[number] = image.fan(image.tower(first, width, height), width)
        return
    key = bytes(image.data[cells[0] + (4 if image.kind(child) == INTERIOR_INDEX else 0) :][:100])
    child = image.append(image[child]) if child != 1 else child
    for _ in range(height):
        if image.page_size < 600:
            return
        cell = struct.pack(">I", child) + key
        child = image.append(image.page(INTERIOR_INDEX, [cell] * min(100, widest // 2), child))
    image[number] = image[child]


def _overflow(image: Image, rng: random.Random) -> None:
    """Pages of nothing but numbers of pages, as chains of overflow and lists of free pages are."""
    for _ in range(rng.choice((1, 3))):
        number = rng.randrange(2, len(image) + 1) if len(image) > 1 else 1
        struct.pack_into(">I", image.data, (number - 1) * image.page_size, rng.randrange(len(image) + 2))
    struct.pack_into(">II", image.data, 32, rng.randrange(len(image) + 2), rng.randrange(9))


def _truncated(image: Image, rng: random.Random) -> None:
    del image.data[rng.randrange(len(image.data)) :]


def _extended(image: Image, rng: random.Random) -> None:
    image.data += rng.choice((bytes(rng.randrange(200_000)), rng.getrandbits(8 * 5000).to_bytes(5000, "big")))


_ON_PAGES: Sequence[Callable[[Image, random.Random], None]] = (
    _random_bytes,
    _file_header,
    _page_header,
    _page_header,
    _cell_pointers,
    _cell_pointers,
    _payload,
    _payload,
    _children,
    _children,
    _swapped,
    _copied,
    _shared,
    _shared,
    _overflow,
    _truncated,
    _extended,
)


# --- damage to rows, and to what is in them --------------------------------------------------------------------------

_TOP = (1 << 63) - 1
_VALUES: Sequence[object] = (
    None, "", "text", b"", b"\xff\xfe", b"/a\0b", b"/\x1b[2J\x07\n", "\x1b]0;x\x07", "\u202e" * 50, "a\0b", 0, 1, -1,
    2.5, float("inf"), -(1 << 63), _TOP, str(_TOP), "7", b"x" * 70_000, "x" * 70_000, b"/" * 60_000, "/a" * 30_000,
    "é\u0301日" * 9000, b"/\xff\x01" * 20_000, "9" * 4000, "9" * 5000, "[" * 3000, "[" * 500 + "]" * 500,
)  # fmt: skip
_NUMBERS = ("0", "1", "-1", "1.5", "1e400", "NaN", "Infinity", str(_TOP), str(_TOP + 1), "9" * 5000, "true", "null")
_TEXTS = (
    '"x"',
    '"\\ud800"',
    '"\\u001b[31m"',
    '"\\u0000"',
    '""',
    '"' + "y" * 300 + '"',
    '"1"',
    '"3"',
    '"18446744073709551616"',
)


def _json(rng: random.Random, depth: int = 0) -> str:
    """JSON, or nearly."""
    kind = rng.random()
    if depth > 4 or kind < 0.3:
        return rng.choice((*_NUMBERS, *_TEXTS))
    if kind < 0.35:
        return rng.choice(("[" * 600 + "]" * 600, "{", "[1,", "", "{}" * 2, " " * 20_000 + "1"))
    parts = [_json(rng, depth + 1) for _ in range(rng.choice((0, 1, 1, 2, 4, 9)))]
    if kind < 0.6:
        return "[" + ",".join(parts) + "]"
    return "{" + ",".join(f"{rng.choice(_TEXTS)}:{part}" for part in parts) + "}"


def _changed_json(text: str, rng: random.Random) -> str:
    """JSON in which one value is another; what is no JSON is changed as text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _json(rng)
    marker = "\ue000here\ue000"
    place: Any = value
    while isinstance(place, (dict, list)) and place:
        key = rng.choice(sorted(place) if isinstance(place, dict) else range(len(place)))
        below = place[key]
        if not isinstance(below, (dict, list)) or not below or rng.random() < 0.3:
            if isinstance(place, dict) and rng.random() < 0.2:
                place[marker] = place.pop(key)
                return json.dumps(value, ensure_ascii=False).replace(
                    json.dumps(marker, ensure_ascii=False), rng.choice(_TEXTS)
                )
            place[key] = marker
            break
        place = below
    else:
        return _json(rng)
    many = "{" + ",".join(f'"k{i}":[1]' for i in range(rng.choice((100, 1025, 9000)))) + "}"
    new = rng.choice((_json(rng), _json(rng), rng.choice(_NUMBERS), many))
    return json.dumps(value, ensure_ascii=False).replace(json.dumps(marker, ensure_ascii=False), new)


def _one_value(database: sqlite3.Connection, rng: random.Random) -> None:
    table = rng.choice((*_TABLES, "file", "file", "calls"))
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    column, first = rng.choice(columns or ["x"]), (columns or ["x"])[0]
    some = f"SELECT {first} FROM {table} ORDER BY {first} LIMIT 1 OFFSET {rng.randrange(3)}"
    which = "" if rng.random() < 0.2 else f" WHERE {first} = ({some})"
    database.execute(f"UPDATE OR REPLACE {table} SET {column} = ?{which}", (rng.choice(_VALUES),))


def _meta_json(database: sqlite3.Connection, rng: random.Random) -> None:
    key = rng.choice(HEADER).name
    for (text,) in database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchall() or [("{}",)]:
        new = _changed_json(text, rng) if isinstance(text, str) and rng.random() < 0.8 else _json(rng)
        database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, new))


def _calls_json(database: sqlite3.Connection, rng: random.Random) -> None:
    number = rng.choice((1, 2, 3))
    for (text,) in database.execute("SELECT by_syscall FROM calls WHERE file_id = ?", (number,)).fetchall():
        new = _changed_json(text, rng) if isinstance(text, str) else _json(rng)
        database.execute("UPDATE calls SET by_syscall = ? WHERE file_id = ?", (new, number))


def _histogram_json(database: sqlite3.Connection, rng: random.Random) -> None:
    column = rng.choice(("sequential_read", "sequential_write", "bytes_between_syncs"))
    new = rng.choice((_json(rng), _changed_json('{"0":1,"4096":2}', rng), '{"' + "0" * 5000 + '":1}'))
    database.execute(f"UPDATE file SET {column} = ? WHERE id = ?", (new, rng.choice((1, 2, 3))))


def _more_rows(database: sqlite3.Connection, rng: random.Random) -> None:
    count = rng.choice((10, 1000, 12_000))
    source = f"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {count}) "
    database.execute(
        source
        + rng.choice(
            (
                "INSERT OR REPLACE INTO meta SELECT 'k' || x, x FROM c",
                "INSERT OR REPLACE INTO lost SELECT 'k' || x, x FROM c",
                "INSERT OR REPLACE INTO unattributed SELECT 'k' || x % 2000, 'E' || x, x FROM c",
                "INSERT OR REPLACE INTO calls SELECT x, '{\"c' || x || '\":[1]}' FROM c",
                "INSERT OR REPLACE INTO calls SELECT x, x FROM c",
            )
        )
    )


def _huge_value(database: sqlite3.Connection, rng: random.Random) -> None:
    size = rng.choice((300_000, 3_000_000, 9_000_000))
    table, column = rng.choice((("file", "path"), ("file", "fstype"), ("calls", "by_syscall"), ("meta", "value")))
    value = rng.choice((f"zeroblob({size})", f"hex(zeroblob({size}))", f"printf('%.*c', {size}, '[')"))
    limit = "rowid = 2" if table != "meta" else "key = 'command'"
    database.execute(f"UPDATE {table} SET {column} = {value} WHERE {limit}")


_BOMB = "(WITH RECURSIVE b(y) AS (SELECT 1 UNION ALL SELECT y + 1 FROM b) SELECT count(*) FROM b)"


def _schema(database: sqlite3.Connection, rng: random.Random) -> None:
    """Other objects, or other words for those that are there."""
    table = rng.choice(_TABLES)
    database.execute("PRAGMA writable_schema = ON")
    statement = rng.choice(
        (
            f"CREATE VIEW v AS SELECT {_BOMB}",
            f"CREATE TRIGGER t BEFORE UPDATE ON {table} BEGIN SELECT {_BOMB}; END",
            "CREATE INDEX i1 ON file (bytes_read DESC, path)",
            "CREATE INDEX i2 ON file (abs(inode))",
            "CREATE INDEX i3 ON calls (by_syscall)",
            "CREATE TABLE notes (a, b)",
            "ANALYZE",
            f"UPDATE sqlite_master SET sql = sql || ' ' WHERE name = '{table}'",
            f"UPDATE sqlite_master SET sql = replace(sql, 'INTEGER', 'TEXT') WHERE name = '{table}'",
            f"UPDATE sqlite_master SET rootpage = {rng.randrange(12)} WHERE name = '{table}'",
            "UPDATE sqlite_master SET rootpage = 2 WHERE type = 'table'",
            f"UPDATE sqlite_master SET type = 'view', rootpage = 0 WHERE name = '{table}'",
            f"UPDATE sqlite_master SET name = 'other' WHERE name = '{table}'",
            f"UPDATE sqlite_master SET sql = NULL WHERE name = '{table}'",
            f"DELETE FROM sqlite_master WHERE name = '{table}'",
            "DELETE FROM sqlite_master WHERE type = 'index'",
            "INSERT INTO sqlite_master SELECT * FROM sqlite_master",
            f"INSERT INTO sqlite_master VALUES ('view', 'z', 'z', 0, 'CREATE TEMP VIEW {table} AS SELECT {_BOMB}')",
            f"INSERT INTO sqlite_master VALUES ('table', 'z', 'z', 0, 'CREATE VIRTUAL TABLE {table}2 USING fts5(a)')",
            "PRAGMA user_version = 2",
            "PRAGMA user_version = 4",
        )
    )
    database.execute(statement)


_ON_ROWS: Sequence[Callable[[sqlite3.Connection, random.Random], None]] = (
    _one_value,
    _one_value,
    _one_value,
    _meta_json,
    _meta_json,
    _calls_json,
    _calls_json,
    _histogram_json,
    _more_rows,
    _huge_value,
    _schema,
    _schema,
)


def damaged(seed: int, bases: Sequence[Path], target: Path) -> List[str]:
    """Leave the profile of a seed at `target`; what was done to it."""
    rng = random.Random(seed)
    base = rng.choice(bases)
    target.write_bytes(base.read_bytes())
    done = [base.name]
    by_rows, by_pages = rng.choice(((1, 0), (2, 0), (0, 1), (0, 1), (0, 2), (1, 1), (3, 0), (0, 3)))
    for _ in range(by_rows):
        change = rng.choice(_ON_ROWS)
        done.append(change.__name__.strip("_"))
        database = sqlite3.connect(str(target), isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = OFF")
            database.execute("PRAGMA journal_mode = OFF")
            change(database, rng)
        except (sqlite3.Error, OverflowError, UnicodeError) as error:  # what SQLite does not let through
            done[-1] += f" ({error})"
        finally:
            database.close()
    if by_pages:
        image = Image.of(target)
        for _ in range(by_pages):
            damage = rng.choice(_ON_PAGES)
            done.append(damage.__name__.strip("_"))
            if len(image.data) >= 2 * image.page_size and _tree_pages(image):
                damage(image, rng)
        if rng.random() < 0.7 and len(image.data) > 100:
            image.save(target)
        else:
            target.write_bytes(image.data)
    return done


def scratch() -> str:
    """Where work files belong: in memory, if the system has a place for that."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/var/tmp"
