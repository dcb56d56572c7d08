"""Formats for other programs; `README.md` describes them. They are streamed: memory use does not grow with a profile.

Each module in this package whose name has no leading underscore is a format of that name. It has
`recognises(head, tail)`, which says whether a file that begins and ends with these bytes has been written in this
format, by any version, and one of these, or both:

- `write(runs, stream)`: write the format as one stream of bytes, with the options that `OPTIONS` names, if any; of one
  run alone if `SINGLE` is true;
- `Writer(table, stream)`: write one table; `add(row)` for each row, and `close()` at the end, or `abandon()`.

To add a format, add a module.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from types import ModuleType
from typing import BinaryIO, Callable, Iterator, List, Sequence, Tuple

from iotrace.views.formats._runs import Run, first_of, run_of
from iotrace.views.formats._tables import OF_RUNS, PARTS, TABLES, Row, Table, rows

__all__ = [
    "OF_RUNS",
    "PARTS",
    "TABLES",
    "Row",
    "Run",
    "Table",
    "are_tables",
    "first_of",
    "has_one_run",
    "has_stream",
    "has_tables",
    "is_table",
    "names",
    "options",
    "recognises",
    "rows",
    "run_of",
    "stream_writer",
    "table_writer",
]


def names() -> List[str]:
    """The names of all formats, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def has_stream(name: str) -> bool:
    """Whether the format can be one stream of everything."""
    return hasattr(_module(name), "write")


def has_tables(name: str) -> bool:
    """Whether the format can have each table by itself."""
    return hasattr(_module(name), "Writer")


def has_one_run(name: str) -> bool:
    """Whether the format is of one run, no more and no less."""
    return bool(getattr(_module(name), "SINGLE", False))


def options(name: str) -> Tuple[str, ...]:
    """The options of its own that a format takes."""
    found: Tuple[str, ...] = getattr(_module(name), "OPTIONS", ())
    return found


def stream_writer(name: str) -> Callable[..., None]:
    """The function that writes runs to a stream: `write(runs, stream, **options)`."""
    write: Callable[..., None] = _module(name).write
    return write


@contextlib.contextmanager
def table_writer(name: str, table: Table, stream: BinaryIO) -> Iterator[Callable[[Row], None]]:
    """A function that writes a row of a table, within the block; at its end the table is complete.

    Raises UserError if the format needs a package that is not installed.
    """
    writer = _module(name).Writer(table, stream)
    try:
        yield writer.add
        writer.close()
    except BaseException:
        writer.abandon()
        raise


def recognises(head: bytes, tail: bytes) -> bool:
    """Whether a file that begins and ends with these bytes has been written in one of the formats, by any version."""
    return any(_module(name).recognises(head, tail) for name in names())


def is_table(name: str, head: bytes, tail: bytes) -> bool:
    """Whether a file in a directory is a table that has been written in the format that its name says."""
    table, _, form = name.rpartition(".")
    return table.isidentifier() and form in names() and has_tables(form) and _module(form).recognises(head, tail)


def are_tables(names: Sequence[str]) -> bool:
    """Whether these may be the names of all files in a directory of tables."""
    return len({name.rpartition(".")[2] for name in names}) == 1 and any(name.startswith("run.") for name in names)
