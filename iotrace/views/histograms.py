"""The histograms of any selection of files, added up."""

from __future__ import annotations

from typing import Optional, Sequence, TextIO

from iotrace import text
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.activity import Activity, of_files
from iotrace.profile.latencies import Latencies, by_powers
from iotrace.profile.metrics import BYTES, DURATION
from iotrace.profile.reader import Profile
from iotrace.views import summary
from iotrace.views.one_file import show_histogram
from iotrace.views.screen import Screen


def _show_latencies(screen: Screen, title: str, latencies: Latencies) -> None:
    if latencies.count:
        shown = [f"p{100 * part:g} {text.duration(latencies.quantile(part) or 0)}" for part in (0.5, 0.9, 0.99, 0.999)]
        screen.beside(f"{title}: ", "  ".join([*shown, f"max {text.duration(latencies.most)}"]))
        show_histogram(screen, "latency of successful calls", DURATION, by_powers(latencies.histogram))


def show_activity(screen: Screen, found: Activity) -> None:
    """Show the histograms of reads, writes and syncs."""
    for verb, part in (("reads", found.read), ("writes", found.written)):
        if part.calls:
            screen.line(f"{verb}: {text.counted(part.calls, 'call')}, {part.bytes:,} bytes")
            show_histogram(screen, "bytes asked for, failed calls too", BYTES, part.requested)
            show_histogram(screen, "bytes moved by successful calls; 0 is the end of the file", BYTES, part.completed)
            _show_latencies(screen, verb, part.latencies)
    if found.syncs.calls:
        screen.line(f"syncs: {text.counted(found.syncs.calls, 'call')}, {found.syncs.bytes:,} bytes made durable")
        show_histogram(screen, "bytes written to a file between two syncs", BYTES, found.syncs.between)
        _show_latencies(screen, "syncs", found.syncs.latencies)


def show(
    out: TextIO, profiles: Sequence[Profile], selection: Selection = EVERYTHING, columns: Optional[int] = None
) -> None:
    """Show the histograms of all selected files of one or more profiles together."""
    screen = Screen(out, columns)
    busiest = summary.busiest(profiles, selection)
    whole = of_files(busiest.found)
    if whole.files < busiest.files:
        screen.line(f"of the {whole.files:,} busiest files:")
    show_activity(screen, whole)
    if not (whole.read.calls or whole.written.calls or whole.syncs.calls):
        screen.line("no data was read, written or synced")
