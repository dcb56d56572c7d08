"""Ways in: what the programs can be attached to so that they see system calls, and which of them is best here."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Optional

from iotrace.errors import Failure
from pybpf import features
from pybpf.types.tracefs import Tracefs, TracefsError

# As a profile names them.
NAMES = {"raw": "raw_tracepoint", "perf": "tracepoint", "fentry": "fentry"}


def choose(wanted: str) -> str:
    """The way in: `wanted`, a key of NAMES, or the best that this kernel has for "auto". Raises Failure.

    fentry is used only on request: it loads two programs for each system call, and a task that preempts another one
    inside a program is not traced meanwhile.
    """
    if wanted == "auto":
        return "raw" if features.FEATURES["raw_tracepoints"].supported() else "perf"
    if wanted == "raw" and not features.FEATURES["raw_tracepoints"].supported():
        raise Failure("this kernel has no raw tracepoints (4.17): use --attach perf")
    if wanted == "fentry" and not features.FEATURES["fentry"].supported():
        raise Failure(
            "this kernel does not let programs attach to its functions (fentry, 5.5; lockdown forbids it): "
            "use --attach raw or perf"
        )
    return wanted


def choose_light() -> str:
    """How `run --light` sees the entries that it needs: a key of NAMES. Raises Failure where it cannot be had."""
    if not all(features.FEATURES[name].supported() for name in ("raw_tracepoints", "map_value_arguments")):
        raise Failure("--light takes raw tracepoints, and more that came with Linux 4.18: leave it out")
    return "perf"


@contextmanager
def tracefs_for(method: str, *, light: bool = False) -> Iterator[Optional[Tracefs]]:
    """The tracefs where `method` needs one, mounted privately if need be; None for the others. Raises Failure.

    `light`: it is for what `choose_light` has given.
    """
    if method != "perf":
        yield None
        return
    try:
        opened = Tracefs.open()
    except TracefsError as error:
        another = ", or leave --light out" if light else ", or use --attach raw"
        raise Failure(f"{error}{another if features.FEATURES['raw_tracepoints'].supported() else ''}") from error
    with opened:
        yield opened
