"""A feature: its name, the kernel that brought it, and the probe that finds out whether this kernel has it."""

from __future__ import annotations

from enum import Enum
from typing import Callable, Dict, Optional, Tuple

__all__ = ["FEATURES", "Feature", "Probe", "State", "Version", "feature", "pretend", "pretended"]

Version = Tuple[int, int]
Probe = Callable[[], bool]


class State(Enum):
    """The answer of a probe."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    UNKNOWN = "could not tell"


_pretended: Optional[Version] = None


def pretend(version: Optional[Version]) -> None:
    """Answer "not supported" for every feature newer than `version`, such as (4, 14); None ends it.

    For tests, in one process as a whole. It has its effect in `Feature.hidden` alone: whatever may be used of a kernel
    asks a Feature.
    """
    global _pretended  # noqa: PLW0603 - one process traces one kernel
    _pretended = version


def pretended() -> Optional[Version]:
    """The kernel that `pretend` set: to name what was found out under it, not to decide anything."""
    return _pretended


class Feature:
    """Something that kernels have from `since` on.

    `probe` returns whether this kernel has it, or raises OSError if it cannot decide.
    """

    def __init__(self, name: str, since: Version, description: str, probe: Probe) -> None:
        self.name = name
        self.since = since
        self.description = description
        self.error: Optional[OSError] = None
        self._probe = probe
        self._answer: Optional[bool] = None

    @property
    def hidden(self) -> bool:
        """Whether `pretend` hides it: then it must not be used, and nothing is asked of the kernel."""
        return _pretended is not None and self.since > _pretended

    @property
    def state(self) -> State:
        """The answer, probing if there is none yet."""
        if self.hidden:
            return State.NOT_SUPPORTED
        if self._answer is None:
            try:
                self._answer = self._probe()
                self.error = None
            except OSError as error:
                self.error = error
                return State.UNKNOWN
        return State.SUPPORTED if self._answer else State.NOT_SUPPORTED

    def supported(self) -> bool:
        """Whether the kernel certainly has it."""
        return self.state is State.SUPPORTED

    @property
    def known(self) -> Optional[bool]:
        """The answer of a probe that was made, whatever `pretend` hides; None if there was none."""
        return self._answer

    def assume(self, answer: bool) -> None:
        """Take `answer` for that of a probe, which another process made on the same kernel."""
        self._answer = answer

    def __repr__(self) -> str:
        return f"<Feature {self.name}, Linux {self.since[0]}.{self.since[1]}>"


FEATURES: Dict[str, Feature] = {}
"""Every feature that has a name of its own, oldest first."""


def feature(name: str, since: Version, description: str) -> Callable[[Probe], Feature]:
    """Make a probe the feature `name`, which FEATURES then has."""

    def register(probe: Probe) -> Feature:
        FEATURES[name] = made = Feature(name, since, description, probe)
        return made

    return register
