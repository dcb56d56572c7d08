"""`iotrace top`: what files are used for right now, by file, directory, or whose I/O it is."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import sys
import time
from typing import Callable, Iterator, NamedTuple, Optional, Sequence

from iotrace import text
from iotrace.atomic import standard_output
from iotrace.commands import selectors
from iotrace.commands.options import count, seconds
from iotrace.commands.selectors import parse
from iotrace.errors import IotraceError, UserError
from iotrace.live import plain, show
from iotrace.live.model import GROUPS, SORTS, Live
from iotrace.live.show import Look
from iotrace.profile.metrics import FileStats
from iotrace.profile.target import Target
from iotrace.profile.whose import WHOSE
from iotrace.tracing import output
from iotrace.tracing.api import Run
from iotrace.tracing.settings import Settings
from iotrace.tracing.signals import Signals
from pybpf.syscalls import BpfError

HELP = """\
Show what files are used for now: a screen that refreshes, lines for scripts, or JSON
iotrace top --all                              every file on the host that is in use, the busiest first
iotrace top --comm postgres --by directory     what every process called postgres does, by directory
iotrace top --pid 1234 -o db.iotrace           and leave a profile of all of it
iotrace top --all --by process --once          one interval, as lines
iotrace top --all --batch 10 --interval 5s --json | jq .total.bytes_read
"""

_FILES = 16384  # in the tables: large ones take time to read, be they empty; idle files move to the profile meanwhile
__all__ = ["HELP", "parse", "run", "setup"]
_EPILOG = """\
COMMAND has no input, and what it prints goes nowhere while there is a screen, else to standard error.
Keys: q quit, space pause, s the next order, g the next grouping, w write a profile of all that was counted so far.
With textual (pip install 'iotrace[tui]') also: arrows and the mouse, / to filter, Enter for the histograms of a file.
"""


def setup(parser: argparse.ArgumentParser) -> None:
    parser.usage = "iotrace top [OPTION...] [-- COMMAND ARG...]"
    parser.epilog = _EPILOG
    selectors.add_whom(parser.add_argument_group("whom (selectors add up)"))
    selectors.add_what(parser.add_argument_group("what"))
    shown = parser.add_argument_group("what is shown")
    shown.add_argument(
        "--by",
        dest="group",
        choices=GROUPS,
        default="file",
        help="a line for each of these; default: file. A traced call takes some 25 ns more than in a run, by cgroup 40",
    )
    shown.add_argument("--sort", choices=tuple(SORTS), default="bytes", help="the largest first; default: bytes")
    shown.add_argument(
        "--only", metavar="WORDS", default="", help="only lines whose names have this in them, or a glob"
    )
    shown.add_argument("--limit", metavar="N", type=count, help="at most N lines, 0: all; default: 20, with --json all")
    shown.add_argument("--interval", metavar="TIME", dest="every", type=seconds, default=1.0, help="default: 1s")
    kinds = shown.add_mutually_exclusive_group()
    kinds.add_argument("--once", action="store_true", help="one interval, as lines")
    kinds.add_argument("--batch", metavar="N", type=_number, help="N intervals, as lines")
    shown.add_argument("--json", action="store_true", help="an object for each interval, whose numbers add up")
    shown.add_argument("--plain", action="store_true", help="the plain screen, also where textual is installed")
    how = parser.add_argument_group("how")
    how.add_argument("-o", "--output", metavar="FILE", help="leave a profile of all of it at the end; default: none")
    how.add_argument("--force", action="store_true", help="replace FILE if it is a profile")
    how.add_argument("--duration", metavar="TIME", type=seconds, help="end after 90, 30s, 5m or 1.5h")
    selectors.add_way(how)


def _number(word: str) -> int:
    found = count(word)
    if not found:
        raise argparse.ArgumentTypeError("'0' is not a number of intervals")
    return found


def run(args: argparse.Namespace) -> int:
    args.by = args.group if args.group in WHOSE else "process"
    args.interval = None
    args.max_files = args.max_files or _FILES
    settings = selectors.settings(args)
    if args.every < 0.01:
        raise UserError("--interval: 10ms at least")
    lines = args.once or args.batch or args.json or not _has_screen()
    with Signals() as signals, _traced(args, settings, apart=not lines) as tracing:
        live = Live(args.group, started_ns=tracing.begun_ns)
        if lines:
            _lines(args, tracing, live, signals)
        else:
            _screen(args, settings, tracing, live, signals)
    return 0


def _has_screen() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextlib.contextmanager
def _traced(args: argparse.Namespace, settings: Settings, *, apart: bool) -> Iterator[Run]:
    """The run that is looked at. A command has no input, and its output goes nowhere where the screen is, else to
    standard error."""
    kept = args.output is not None
    if kept:
        target = output.target(args.output, settings, args.command, force=args.force)
    else:
        target = Target(output.default_name(settings, args.command), own_name=True, elsewhere=True)
    with contextlib.ExitStack() as stack:
        streams = os.open(os.devnull, os.O_WRONLY) if apart else os.dup(2)
        stack.callback(os.close, streams)
        run = Run(
            settings,
            target,
            args.command,
            args.user,
            args.duration,
            wait=args.wait,
            kept=kept,
            glances=True,
            streams=streams,
        )
        with run:
            yield run
    if kept and target.trouble is not None:
        print("iotrace:", text.safe_text(f"{target.trouble}; the profile is {target.path}"), file=sys.stderr)


# -- lines ------------------------------------------------------------------------------------------------------------


def _lines(args: argparse.Namespace, tracing: Run, live: Live, signals: Signals) -> None:
    """Print a table, or an object, for each interval."""
    left = 1 if args.once else args.batch
    limit = (0 if args.json else 20) if args.limit is None else args.limit
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    look = Look(width, plain.unicode())
    until = time.monotonic()
    going = True
    while going:
        until = max(until + args.every, time.monotonic())
        while time.monotonic() < until and not signals.signals and not tracing.ended:
            plain.wait(signals, min(until - time.monotonic(), 0.2))
        left = None if left is None else left - 1
        going = left != 0 and not signals.signals and _tick(tracing, live)
        if not going:
            tracing.stop()
            if tracing.last_glance is not None:
                live.add(tracing.last_glance)
        table = live.table(sort=args.sort, limit=limit, only=args.only, active=True)
        with standard_output():
            if args.json:
                print(show.document(table, live.by))
            else:
                print("\n".join(show.batch(table, live.by, args.sort, look)))
            sys.stdout.flush()


def _tick(tracing: Run, live: Live) -> bool:
    """Add an interval; False where the run has ended."""
    try:
        live.add(tracing.glance())
    except ValueError:
        return False
    except BpfError:  # the tables change faster than they can be read: the next one has it, too
        pass
    return True


# -- the screen -------------------------------------------------------------------------------------------------------


def _screen(args: argparse.Namespace, settings: Settings, tracing: Run, live: Live, signals: Signals) -> None:
    """Show tables until somebody has had enough."""
    state = plain.State(by=args.group, groups=plain.groups(settings.by), sort=args.sort, only=args.only)

    def tick(live: Live) -> bool:
        if _tick(tracing, live):
            return True
        with contextlib.suppress(IotraceError):  # it is told when the screen is gone
            tracing.stop()
        if tracing.last_glance is not None:
            live.add(tracing.last_glance)
        return False

    def save() -> str:
        try:
            return f"profile: {text.safe_text(tracing.save())}"
        except (IotraceError, ValueError, BpfError) as error:
            return f"not written: {text.safe_text(str(error))}"

    if not args.plain and sys.stdin.isatty() and importlib.util.find_spec("textual") is not None:
        _draw(tracing, live, signals, state, LiveParts(tick, save, args.every, _subject(args)))
        return
    with plain.Screen() as screen:
        plain.run(screen, signals, state, live, interval=args.every, subject=_subject(args), tick=tick, save=save)


class LiveParts(NamedTuple):
    """What both screens are made of."""

    tick: Callable[[Live], bool]
    save: Callable[[], str]
    interval: float
    subject: str


def _draw(tracing: Run, live: Live, signals: Signals, state: plain.State, parts: LiveParts) -> None:
    """The screen that takes textual."""
    from iotrace.tui.page import draw  # noqa: PLC0415 - the extra
    from iotrace.tui.top import LiveView, Source  # noqa: PLC0415

    def look(path: bytes) -> Sequence[FileStats]:
        try:
            return tracing.look(path)
        except (ValueError, BpfError):
            return []

    source = Source(parts.tick, parts.save, look, time.time_ns() - time.monotonic_ns() + tracing.begun_ns)
    unicode = plain.unicode()
    view = LiveView(live, state, source, subject=parts.subject, interval=parts.interval, unicode=unicode)

    def tick() -> Optional[bool]:
        return None if signals.signals else view.pass_time()

    draw(view, min(parts.interval, 0.2), tick)


def _subject(args: argparse.Namespace) -> str:
    """What is traced, in a few words."""
    said = [" ".join(args.command)] if args.command else []
    said += ["everything"] if args.all else []
    said += ["process " + ",".join(str(pid) for group in args.pid for pid in group)] if args.pid else []
    said += [os.fsdecode(name) for name in args.comm]
    said += args.cgroup
    return text.shorten(text.safe_text(", ".join(said)), 30)
