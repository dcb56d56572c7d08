"""The command line: finds the command, runs it, and turns its errors into one line and an exit status.

A command is a module with `HELP` (the first line says what it does, the others are examples, which open its usage
text), `setup(parser)`, which adds its arguments, and `run(args)`, which returns the exit status. It may have
`parse(parser, arguments)`, which reads them in a way of its own, and `SIGNALS`, if it deals with signals by itself,
from `iotrace.starting` on. Only the module of the command in use is imported.

Exit status: 0 for success, 1 for a failure, 2 for a request that cannot be served, 130 after Ctrl-C, 141 if the reader
of the output has gone. A command that has an exit status of somebody else's to pass on says by `FAILED` what stands for
both 1 and 2: for `run`, as for env(1) and timeout(1), 125, and 126 or 127 for a command that cannot be executed.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import re
import sys
from types import ModuleType
from typing import IO, Any, Iterator, List, NoReturn, Optional

from iotrace import starting
from iotrace.errors import CommandError, Failure, IotraceError, UserError, words
from iotrace.release import version
from iotrace.streams import columns_of_terminal
from iotrace.text import safe_text

COMMANDS = {
    "run": "iotrace.commands.run",
    "top": "iotrace.commands.top",
    "report": "iotrace.commands.report",
    "findings": "iotrace.commands.findings",
    "browse": "iotrace.commands.browse",
    "diff": "iotrace.commands.diff",
    "merge": "iotrace.commands.merge",
    "export": "iotrace.commands.export",
    "html": "iotrace.commands.html",
    "fio": "iotrace.commands.fio",
    "doctor": "iotrace.commands.doctor",
}

_NO_MEMORY = "out of memory: raise the limit, if there is one (ulimit -v, or the cgroup's)"


@contextlib.contextmanager
def _standard_output() -> Iterator[None]:
    """Turn what keeps standard output from being written into a Failure, but for a reader that has gone."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(f"standard output: not written: {error.strerror}") from error


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as argparse makes it, which imports shutil, and with that every kind of compression, to find out.

    It does so for each argument that is added, to see whether its help could be shown.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=columns_of_terminal() - 2)


class _Parser(argparse.ArgumentParser):
    """Opens its help with examples, and reports a mistake in one line."""

    examples = ""
    failed = 2  # the exit status

    def format_help(self) -> str:
        return self.examples + super().format_help()

    def _print_message(self, message: str, file: Any = None) -> None:
        """Help, or the version. argparse's own method drops it in silence where it cannot be written."""
        with _standard_output():
            (file or sys.stdout).write(message)

    def error(self, message: str) -> NoReturn:
        _complain(f"{message} (see {self.prog} --help)")
        raise SystemExit(self.failed)


_NOT_LOADED = {"run": 125}  # the exit status of a command whose module, which has its own, cannot be loaded


def _load(command: str) -> ModuleType:
    return importlib.import_module(COMMANDS[command])


def _command_parser(command: str, module: ModuleType) -> argparse.ArgumentParser:
    summary, _, examples = module.HELP.strip().partition("\n")
    parser = _Parser(prog=f"iotrace {command}", description=summary, formatter_class=_Formatter)
    parser.failed = getattr(module, "FAILED", 2)
    parser.examples = examples.strip("\n") + "\n\n" if examples.strip() else ""
    module.setup(parser)
    return parser


def _top_parser(summaries: bool) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="iotrace",
        description="What an application really does to its files.",
        formatter_class=_Formatter,
    )
    if summaries:
        lines = (f"  {name:8} {_load(name).HELP.strip().partition(chr(10))[0]}" for name in COMMANDS)
        parser.epilog = "commands:\n" + "\n".join(lines) + "\n\niotrace COMMAND --help says more."
    parser.add_argument("--pretend-kernel", metavar="VERSION", help="use nothing newer than that kernel, for testing")
    parser.add_argument("--version", action="version", version=f"iotrace {version()}")
    parser.add_argument("command", metavar="COMMAND", choices=tuple(COMMANDS), help="one of: " + ", ".join(COMMANDS))
    return parser


