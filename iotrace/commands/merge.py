"""`iotrace merge`: any number of profiles into one."""

from __future__ import annotations

import argparse

from iotrace import text
from iotrace.profile import runs
from iotrace.profile.merging import merge
from iotrace.profile.target import Target

HELP = """\
Merge profiles, of any number of runs and hosts, into one
iotrace merge monday.iotrace tuesday.iotrace -o week.iotrace
iotrace merge db*.iotrace -o all.iotrace       one profile of ten hosts
iotrace merge all.iotrace db11.iotrace -o more.iotrace
"""

_EPILOG = """\
What the profiles say of a file, that is of a path in a mount namespace of a host, is added up. The
files of each host stay apart. Memory use does not depend on the number of profiles or of files.
All counts, bytes, times and histograms are exact: those of profiles of different processes, files
or hosts are what one trace of all of them would have. What that would have seen between two of them
is in none, such as a sync by one process of what another has written. Common sizes come with a
bound where there are more than four (common_sizes_error). The number of incarnations of a file that
several runs have used is a lower bound.
"""


def setup(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("profiles", metavar="PROFILE", nargs="+", help="what `iotrace run` or `iotrace merge` wrote")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the profile to write")
    parser.add_argument("--force", action="store_true", help="replace FILE if it is a profile")
    parser.add_argument(
        "--allow-duplicates", action="store_true", help="count a run that is in several of the profiles several times"
    )


def run(args: argparse.Namespace) -> int:
    target = Target(args.output, force=args.force)
    target.check()
    merged = merge(args.profiles, target, allow_duplicates=args.allow_duplicates)
    what = [text.counted(merged.files, "file"), text.counted(len(merged.header.runs), "run")]
    what.append(text.counted(len(runs.hosts(merged.header.runs)), "host"))
    print(f"profile: {text.safe_text(target.path)} ({', '.join(what)})")
    return 0
