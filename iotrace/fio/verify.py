"""The proof: run a job under iotrace, in a directory that is made for it and removed again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from typing import Callable, Dict, Iterator, List

from iotrace import text
from iotrace.errors import Failure, UserError
from iotrace.fio.model import Load
from iotrace.fio.prepared import Prepared
from iotrace.globs import literal
from iotrace.profile import reader
from iotrace.tracing.api import Run, trace

_PREFIX = "iotrace-fio-"
_SPARE = 1 << 20  # bytes for the logs and the profile


def replayed(parent: str, make: Callable[[str, str], Prepared]) -> List[Load]:
    """What fio does with the job that `make` makes for its directory below `parent`: a load for each of its own.

    `make` gets the directory of the files and one in which it may leave logs, where fio is run.

    Raises Failure if fio is not there or fails, UserError if there is no room for the files.
    """
    if shutil.which("fio") is None:
        raise Failure("fio is not installed: --verify runs it")
    with _scratch(parent) as scratch:
        data = os.path.join(scratch, "data")
        os.mkdir(data)
        job = make(data, scratch)
        _check_room(parent, job.room)
        path, said = os.path.join(scratch, "job.fio"), os.path.join(scratch, "fio.out")
        _write(path, job.text.replace("[global]\n", "[global]\ncreate_only=1\n", 1))
        _fio(path, said)
        _write(path, job.text)
        return _traced(scratch, said, data, job)


def _traced(scratch: str, said: str, data: str, job: Prepared) -> List[Load]:
    pattern = literal(os.fsencode(data)) + b"/*"
    profile = os.path.join(scratch, "profile.iotrace")
    # A shell, since fio looks for logs where it was started.
    words = ["sh", "-c", 'cd "$0" && echo $$ > pid && exec fio --output="$1" job.fio', scratch, said]
    with trace(words, output=profile, paths=[pattern]) as run:
        try:
            run.wait()
        except BaseException:  # Ctrl-C: fio, in a terminal's foreground, has had it too, but not SIGTERM
            _end(run, os.path.join(scratch, "pid"))
            raise
    if run.exit_status:
        raise Failure(f"fio failed: {_first_line(said)}")
    found: Dict[str, Load] = {name: Load((name,)) for name in job.names}
    with reader.open(run.output) as opened:
        lost = {name: count for name, count in opened.header.lost.items() if count}
        if lost:
            raise Failure(f"the trace of fio is not complete: {lost}")
        for file in opened.files():
            load = found.get(job.load_of(os.path.basename(os.fsdecode(file.path))))
            if load is not None:
                load.add(file)
    return list(found.values())


def _end(run: Run, path: str) -> None:
    """End fio, so that it does not go on in a directory that has gone."""
    for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            if run.exit_status is None:
                os.kill(int(file.read()), number)
        if run.wait(seconds):
            return


@contextlib.contextmanager
def _scratch(parent: str) -> Iterator[str]:
    try:
        scratch = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
    except OSError as error:
        raise UserError(f"{parent}: no directory can be made there: {error.strerror}") from None
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_room(parent: str, needed: int) -> None:
    there = os.statvfs(parent)
    free = there.f_bavail * there.f_frsize
    if needed + _SPARE > free:
        raise UserError(f"{parent}: the job's files take {text.size(needed)}, and there are {text.size(free)}")


def _write(path: str, words: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(words)


def _fio(job: str, said: str) -> None:
    words = ["fio", f"--output={said}", job]
    done = subprocess.run(
        words, cwd=os.path.dirname(job), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if done.returncode:
        error = done.stderr.decode("utf-8", "replace").strip()
        raise Failure(f"fio failed: {error.splitlines()[0] if error else _first_line(said)}")


def _first_line(path: str) -> str:
    """Where fio says what is wrong."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.startswith("fio:") or "error" in line.lower()]
        if lines:
            return lines[0]
    return "it does not say why"
