"""Where a profile goes: its name if the user gives none, and whether it can be written there."""

from __future__ import annotations

import os
import re
import time
from typing import Sequence

from iotrace.errors import UserError
from iotrace.tracing.settings import Settings


def default_name(settings: Settings, command: Sequence[str] = ()) -> str:
    """A name in the current directory, by what is traced and the time; safe to show, and never a path."""
    if command:
        name = os.path.basename(command[0])
    elif settings.comms:
        name = os.fsdecode(settings.comms[0])
    else:
        name = "all" if settings.everything else f"pid{settings.pids[0]}"
    name = re.sub(r"[^\w.+-]", "_", name)[:64] or "run"
    return f"iotrace-{name}-{time.strftime('%Y%m%d-%H%M%S')}.iotrace"


def check(output: str) -> None:
    """Check before a run whether the profile can be written after it. Raises UserError."""
    directory = os.path.dirname(output) or "."
    if not os.path.isdir(directory):
        raise UserError(f"{output}: there is no directory {directory}")
    if not os.access(directory, os.W_OK):
        raise UserError(f"{output}: {directory} cannot be written to")
    if os.path.isdir(output):
        raise UserError(f"{output}: that is a directory")
