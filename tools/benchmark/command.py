"""Measure what iotrace costs, against its goals and against what it can be compared with.

    tools/bench                                      everything, in some twenty minutes on a quiet machine
    tools/bench --quick                              what a change of the programs changes, in less than three
    tools/bench calls --rounds 15 --only iotrace-raw,clang
    tools/bench start stop many
    tools/bench --stats calls                        and the run time of every BPF program, by the kernel's account
    tools/bench --readme tools/benchmark/README.md   and put the result into that document, between its marks

What can be measured:

    calls       ns added to a system call: traced, not traced, of the traced process, of another
    requests    ns added to a request of Linux AIO and io_uring
    processes   how much slower fork, exec, read and exit become
    start       the whole of `iotrace run -- true`, the first time and later, and the end of a run
    stop        from the last event to the profile, with 100,000 files
    many        1,000,000 files, 12,000 a second, with room for 65,536 in the kernel
    moved       CPU time for each file that goes to the profile while tracing
    names       the end of a run after 200,000 renames, and eleven other loads of names
    show        report and export of a profile with 1,000,000 files
    read        every other command that reads profiles, of 100,000 files each
    page        the page of a profile with 100,000 files: making it, and using it in Chromium
    own         iotrace's own CPU time at a million calls a second

The first three compare variants: empty programs on raw tracepoints at both ends of a call, at its exit alone, and on
perf tracepoints (what being called costs), iotrace's two ways in and its `--light`, a C program of the plain design
(benchmark/plain.bpf.c) as first written and with typed loads (Linux 6.2), both also without any latency (bare), and a
bpftrace script of comparable accounting (benchmark/plain.bt). A round measures every variant in turn, and each round
begins with another one. What a variant adds is its time less the untraced time of the same round; the table shows the
median over the rounds, and the interquartile range in brackets. A measurement is repeated if the machine was
slower just before or after it than at its best, which means that something else ran or traced. Every tracer's own count
of the calls is compared with the number that was made. --quick leaves out perf tracepoints, bpftrace, and --interval.

Needs root and a C compiler. clang with libbpf, and bpftrace, are left out where they are not installed. The exit status
is 1 if a tracer has miscounted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

from tools.benchmark import calls, rows, whole
from tools.benchmark.machine import BenchError, Loop, Quiet, Skipped, compile_helpers
from tools.benchmark.rows import Row
from tools.benchmark.variants import ON_REQUEST, Variant, available
from tools.benchmark.variants import QUICK as QUICK_VARIANTS

MATRIX = ("calls", "requests", "processes")
QUICK = ("calls", "requests", "start", "stop", "moved", "own")
MARKS = ("<!-- tools/bench -->\n", "<!-- /tools/bench -->\n")


def progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def measure_calls(
    arguments: argparse.Namespace, directory: Path, stack: contextlib.ExitStack
) -> Tuple[calls.Matrix, List[str]]:
    """Everything that is compared call by call, and with --stats the lines about each program's run time."""
    file = directory / "file"
    file.write_bytes(bytes(4096))
    variants = available(directory, file)
    usual = [
        name for name in variants if (name in QUICK_VARIANTS if arguments.quick else not name.startswith(ON_REQUEST))
    ]
    wanted = ["untraced", *(arguments.only or usual)]
    unknown = sorted(set(wanted) - set(variants))
    if unknown:
        raise BenchError(f"--only: no such variant here: {', '.join(unknown)}")
    chosen = {name: variant for name, variant in variants.items() if name in wanted}
    cpus = os.cpu_count() or 1
    target, other = (
        stack.enter_context(contextlib.closing(Loop(directory / "calls", file, cpus - 1))) for _ in range(2)
    )
    works = [work for work in calls.WORKS if work.group in arguments.what and work.threads <= cpus]
    matrix = calls.Matrix(works, arguments.calls)
    measurer = calls.Measurer(target, other, Quiet(other, arguments.patience, variants["empty-raw"]), matrix)
    for line in measurer.drop_impossible():
        print(line, file=sys.stderr)
    calls.run(measurer, chosen, arguments.rounds, progress)
    return matrix, list(program_times(measurer, chosen)) if arguments.stats else []


def program_times(measurer: calls.Measurer, variants: Dict[str, Variant]) -> Iterator[str]:
    """How long each program of the variants that are made here ran, by the kernel's own account."""
    for name in ("empty-raw", "empty-perf", "iotrace-raw", "iotrace-perf"):
        if name in variants:
            yield f"{name}: run time of its programs, less what measuring takes"
            yield from measurer.stats(variants[name])


