"""The histograms of any selection of files, added up."""

from __future__ import annotations

from typing import Optional, Sequence, TextIO

from iotrace import text
from iotrace.globs import EVERYTHING, Selection
from iotrace.profile.activity import Activity, Sizes, of_files
from iotrace.profile.combined import combined_header
from iotrace.profile.latencies import Latencies, by_powers, exactness, sampled
from iotrace.profile.metrics import BYTES, DURATION
from iotrace.profile.reader import Profile
from iotrace.views import summary
from iotrace.views.header import heading
from iotrace.views.one_file import show_histogram
from iotrace.views.screen import Screen


def _show_latencies(screen: Screen, title: str, latencies: Latencies) -> None:
    if latencies.count:
        exact = exactness(latencies.coarse) + sampled(latencies)
        shown = [f"p{100 * part:g} {text.duration(latencies.quantile(part) or 0)}" for part in (0.5, 0.9, 0.99, 0.999)]
        mean = [] if latencies.mean is None else [f"mean {text.duration(round(latencies.mean))}"]
        most = [f"max {text.duration(latencies.most)}"] if latencies.most else []
        screen.pieces(f"{title}: ", [*mean, *shown, *most, f"(p50 to p99.9 are {exact})"])
        show_histogram(screen, "latency of successful calls", DURATION, by_powers(latencies.histogram))


_MOST_SIZES = 8  # that are shown


def _show_sizes(screen: Screen, sizes: Sizes) -> None:
    """Show the most frequent exact sizes, and how exact their counts are."""
    most = sizes.most_frequent(_MOST_SIZES)
    if most:
        shown = ", ".join(f"{text.exact_size(size)} x{count:,}" for size, count in most)
        rest = sizes.total - sum(count for _, count in most)
        others = f", others x{rest:,}" if rest > 0 else ""
        missing = f"; of each size up to {sizes.missing:,} more" if sizes.missing else ""
        screen.beside("  exact sizes asked for: ", shown + others + missing)


def show_activity(screen: Screen, found: Activity) -> None:
    """Show the histograms of reads, writes and syncs."""
    for verb, part in (("reads", found.read), ("writes", found.written)):
        if part.calls:
            screen.line(f"{verb}: {text.counted(part.calls, 'call')}, {part.bytes:,} bytes")
            _show_sizes(screen, part.sizes)
            show_histogram(screen, "bytes asked for, failed calls too", BYTES, part.requested)
            show_histogram(screen, "bytes moved by successful calls; 0 is the end of the file", BYTES, part.completed)
            _show_latencies(screen, verb, part.latencies)
    if found.syncs.calls:
        screen.line(f"syncs: {text.counted(found.syncs.calls, 'call')}, {found.syncs.bytes:,} bytes made durable")
        show_histogram(screen, "bytes written to a file between two syncs", BYTES, found.syncs.between)
        _show_latencies(screen, "syncs", found.syncs.latencies)


def show(
    out: TextIO,
    profiles: Sequence[Profile],
    selection: Selection = EVERYTHING,
    *,
    details: bool = False,
    columns: Optional[int] = None,
) -> None:
    """Show the histograms of all selected files of one or more profiles together."""
    screen = Screen(out, columns)
    heading(screen, combined_header(profiles), details)
    busiest = summary.busiest(profiles, selection)
    whole = of_files(busiest.found)
    if not busiest.every:
        screen.line(f"of the {whole.files:,} busiest files:")
    show_activity(screen, whole)
    if not (whole.read.calls or whole.written.calls or whole.syncs.calls):
        screen.line("no data was read, written or synced")
