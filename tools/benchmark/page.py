"""The page of `iotrace html`: how long it takes to make, how large it is, and how quick a browser is with it."""

from __future__ import annotations

import random
import shutil
import statistics
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

from iotrace.page import library
from iotrace.profile.metrics import FileStats, Header, SyscallStats
from iotrace.profile.values import Histogram
from iotrace.profile.writer import write
from tests.browser import Browser, chromium
from tools.benchmark.machine import Skipped, iotrace_command, measured
from tools.benchmark.rows import Row

WRITTEN_S, LARGEST, OPENED_S, DRILL_S = 20.0, 6_000_000, 3.0, 0.3
_DIRECTORIES = 997
_PLACES = ((b"mail", b"eml"), (b"images", b"jpg"), (b"index", b"idx"))

# Down into the treemap as far as it goes, by the first directory of the list; ms until each is drawn.
_DRILL = """
const done = arguments[0], frame = () => new Promise((next) => requestAnimationFrame(() => setTimeout(next, 0)));
(async () => {
  const chart = document.querySelector(".where .chart"), taken = [];
  for (;;) {
    const [next] = [...document.querySelectorAll(".where .list button")].filter((b) => b.textContent.endsWith("/"));
    if (!next) break;
    const before = chart.firstChild, begun = performance.now();
    next.click();
    while (chart.firstChild === before) await new Promise((again) => setTimeout(again, 1));
    await frame();
    taken.push(performance.now() - begun);
  }
  const input = document.getElementById("filter"), begun = performance.now();
  input.value = "jpg 009";
  input.dispatchEvent(new Event("input"));
  await frame();
  done([taken, performance.now() - begun]);
})();
"""


def _spread(chance: random.Random, count: int, least: int, most: int) -> Histogram:
    found: Histogram = {}
    while count > 0:
        part = min(count, 1 + chance.randrange(max(1, count)))
        bucket = 1 << chance.randrange(least, most)
        found[bucket] = found.get(bucket, 0) + part
        count -= part
    return dict(sorted(found.items()))


def _calls(sizes: Histogram, latencies: Histogram) -> SyscallStats:
    count, total = sum(latencies.values()), sum(lower * n for lower, n in latencies.items())
    call = SyscallStats(
        count, latency_ns=latencies, latency_sum_ns=total * 5 // 4, latency_max_ns=max(latencies) * 3 // 2
    )
    if sizes:
        call.bytes = sum(size * n for size, n in sizes.items())
        call.requested, call.completed = sizes, dict(sizes)
        call.common_sizes = {max(sizes): sizes[max(sizes)]}
    return call


def files(number: int) -> Iterator[FileStats]:
    """Files that were read, mostly written, and often synced, no two alike: what compresses worst."""
    chance = random.Random(5)
    for i in range(number):
        place, kind = _PLACES[i % _DIRECTORIES % 3]
        reads, writes = chance.randrange(1, 40), chance.randrange(20)
        syncs = chance.randrange(3) if writes else 0
        calls = {"read": _calls(_spread(chance, reads, 9, 17), _spread(chance, reads, 10, 16))}
        calls["open"] = calls["close"] = _calls({}, {2048: 2})
        if writes:
            calls["write"] = _calls(_spread(chance, writes, 9, 17), _spread(chance, writes, 11, 17))
        if syncs:
            calls["fsync"] = _calls({}, {1 << 20: syncs})
        moved = calls["write"].bytes if writes else 0
        yield FileStats(
            4026531841,
            b"/srv/data/%s/%03d/%s-%06d.%s" % (place, i % _DIRECTORIES, place[:-1], i, kind),
            opens=2,
            closes=2,
            fstype="ext4",
            bytes_read=calls["read"].bytes,
            bytes_written=moved,
            bytes_synced=moved if syncs else 0,
            bytes_unsynced=0 if syncs else moved,
            sequential_read=_spread(chance, max(1, reads // 3), 10, 18),
            sequential_write=_spread(chance, max(1, writes // 3), 10, 18) if writes else {},
            bytes_between_syncs=_spread(chance, syncs, 10, 15),
            syscalls=calls,
            threads=1,
        )


def _opened(browser: Browser, path: Path) -> Dict[str, Any]:
    begun = time.monotonic()
    browser.open(path)
    opened = time.monotonic() - begun
    drills, filtered = browser.run_later(_DRILL)
    return {"opened": opened, "drill": max(drills) / 1e3, "filtered": filtered / 1e3}


def measure(directory: Path, number: int, rounds: int = 3) -> Row:
    """A page of so many files. Raises Skipped where there is no browser, or nothing to draw with."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        raise Skipped("there is no chromium with chromedriver")
    if not library.available():
        raise Skipped(f"{library.PACKAGE} is not installed")
    profile, path = directory / "many.iotrace", directory / "many.html"
    write(profile, Header(version="0", host="bench", ended_ns=10**9), files(number), force=True)
    begun = time.monotonic()
    done = measured(directory, iotrace_command("html", profile, "-o", path, "--force"))
    written, size = time.monotonic() - begun, path.stat().st_size if done.status == 0 else 0
    with chromium(*map(str, programs)) as browser:
        found: List[Dict[str, Any]] = [_opened(browser, path) for _ in range(rounds)]
    middle = {name: statistics.median(each[name] for each in found) for name in found[0]}
    return Row(
        "page",
        f"iotrace html, {number:,} files",
        f"{written:.1f} s, {size / 1e6:.2f} MB; opens in {middle['opened']:.2f} s, a directory in"
        f" {middle['drill'] * 1e3:.0f} ms, a filter in {middle['filtered'] * 1e3:.0f} ms",
        f"{WRITTEN_S:.0f} s, {LARGEST / 1e6:.0f} MB, {OPENED_S:.0f} s, {DRILL_S * 1e3:.0f} ms",
        written <= WRITTEN_S and 0 < size <= LARGEST and middle["opened"] <= OPENED_S and middle["drill"] <= DRILL_S,
        {"written": written, "size": size, **middle},
    )
