"""The first screen: what was read, written and synced, how, which files matter, and what is not in these numbers."""

from __future__ import annotations

import shlex
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, TextIO, Tuple

from iotrace import text
from iotrace.findings.engine import Finder
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.activity import Activity, Sizes, Transfers
from iotrace.profile.combined import combined_activity, combined_header, combined_rows
from iotrace.profile.latencies import Latencies, exactness
from iotrace.profile.metrics import Header
from iotrace.profile.reader import Profile
from iotrace.profile.rows import FileRow
from iotrace.profile.runs import hosts
from iotrace.profile.whose import WHOSE
from iotrace.views import findings, summary
from iotrace.views.header import not_opened, place, sentences, show_header, subject, what_is_missing, what_was_traced
from iotrace.views.screen import Screen
from iotrace.views.summary import Whole

__all__ = ["completeness", "errors", "order", "place", "quantiles", "show", "sizes", "subject"]

_FINDINGS = 3  # that are shown

# --- the lines for reads, writes and syncs ---------------------------------------------------------------------------


def order(transfers: Transfers) -> str:
    """In which order the file was gone through, by what most calls did."""
    if not transfers.moved:
        return ""
    random = transfers.random
    return f"{text.share(random)} random" if random >= 0.5 else f"{text.share(1 - random)} sequential"


def sizes(found: Sizes) -> str:
    """The most frequent exact sizes and their shares."""
    most = [(size, count) for size, count in found.most_frequent(2) if count * 20 >= found.total]
    return " ".join(f"{text.exact_size(size)} x{text.share(count / found.total)}" for size, count in most)


def quantiles(latencies: Latencies) -> str:
    """Median, 99th percentile and maximum; empty if nothing was timed."""
    median, late = latencies.quantile(0.5), latencies.quantile(0.99)
    if median is None or late is None:
        return ""
    most = f"max {text.duration(latencies.most)}" if latencies.most else ""
    return f"p50 {text.duration(median):<8} p99 {text.duration(late):<8} {most}".rstrip()


def _transfers(verb: str, found: Transfers) -> Optional[List[str]]:
    if not found.calls:
        return None
    calls = text.counted(found.calls, "call")
    storage = f"{text.share(found.from_storage)} from storage" if found.storage_bytes else ""
    return [verb, text.size(found.bytes), calls, order(found), sizes(found.sizes), storage, quantiles(found.latencies)]


def _syncs(whole: Activity) -> Optional[List[str]]:
    found = whole.syncs
    if not found.calls:
        return None
    each = f"{text.size(round(found.bytes / found.calls))} each"
    calls = text.counted(found.calls, "call")
    return ["synced", text.size(found.bytes), calls, each, "", "", quantiles(found.latencies)]


def _show_aligned(screen: Screen, lines: Sequence[Sequence[str]]) -> None:
    """Show cells in columns; where they are too wide for the screen, what does not fit goes on a line of its own."""
    widths = [max(text.width(cell) for cell in column) for column in zip(*lines)]
    for cells in lines:
        row = f"{cells[0]:<{widths[0]}} {cells[1]:>{widths[1]}}  {cells[2]:>{widths[2]}}"
        rest = [f"{cell:<{width}}" for cell, width in zip(cells[3:], widths[3:]) if width]
        indent = widths[0] + 1
        for cell in rest:
            if not cell.strip() and screen.columns < 100:
                continue
            if text.width(f"{row}  {cell}".rstrip()) > screen.columns:
                screen.line(row)
                row = " " * indent + cell
            else:
                row += "  " + cell
        screen.line(row)


def show_activity(screen: Screen, whole: Activity) -> None:
    """Show a line each for what was read, written and synced; and one for opens if there is nothing else."""
    lines = [line for line in (_transfers("read", whole.read), _transfers("written", whole.written)) if line]
    lines += [line for line in (_syncs(whole),) if line]
    if lines:
        _show_aligned(screen, lines)
        if any(line[-1] for line in lines):
            coarse = any(part.latencies.coarse for part in (whole.read, whole.written, whole.syncs))
            screen.wrapped(f"p50: half of the calls took no longer; p99: 99% of them; both {exactness(coarse)}")
    else:
        screen.line(f"no data was read or written; {text.counted(whole.opens, 'open')}")


def completeness(header: Header, whole: Activity) -> str:
    """Whether anything was lost, and what is in none of the numbers."""
    return "; ".join(sentences(header, whole.mapped))


def _most(errors: Dict[str, int]) -> str:
    """The most frequent of some errors."""
    most = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count:,}" for name, count in most[:4]) + (", ..." if len(most) > 4 else "")


def errors(header: Header, whole: Activity) -> Iterator[str]:
    """Which errors there were: on files, on what is no file, and of opens, whose paths are named."""
    on_none = {
        f"{call} {errno}": count
        for call, found in header.unattributed.items()
        for errno, count in found.items()
        if call != "open" or not header.failed_opens
    }
    for title, table in (("failed calls", whole.errors), ("failed calls on no file", on_none)):
        if table:
            yield f"{title}: {sum(table.values()):,}: {_most(table)}"
    if header.failed_opens:
        times = sum(failed.times for failed in header.failed_opens)
        yield f"failed opens: {times:,}: {not_opened(header.failed_opens)}"


