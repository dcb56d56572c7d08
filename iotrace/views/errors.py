"""Which calls failed, how, how often and on what: files, paths that could not be opened, and what is no file."""

from __future__ import annotations

import heapq
import itertools
from typing import Dict, Iterator, NamedTuple, Optional, Sequence, TextIO, Tuple

from iotrace import text
from iotrace.errors import Failure, UserError
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.combined import combined_header, on_hosts
from iotrace.profile.folding import final_name
from iotrace.profile.metrics import FileStats
from iotrace.profile.reader import Profile
from iotrace.views.grid import Grid, Row, write
from iotrace.views.header import heading
from iotrace.views.screen import Screen

_MOST = 100_000  # lines that are added up
_OTHERS, _NO_FILE = b"(other paths)", b"(no file)"


class _Failed(NamedTuple):
    """What failed in the same way, on the same path."""

    path: bytes
    host: str
    call: str
    errno: str


def _of_files(profile: Profile, selection: Selection, folded: bool) -> Iterator[Tuple[_Failed, int]]:
    files = profile.files("errors", 0, selection)
    for file in on_hosts(profile, itertools.takewhile(_has_failures, files)):
        name = final_name(file) if folded else file.path
        for call, stats in file.syscalls.items():
            for errno, count in stats.errors.items():
                yield _Failed(name, file.host or "", call, errno), count


def _has_failures(file: FileStats) -> bool:
    return any(call.errors for call in file.syscalls.values())


def _of_others(profile: Profile, selection: Selection) -> Iterator[Tuple[_Failed, int]]:
    """Opens that failed, and calls on what is no file, of which nothing is selected by path."""
    header, host = profile.header, profile.host
    wanted = selection.matcher()
    for failed in header.failed_opens:
        if selection == EVERYTHING or (failed.path is not None and wanted(failed.path)):
            path = _OTHERS if failed.path is None else failed.path + (b"..." if failed.cut else b"")
            yield _Failed(path, host, "open", failed.errno), failed.times
    if selection == EVERYTHING:
        for call, errors in header.unattributed.items():
            if call != "open" or not header.failed_opens:  # those are told by path
                for errno, count in errors.items():
                    yield _Failed(_NO_FILE, host, call, errno), count


def made(profiles: Sequence[Profile], selection: Selection = EVERYTHING, *, folded: bool = True) -> Dict[_Failed, int]:
    """What failed, and how often. Raises UserError if that is more than fits into memory."""
    found: Dict[_Failed, int] = {}
    for profile in profiles:
        for failed, count in itertools.chain(_of_files(profile, selection, folded), _of_others(profile, selection)):
            found[failed] = found.get(failed, 0) + count
            if len(found) > _MOST:
                raise UserError(f"more than {_MOST:,} lines of errors: --path or --exclude make them fewer")
    return found


def show(
    out: TextIO,
    profiles: Sequence[Profile],
    selection: Selection = EVERYTHING,
    *,
    folded: bool = True,
    limit: int = 20,
    form: str = "text",
    details: bool = False,
    columns: Optional[int] = None,
) -> None:
    """Write them, the most frequent first, at most `limit`, 0 for all. Raises Failure if a selection has none."""
    if form == "text":
        heading(Screen(out, columns), combined_header(profiles), details)
    found = made(profiles, selection, folded=folded)
    if not found and selection != EVERYTHING:
        raise Failure("no call on what --path and --exclude leave has failed")
    order = heapq.nsmallest(limit or len(found), found, lambda failed: (-found[failed], failed))
    rows = [
        Row(each.path, (each.host,), (found[each], each.call, each.errno), (text.number(found[each]), *_safe(each)))
        for each in order
    ]
    total = (text.number(sum(found.values())), "", "")
    titles = ("TIMES", "CALL", "ERROR")
    grid = Grid("path", ("host",), ("times", "call", "errno"), titles, rows, ("total", total), len(found) - len(rows))
    if form == "text" and not found:
        out.write("no call has failed\n")
        return
    write(out, grid, form, columns)


def _safe(failed: _Failed) -> Tuple[str, str]:
    return text.safe_text(failed.call), text.safe_text(failed.errno)
