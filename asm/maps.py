"""Specifications of maps: what a loader creates, and what programs refer to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from asm.kinds import MapType
from asm.layout import DataType


@dataclass(frozen=True)
class MapSpec:
    """A map: its name, by which programs refer to it, and what creates it.

    `key` and `value` are None for kinds of maps that have none, such as a ring buffer. `flags` are the kernel's BPF_F_*
    of map creation; `inner` is the specification that the maps in a map of maps share.
    """

    name: str
    type: MapType
    key: Optional[DataType]
    value: Optional[DataType]
    max_entries: int
    flags: int = 0
    inner: Optional[MapSpec] = None

    @property
    def key_size(self) -> int:
        """The size of a key in bytes."""
        return self.key.size if self.key is not None else 0

    @property
    def value_size(self) -> int:
        """The size of one value in bytes. A per-CPU map holds one for each possible CPU."""
        return self.value.size if self.value is not None else 0