def _complain(message: str) -> None:
    """One safe line on standard error; where even that is closed, the exit status must do."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print("iotrace:", safe_text(" ".join(message.split("\n"))), file=sys.stderr, flush=True)


def _settle(stream: IO[str]) -> None:
    """Write out what can be; else point `stream` at /dev/null, so that the interpreter's last flush stays quiet."""
    try:
        stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _pretend(arguments: List[str]) -> List[str]:
    """Take `--pretend-kernel VERSION` off the front: nothing newer than that kernel is used. For testing."""
    if arguments[:1] != ["--pretend-kernel"]:
        return arguments
    if len(arguments) < 2 or not re.fullmatch(r"\d+\.\d+", arguments[1]):
        raise UserError("--pretend-kernel needs a version such as 4.14")
    features = importlib.import_module("pybpf.features")
    features.pretend(tuple(map(int, arguments[1].split("."))))
    return arguments[2:]


def _dispatch(arguments: List[str]) -> int:
    arguments = _pretend(arguments)
    if not arguments or arguments[0] not in COMMANDS:
        wants_help = not arguments or arguments[0] in ("-h", "--help")
        parser = _top_parser(summaries=wants_help)
        parser.parse_args(arguments or ["--help"])
        parser.error("the command comes first")  # `iotrace -- run` is all that gets here
    try:
        module = _load(arguments[0])
        parser = _command_parser(arguments[0], module)
    except (MemoryError, ImportError, SystemError) as error:  # the last is CPython's own, of an import without memory
        _complain(_words(error))
        return _NOT_LOADED.get(arguments[0], 1)
    args = module.parse(parser, arguments[1:]) if hasattr(module, "parse") else parser.parse_args(arguments[1:])
    if not hasattr(module, "SIGNALS"):
        starting.over()
    try:
        status: int = module.run(args)
    except (IotraceError, OSError, MemoryError, ImportError) as error:
        if not hasattr(module, "FAILED"):
            raise
        _complain(_words(error))
        return error.status if isinstance(error, CommandError) else int(module.FAILED)
    with _standard_output():
        sys.stdout.flush()
    return status


def _words(error: BaseException) -> str:
    """What happened, on what, and what to do about it."""
    if isinstance(error, (MemoryError, SystemError)) or (
        isinstance(error, ImportError) and "failed to map segment" in str(error)
    ):
        return _NO_MEMORY
    if isinstance(error, ImportError):  # Debian, say, has a part of the standard library in a package of its own
        return f"this Python is not complete: {error}"
    if not isinstance(error, OSError) or type(error).__str__ is not OSError.__str__:
        return str(error)
    if error.errno == errno.EMFILE:
        return "too many files are open: raise the limit (ulimit -n 1024)"
    if error.errno == errno.ENOMEM and error.filename is None:
        return _NO_MEMORY
    return words(error)


def settled(status: int) -> int:
    """The exit status once all that was printed, help included, is out; where it cannot be, that is said."""
    try:
        with _standard_output():
            sys.stdout.flush()
    except BrokenPipeError:
        return status or 141
    except Failure as error:
        if not status:
            _complain(str(error))
        return status or 1
    return status


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command that `arguments` (default: the process's own) name; returns the exit status."""
    try:
        return _dispatch(sys.argv[1:] if arguments is None else arguments)
    except IotraceError as error:
        _complain(str(error))
        return error.status
    except BrokenPipeError:
        _settle(sys.stdout)
        return 141  # what the shell would say of a program that SIGPIPE ended
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        _settle(sys.stdout)
        _complain(_words(error))
        return 1
    except (MemoryError, ImportError) as error:
        _complain(_words(error))
        return 1