# --- the files that matter -------------------------------------------------------------------------------------------


def _rows(profiles: Sequence[Profile], limit: int, selection: Selection, folded: bool) -> Tuple[Iterable[FileRow], int]:
    """The files that moved most, and how many there are in all."""
    if len(profiles) == 1:
        (profile,) = profiles
        rows = profile.rows("bytes", limit, selection, folded=folded)
        return rows, profile.totals(selection, folded=folded).files if limit else 0
    whole = Whole()
    every = combined_rows(profiles, selection, folded=folded)
    chosen = summary.in_order(whole.watching(summary.by_file(every)), "bytes", limit)
    found = [
        FileRow(path, mnt_ns, "", "", group.marks, group.sums, host)
        for group in chosen
        for path, mnt_ns, host in [group.key]
    ]
    return found, whole.groups


def _sync_latency(found: Activity) -> str:
    late = found.syncs.latencies.quantile(0.99)
    return "-" if late is None else text.duration(late)


def _random(found: Activity) -> str:
    moved = found.read.moved + found.written.moved
    return text.share((found.read.jumps + found.written.jumps) / moved) if moved else "-"


def _show_files(
    screen: Screen, rows: Iterable[FileRow], found: Callable[[FileRow], Activity], several_hosts: bool
) -> None:
    titles = f"{'WRITTEN':>8} {'READ':>8} {'CALLS':>5} {'RANDOM':>6} {'SYNCS':>5} {'SYNC P99':>8}"
    narrow = screen.columns < 80
    if narrow:
        titles = f"{'WRITTEN':>8} {'READ':>8} {'CALLS':>5} {'SYNCS':>5}"
    for number, row in enumerate(rows):
        if not number:
            screen.line()
            screen.line(f"{titles}  FILE")
        sums = row.sums
        cells = f"{text.size(sums.bytes_written):>8} {text.size(sums.bytes_read):>8} {text.number(sums.calls):>5}"
        if not narrow:
            activity = found(row)
            cells += f" {_random(activity):>6} {text.number(sums.syncs):>5} {_sync_latency(activity):>8}"
        else:
            cells += f" {text.number(sums.syncs):>5}"
        host = screen.words(row.host) + ":" if several_hosts else ""
        room = max(screen.columns - text.width(cells + host) - 2, 20)
        screen.line(f"{cells}  {host}{text.shorten_path(screen.name(row.path), room)}")


# --- the screen ------------------------------------------------------------------------------------------------------


def next_steps(profiles: Sequence[Profile], header: Header, width: int) -> List[str]:
    """Which commands say more."""
    name = shlex.quote(profiles[0].name) if len(profiles) == 1 else "PROFILE..."
    by = header.filters.get("by")
    steps = [
        f"findings {name}",
        f"report {name} --by {by if by in WHOSE else 'host' if len(hosts(header.runs)) > 1 else 'directory'}",
        *([f"report {name} --errors"] if header.failed_opens or header.unattributed else []),
        *([f"report {name} --over-time"] if header.interval_ns else []),
        f"report {name} --file PATH",
        f"report {name} --details",
        f"html {name}",
    ]
    lines = ["next:"]
    for number, step in enumerate(steps):
        piece = f" iotrace {step}"
        if number and len(lines[-1]) + len(piece) + 2 > width:
            lines.append("     ")
        lines[-1] += piece if lines[-1].strip() in ("next:", "") else " |" + piece
    return lines


def show(
    out: TextIO,
    profiles: Sequence[Profile],
    *,
    limit: int = 10,
    selection: Selection = EVERYTHING,
    folded: bool = True,
    details: bool = False,
    steps: bool = True,
    columns: Optional[int] = None,
) -> None:
    """Show the first screen of one or more profiles together: at most `limit` files, 0 for all.

    With `details`, what a report says about the run in full comes before it; with `steps`, which commands say more
    comes last.
    """
    screen = Screen(out, columns)
    header = combined_header(profiles, selection)
    if details:
        show_header(screen, combined_header(profiles))
    what_was_traced(screen, header)
    busiest = summary.busiest(profiles, selection)
    finder = Finder()
    for file in busiest.found:
        finder.add(file)
    whole = finder.whole
    what_is_missing(screen, header, whole.mapped, warn=not details)
    if not busiest.every:
        covered = sum(whole.calls.values()) / busiest.calls if busiest.calls else 0.0
        screen.wrapped(
            f"the lines below are of the {whole.files:,} busiest files, with {text.share(covered)} of all calls"
        )
    screen.line()
    show_activity(screen, whole)
    for line in errors(header, whole):
        screen.wrapped(screen.words(line))
    rows, number = _rows(profiles, limit, selection, folded)
    _show_files(screen, rows, lambda row: combined_activity(profiles, row, folded=folded), len(hosts(header.runs)) > 1)
    rest = number - limit if limit else 0
    if rest > 0:
        screen.line(f"and {text.counted(rest, 'more file')}: --limit 0 shows all")
    found = finder.findings(header)
    if found:
        screen.line()
        screen.line("findings, the worst first (!! high, ! medium):")
        findings.show(screen, found, advice=False, limit=_FINDINGS)
    if steps:
        screen.line()
        for line in next_steps(profiles, header, screen.columns):
            screen.line(screen.words(line))
