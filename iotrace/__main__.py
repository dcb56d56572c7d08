"""`python3 -m iotrace`, and `iotrace` where it is installed."""

from iotrace import starting

starting.begin()

import contextlib  # noqa: E402 - after what is to be first
import os  # noqa: E402
import sys  # noqa: E402
from typing import NoReturn  # noqa: E402

from iotrace import environment, streams  # noqa: E402
from iotrace.cli import main, settled  # noqa: E402


def command() -> NoReturn:
    """Run the command line and leave: without taking the interpreter apart, which takes 30 ms."""
    streams.prepare()
    environment.restore()
    try:
        status = main()
    except SystemExit as end:  # help has been shown, or a mistake been told
        status = end.code if isinstance(end.code, int) else 0
    status = settled(status)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    command()
