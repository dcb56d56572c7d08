"""`iotrace html`: a page for a browser, in one file."""

from __future__ import annotations

import argparse
import contextlib

from iotrace.atomic import Kind, writing
from iotrace.commands.options import add_selection, selection
from iotrace.errors import UserError
from iotrace.page import against, assembly, document
from iotrace.page.library import Library
from iotrace.profile import reader
from iotrace.text import safe_text

HELP = """\
Make a page for a browser: one file that needs no network
iotrace html run.iotrace                              run.html
iotrace html run.iotrace -o page.html
iotrace html monday.iotrace tuesday.iotrace -o week.html     several are added up
iotrace html new.iotrace --against old.iotrace        what changed, beside what there is
iotrace html run.iotrace --path '/srv/*'
"""

_EPILOG = """\
The page shows everything that there is room for: the busiest files one by one, the others added up.
It has no address to send anything to, and its policy forbids it.
"""

_PAGE = Kind("a page of iotrace", lambda head: head.startswith(assembly.MARK))


def setup(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("profiles", metavar="PROFILE", nargs="+", help="what `iotrace run` wrote; several are added up")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="default: the name of the profile, with .html, where you are"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it is a page of iotrace")
    parser.add_argument(
        "--against", metavar="OTHER", help="the profile of another run, to compare with: what was before"
    )
    add_selection(parser)


def _name(args: argparse.Namespace) -> str:
    """Where the page goes. Raises UserError."""
    if args.output is not None:
        return str(args.output)
    if len(args.profiles) > 1:
        raise UserError("a page of several profiles needs a name: -o FILE")
    name = str(args.profiles[0]).rstrip("/").rpartition("/")[2]
    return (name[: -len(".iotrace")] if name.endswith(".iotrace") else name) + ".html"


def run(args: argparse.Namespace) -> int:
    if args.against is not None and len(args.profiles) > 1:
        raise UserError("--against compares two profiles: name one, or merge the others first (iotrace merge)")
    output, chosen = _name(args), selection(args)
    with contextlib.ExitStack() as stack:
        profiles = [stack.enter_context(reader.open(name)) for name in args.profiles]
        library = stack.enter_context(Library())
        found = document.collect(profiles, chosen)
        if args.against is not None:
            found.summary["against"] = against.compare((args.against, args.profiles[0]), chosen)
        with writing(output, _PAGE, force=args.force) as stream:
            assembly.write(stream, found, library.text())
    print(f"page: {safe_text(output)}")
    return 0
