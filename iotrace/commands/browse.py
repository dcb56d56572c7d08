"""`iotrace browse`: a profile in the terminal, directory by directory."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

from iotrace.commands.options import add_selection, check_selected, selection
from iotrace.errors import Failure, UserError
from iotrace.profile import reader
from iotrace.views.screen import Screen

HELP = """\
Browse profiles in the terminal: directories, files with their histograms, findings
iotrace browse run.iotrace
iotrace browse monday.iotrace tuesday.iotrace      several are added up
iotrace browse run.iotrace --path '/srv/*'
"""

_EPILOG = "? shows the keys, which are those of ncdu and less. It takes textual: pip install 'iotrace[tui]'.\n"
MISSING = "textual is not installed: pip install 'iotrace[tui]', or textual alone"


def setup(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("profiles", metavar="PROFILE", nargs="+", help="what `iotrace run` wrote; several are added up")
    parser.add_argument(
        "--names",
        choices=("final", "opened"),
        default="final",
        help="final: temporary files are part of what they became (default); opened: as files were opened",
    )
    add_selection(parser)


def run(args: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:
        profiles = [stack.enter_context(reader.open(name)) for name in args.profiles]
        check_selected(profiles, selection(args))
        from iotrace.tui import browse  # noqa: PLC0415 - the tree is made before a terminal is needed

        browser = browse.Browser(
            profiles, selection(args), folded=args.names == "final", unicode=Screen(sys.stdout).unicode
        )
        if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
            raise UserError("browse needs a terminal that can be drawn on: iotrace report --by directory prints lines")
        try:
            from iotrace.tui.page import draw  # noqa: PLC0415 - the extra
        except ImportError as error:
            raise Failure(f"browse: {MISSING}") from error
        draw(browse.first(browser))
    return 0