def measure_whole(arguments: argparse.Namespace, directory: Path) -> Iterator[Row]:
    """Everything about iotrace as a process."""
    plan = whole.Plan(directory, progress)
    if arguments.quick:
        plan.quick()
    for name, measure in whole.ROWS.items():
        if name not in arguments.what:
            continue
        try:
            yield from measure(plan)
        except Skipped as error:
            yield rows.skipped(name, name, error)
        except (BenchError, OSError) as error:
            yield Row(name, name, f"not measured: {error}", met=False)


def document(matrix: Optional[calls.Matrix], lines: List[Row]) -> Iterator[str]:
    """What goes into the document."""
    yield from rows.markdown(lines)
    if matrix is not None:
        yield ""
        yield from (("    " + line).rstrip() for line in calls.table(matrix))


def put(path: Path, matrix: Optional[calls.Matrix], lines: List[Row]) -> None:
    """Replace what is between the marks of a document. Raises BenchError."""
    text = path.read_text()
    before, mark, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not mark or not end:
        raise BenchError(f"{path}: no {MARKS[0].strip()} with a {MARKS[1].strip()} after it")
    path.write_text(before + mark + "\n" + "\n".join(document(matrix, lines)) + "\n\n" + end + after)


def show(arguments: argparse.Namespace, matrix: Optional[calls.Matrix], stats: List[str], lines: List[Row]) -> None:
    """Print the result, as JSON or as tables."""
    if arguments.json:
        json.dump(
            {
                "rows": [row.as_object() for row in lines],
                **(
                    {"calls": matrix.calls, "noisy": matrix.noisy, "problems": matrix.problems, "ns": matrix.ns}
                    if matrix is not None
                    else {}
                ),
            },
            sys.stdout,
        )
        print()
        return
    if matrix is not None:
        for line in calls.table(matrix):
            print(line)
        if matrix.noisy:
            measured = sum(max(map(len, by_title.values()), default=0) for by_title in matrix.ns.values())
            print(f"{matrix.noisy} of {measured} measurements were taken on a busy machine")
        for line in [*matrix.problems, *stats]:
            print(line)
        print()
    for line in rows.plain(lines):
        print(line)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="tools/bench [OPTION...] [WHAT...]",
    )
    groups = (*MATRIX, *whole.ROWS)
    parser.add_argument("what", nargs="*", metavar="WHAT", help="see above; default: everything")
    parser.add_argument(
        "--quick", action="store_true", help=f"less of everything, and unless WHAT says so only of {', '.join(QUICK)}"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="measurements of each variant (default 5)")
    parser.add_argument(
        "--calls", type=int, metavar="N", help="calls of one measurement (default 300000, quick 100000)"
    )
    parser.add_argument(
        "--only",
        type=lambda word: word.split(","),
        metavar="NAME[,NAME...]",
        help="of empty-raw, empty-exit, empty-perf, iotrace-raw, iotrace-perf, iotrace-light, iotrace-interval, clang, "
        "clang-typed, clang-bare, clang-bare-typed, bpftrace; and only on request iotrace-by-process, "
        "iotrace-by-cgroup, iotrace-by-user (run --by)",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=None,
        metavar="SECONDS",
        help="wait so long in all for the machine to be quiet (default 120, quick 30)",
    )
    parser.add_argument("--stats", action="store_true", help="show the run time of each of our programs too")
    parser.add_argument("--json", action="store_true", help="everything, every single measurement, as JSON")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put the result into that document too")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.what) - set(groups))
    if unknown:
        parser.error(f"{', '.join(unknown)}: nothing of that name; there are {', '.join(groups)}")
    arguments.what = arguments.what or list(QUICK if arguments.quick else groups)
    defaults = (
        {"rounds": 5, "calls": 100_000, "patience": 30.0}
        if arguments.quick
        else {"rounds": 5, "calls": 300_000, "patience": 120.0}
    )
    for name, value in defaults.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if arguments.rounds < 1 or arguments.calls < 10000:
        parser.error("--rounds must be at least 1, --calls at least 10000")
    if os.geteuid() != 0:
        parser.error("needs root")
    return arguments


def main() -> int:
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that nothing is left behind
    matrix: Optional[calls.Matrix] = None
    stats: List[str] = []
    lines: List[Row] = []
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="iotrace-bench-")))
        compile_helpers(directory)
        if set(arguments.what) & set(MATRIX):
            matrix, stats = measure_calls(arguments, directory, stack)
            lines += calls.rows(matrix)
        lines += measure_whole(arguments, directory)
        progress("")
        show(arguments, matrix, stats, lines)
        if arguments.readme is not None:
            put(arguments.readme, matrix, lines)
    return 1 if matrix is not None and matrix.problems else 0


def command() -> None:
    """Run as a command: an error is one line, and ends it with status 1."""
    try:
        sys.exit(main())
    except (BenchError, OSError) as error:
        sys.exit(f"tools/bench: {error}")
