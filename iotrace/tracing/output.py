"""Where the profile of a run goes: its name if the user gives none, and whether it can be written there."""

from __future__ import annotations

import os
import re
import time
from typing import Optional, Sequence

from iotrace.places import PathLike
from iotrace.profile.target import Target
from iotrace.tracing.settings import Settings


def default_name(settings: Settings, command: Sequence[str] = ()) -> str:
    """A name in the current directory, by what is traced and the time; safe to show, and never a path."""
    if command:
        name = os.path.basename(command[0])
    elif settings.comms:
        name = os.fsdecode(settings.comms[0])
    elif settings.cgroups and not (settings.everything or settings.pids):
        name = os.path.basename(os.path.normpath(settings.cgroups[0]))
    else:
        name = "all" if settings.everything else f"pid{settings.pids[0]}"
    name = re.sub(r"[^\w.+-]", "_", name)[:64] or "run"
    return f"iotrace-{name}-{time.strftime('%Y%m%d-%H%M%S')}.iotrace"


def target(
    output: Optional[PathLike], settings: Settings, command: Sequence[str] = (), *, force: bool = False
) -> Target:
    """Where the profile goes, which can be written there as far as one can tell before the run. Raises UserError."""
    own_name = output is None
    found = Target(
        default_name(settings, command) if output is None else output, force=force, own_name=own_name, elsewhere=True
    )
    found.check()
    return found
