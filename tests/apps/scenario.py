"""Scripts with known answers: what the tests of this kernel and those of others have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Iterator, Mapping, Tuple

from .traced import Made, Traced, data_calls

Errors = Mapping[str, Mapping[str, int]]  # by operation and errno


@dataclass(frozen=True)
class File:
    """What must be reported of a file: its data calls, its asynchronous syncs with their errors, other fields."""

    calls: Mapping[str, Made]
    syncs: Mapping[str, int] = field(default_factory=dict)
    more: Mapping[str, object] = field(default_factory=dict)

    def differences(self, found: Mapping[str, object]) -> Iterator[str]:
        """A line for each thing that is not as it must be."""
        yield from differing("calls", dict(self.calls), data_calls(found))
        syscalls = found["syscalls"]
        assert isinstance(syscalls, dict)
        for key, calls in self.syncs.items():
            shown = syscalls.get(key, {"calls": 0, "latency_ns": {}})
            yield from differing(key, (calls, calls), (shown["calls"], sum(shown["latency_ns"].values())))
        for key, value in self.more.items():
            shown = found[key]
            if isinstance(shown, dict):
                shown = {int(bucket): count for bucket, count in shown.items()}
            yield from differing(key, value, shown)


@dataclass(frozen=True)
class Scenario:
    """A script, and what must be reported of the files in its directory that it uses."""

    text: str
    files: Mapping[str, File]
    unattributed: Errors = field(default_factory=dict)

    def differences(self, found: Traced) -> Iterator[str]:
        """As of a file; what belongs to none is the whole run's and left to the caller."""
        if found.lacks is not None:
            return
        yield from differing("files", sorted(self.files), found.names)
        for name, file in self.files.items():
            if name in found.names:
                yield from (f"{name} {line}" for line in file.differences(found[name]))


def differing(what: str, expected: object, found: object) -> Iterator[str]:
    """One line if they are not equal."""
    if expected != found:
        yield f"{what}: {found}, not {expected}"


def errors_of(found: Traced, family: str) -> Dict[str, Dict[str, int]]:
    """The errors on no file of a family of operations, such as "aio_"."""
    every: Mapping[str, Dict[str, int]] = found.document["unattributed"]
    return {key: errors for key, errors in every.items() if key.startswith(family)}


def counts(scenario: Scenario, found: Traced) -> Tuple[int, int]:
    """How many calls the script is known to have made, syncs included, and how many of them were counted.

    Both are 0 where the kernel could not do it. Of other calls on its files nothing is said.
    """
    if found.lacks is not None:
        return 0, 0
    made = counted = 0
    for name, file in scenario.files.items():
        expected = {**{key: calls[0] for key, calls in file.calls.items()}, **file.syncs}
        made += sum(expected.values())
        if name in found.names:
            shown = found[name]["syscalls"]
            counted += sum(shown[key]["calls"] for key in expected if key in shown)
    return made, counted
