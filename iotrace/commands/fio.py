"""`iotrace fio`: a benchmark that behaves like what was traced."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import signal
import sys
from typing import Iterable, Iterator, List, Union

from iotrace.atomic import Kind, standard_output, writing
from iotrace.commands.options import add_selection, count, seconds, selection
from iotrace.errors import UserError
from iotrace.fio import groups, logs, names, table
from iotrace.fio.compare import ALLOWED_JOB, ALLOWED_LOG
from iotrace.fio.inference import Amount
from iotrace.fio.job import Job, Options, job
from iotrace.fio.prepared import Prepared
from iotrace.profile import reader
from iotrace.profile.metrics import FileStats, Header
from iotrace.views.summary import busiest

HELP = """\
Make a fio job that behaves like what was traced
iotrace fio run.iotrace --directory /srv/bench -o app.fio     then: fio app.fio
iotrace fio run.iotrace --directory /srv/bench --group extension --path '/var/lib/*'
iotrace fio run.iotrace --directory /srv/bench --scale 10 -o larger.fio
iotrace fio run.iotrace --directory /srv/bench --verify       run it, and say how close it comes
iotrace fio run.iotrace --directory /srv/bench --iolog -o app.fio    every call, replayed from app.fio.01.log
"""

_EPILOG = """\
Each option in the job is commented with the figure of the profile that it was inferred from, and what a job
cannot say is listed at its top.
"""

_MARK = b"# Made by iotrace "
_LOG = Kind("a fio log", lambda head: head.startswith(b"fio version "))
_KIND = Kind("a fio job of iotrace", lambda head: head.startswith(_MARK))


def setup(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    parser.add_argument("profile", metavar="PROFILE", help="what `iotrace run` wrote")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--directory", metavar="DIR", help="where the benchmark makes its files, on the host that it runs on"
    )
    where.add_argument(
        "--in-place", action="store_true", help="use the original files instead, and write over what is in them"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="the job file; default: standard output")
    parser.add_argument("--force", action="store_true", help="replace FILE if iotrace made it")
    parser.add_argument(
        "--group",
        choices=groups.BY,
        default="alike",
        help="a section for files that behave alike (default), wherever they are, or for those among them in a "
        "directory, or with an extension; or for each file",
    )
    parser.add_argument(
        "--scale", metavar="F", type=_factor, default=1.0, help="move F times the bytes, on files of the same sizes"
    )
    parser.add_argument(
        "--runtime", metavar="TIME", type=seconds, help="run for 90, 30s, 5m or 1.5h, whatever is moved until then"
    )
    parser.add_argument(
        "--iolog",
        metavar="VERSION",
        nargs="?",
        type=int,
        const=3,
        choices=logs.VERSIONS,
        help="a log of every call, drawn from the profile, for fio to replay: version 3 (fio 3.31 and later, the "
        "default) or 2; FILE then has its logs beside it",
    )
    parser.add_argument("--seed", metavar="N", type=count, default=1, help="draw another log (default: %(default)s)")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="run the job under iotrace, in a directory below DIR that is removed again, and compare the two "
        "profiles; exit status 1 if they differ by more than a job may",
    )
    add_selection(parser)


def _factor(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 1e-6 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{word!r} is not a factor, such as 0.1 or 10")
    return value


def run(args: argparse.Namespace) -> int:
    _check(args)
    with reader.open(args.profile) as profile:
        header = profile.header
        files = busiest([profile], selection(args)).found
        benchmark: Union[_Jobs, _Logs] = _Logs(args, header, files) if args.iolog else _Jobs(args, header, files)
    if not benchmark.loads:
        raise UserError("nothing was read, written or synced in the files that are selected")
    if args.output is not None or not args.verify:
        benchmark.write()
    return _verify(args, benchmark) if args.verify else 0


def _check(args: argparse.Namespace) -> None:
    if not args.in_place:
        names.directory(args.directory)
    for option, given in (("--in-place", args.in_place), ("--runtime", args.runtime is not None)):
        for other, too in (("--verify", args.verify), ("--iolog", args.iolog)):
            if given and too:
                raise UserError(f"{other} does not go with {option}")
    if args.iolog:
        logs.check_directory(args.directory)
        if args.output is None and not args.verify:
            raise UserError("--iolog writes several files: name the job with -o, and its logs will lie beside it")


class _Jobs:
    """A job file alone."""

    allowed = ALLOWED_JOB

    def __init__(self, args: argparse.Namespace, header: Header, files: Iterable[FileStats]) -> None:
        self._args, self._header = args, header
        self._groups = groups.grouped(files, "file" if args.in_place else args.group, header.interval_ns)
        self.loads = self._groups.loads

    @property
    def names(self) -> List[str]:
        return [names.name_of(load, number) for number, load in enumerate(self.loads, 1)]

    def _made(self, directory: str) -> Job:
        options = Options(directory, self._args.in_place, Amount(self._args.scale, self._args.runtime))
        return job(self._header, self._args.profile, self._groups, options)

    def write(self) -> None:
        _write(self._args, self._made(self._args.directory or "").text)

    def prepared(self, directory: str, beside: str) -> Prepared:
        made = self._made(directory)
        return Prepared(made.text, made.room, made.names, names.load_of)


class _Logs:
    """A job file with the logs that it replays."""

    allowed = ALLOWED_LOG

    def __init__(self, args: argparse.Namespace, header: Header, files: Iterable[FileStats]) -> None:
        self._args, self._header = args, header
        self._replays = logs.replays(files, args.scale)
        self.loads = [replay.load for replay in self._replays.made]

    @property
    def names(self) -> List[str]:
        return [f"{number:02d}-{replay.engine.name}" for number, replay in enumerate(self._replays.made, 1)]

    def _beside(self, name: str) -> List[str]:
        """What the logs beside a job are called."""
        return [f"{name}.{number:02d}.log" for number in range(1, len(self.loads) + 1)]

    def _text(self, directory: str, beside: List[str]) -> str:
        return logs.job(self._header, self._args.profile, self._replays, directory, beside)

    def write(self) -> None:
        beside = self._beside(os.path.basename(self._args.output))
        words = self._text(self._args.directory, beside)
        for replay, name in zip(self._replays.made, self._beside(self._args.output)):
            with writing(name, _LOG, force=self._args.force) as stream:
                logs.write(replay, self._args.directory, self._args.seed, self._args.iolog, stream)
        _write(self._args, words)

    def prepared(self, directory: str, beside: str) -> Prepared:
        called = self._beside("job.fio")
        for replay, name in zip(self._replays.made, called):
            with open(os.path.join(beside, name), "wb") as stream:
                logs.write(replay, directory, self._args.seed, self._args.iolog, stream)
        home = {file: name for name, replay in zip(self.names, self._replays.made) for file, _ in replay.files}
        room = sum(replay.room for replay in self._replays.made)
        return Prepared(self._text(directory, called), room, self.names, lambda file: home.get(file, ""))


def _verify(args: argparse.Namespace, benchmark: Union[_Jobs, _Logs]) -> int:
    """The exit status: 1 if a figure is not near enough."""
    from iotrace.fio import verify  # noqa: PLC0415 - what traces takes a while to import

    with ending_well():
        replays = verify.replayed(args.directory, benchmark.prepared)
    verdicts = table.verdicts(list(zip(benchmark.names, benchmark.loads)), replays, benchmark.allowed, args.scale)
    with standard_output():
        for line in table.lines(verdicts):
            print(line)
    return 0 if table.met(verdicts) else 1


@contextlib.contextmanager
def ending_well() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP end it as Ctrl-C does, so that what was made is removed."""

    def interrupt(number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(args: argparse.Namespace, made: str) -> None:
    if args.output is None:
        with standard_output():
            sys.stdout.write(made)
        return
    with writing(args.output, _KIND, force=args.force) as stream:
        stream.write(made.encode())
