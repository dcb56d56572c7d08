"""What the user asked for: whom to trace, which files, and by what means."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Dict, List, Optional, Tuple

from iotrace.errors import UserError
from iotrace.globs import Selection
from programs.facts.kernel import UNIFIED, Options

if TYPE_CHECKING:
    from iotrace.kernel.cgroups import Choice


@dataclass
class Settings:
    """Whom to trace, which files, and by what means."""

    pids: List[int] = field(default_factory=list)
    comms: List[bytes] = field(default_factory=list)  # globs of process names
    cgroups: List[str] = field(default_factory=list)  # directories of cgroups
    everything: bool = False
    by: str = ""  # rows are apart by "process", "cgroup" or "user"
    follow: bool = True
    attach: str = "auto"  # or a key of `kernel.way_in.NAMES`
    light: bool = False  # data calls have no program at their entry
    include_pseudo: bool = False
    max_files: int = 0  # 0: as many as suit the kernel
    interval: Optional[int] = None  # ns: what files do in each is counted; 0: in intervals that grow with the run
    paths: List[bytes] = field(default_factory=list)  # globs
    excludes: List[bytes] = field(default_factory=list)  # globs
    offsets: str = "auto"  # where offsets come from: see `kernel.offsets.find`
    vmlinux: Optional[str] = None  # a kernel image with debug information

    def check(self) -> None:
        """Raises UserError where what is asked for cannot go together."""
        if self.light and self.attach not in ("auto", "raw"):
            raise UserError(f"--light takes raw tracepoints: no --attach {self.attach}")

    def options(self) -> Options:
        """The part of this that the programs must know. Raises Failure, UserError.

        Of cgroups, this looks at where their directories lead now.
        """
        chosen, hierarchy = [] if self.everything else self.cgroups, UNIFIED
        roots: Tuple[int, ...] = ()
        if chosen or self.by == "cgroup":
            hierarchy, roots, _ = self.hierarchy()
        return Options(
            by=self.by,
            cgroups=len(chosen),
            hierarchy=hierarchy,
            roots=roots if chosen else (),
            attach=self.attach,
            everything=self.everything,
            comm=bool(self.comms) and not self.everything,  # which has them all
            follow=self.follow,
            include_pseudo=self.include_pseudo,
            series=self.interval is not None,
            light="auto" if self.light else "",
        )

    def hierarchy(self) -> Choice:
        """Where cgroups are looked for, by those that are to be traced. Raises Failure, UserError."""
        from iotrace.kernel import cgroups  # noqa: PLC0415 - most runs do not ask

        return cgroups.choose(self.cgroups, apart=self.by == "cgroup")

    def selection(self) -> Selection:
        """Which files are wanted."""
        return Selection(tuple(self.paths), tuple(self.excludes))

    def as_filters(self) -> Dict[str, object]:
        """For the profile: option -> value, what was not given left out."""
        shown: Dict[str, object] = {
            "pid": self.pids,
            "comm": [os.fsdecode(name) for name in self.comms],
            "cgroup": self.cgroups,
            "all": self.everything,
            "by": self.by,
            "light": self.light,
            "include_pseudo": self.include_pseudo,
            "path": [os.fsdecode(glob) for glob in self.paths],
            "exclude": [os.fsdecode(glob) for glob in self.excludes],
        }
        return {**{name: value for name, value in shown.items() if value}, "follow": self.follow}
