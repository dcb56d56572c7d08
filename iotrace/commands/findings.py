"""`iotrace findings`: what is worth changing, by rules."""

from __future__ import annotations

import argparse
import contextlib
import sys

from iotrace.atomic import standard_output
from iotrace.commands.options import add_selection, check_selected, selection
from iotrace.errors import UserError
from iotrace.findings import engine
from iotrace.findings.rule import Severity
from iotrace.profile import reader
from iotrace.profile.combined import combined_header
from iotrace.views import findings as views
from iotrace.views.header import warn_of
from iotrace.views.screen import Screen

HELP = """\
Say what is worth changing, with the figures, the files and what to do
iotrace findings run.iotrace
iotrace findings run.iotrace --fail-on high         exit status 1 if there is one: for tests of an application
iotrace findings run.iotrace --set tiny-syncs.bytes=16384
iotrace findings --rules                            all rules, and the numbers that they compare with
"""

_EPILOG = """\
The worst come first (!!, !): by severity, and then by the time that the calls in question took, which is
the most that can be gained. What took half of all time in I/O is a step more severe than its rule says,
what took less than 2% a step less. Each finding says what would disprove it.
"""


def setup(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("profiles", metavar="PROFILE", nargs="*", help="what `iotrace run` wrote; several are added up")
    parser.add_argument("--rules", action="store_true", help="list the rules instead")
    parser.add_argument(
        "--set",
        metavar="RULE.NAME=NUMBER",
        dest="changed",
        action="append",
        default=[],
        help="another threshold (repeatable)",
    )
    parser.add_argument(
        "--fail-on",
        metavar="SEVERITY",
        choices=[severity.value for severity in Severity],
        help="exit with status 1 if a finding is that severe, or more: %(choices)s",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    add_selection(parser)


def run(args: argparse.Namespace) -> int:
    changed = engine.thresholds(args.changed)
    if args.rules:
        with standard_output():
            views.show_rules(Screen(sys.stdout), changed)
        return 0
    if not args.profiles:
        raise UserError("no profile given (see iotrace findings --help)")
    with contextlib.ExitStack() as stack:
        profiles = [stack.enter_context(reader.open(name)) for name in args.profiles]
        check_selected(profiles, selection(args))
        found = engine.find(profiles, changed, selection(args))
        header = combined_header(profiles)
    with standard_output():
        if args.format == "json":
            views.write_json(sys.stdout, found)
        else:
            screen = Screen(sys.stdout)
            warn_of(screen, header)
            if found:
                views.show(screen, found)
            else:
                views.show_nothing(screen)
        sys.stdout.flush()
    return int(bool(args.fail_on and found and engine.worst(found).rank <= Severity(args.fail_on).rank))
