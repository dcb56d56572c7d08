"""Specifications of maps: what a loader has to create, and what a program means by a map's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from asm.kinds import MapType
from asm.layout import DataType


@dataclass(frozen=True)
class MapSpec:
    """A map, known by its name. `key` and `value` are None where the kind of map has none (a ring buffer).

    `flags` are the kernel's BPF_F_*; `inner` is the pattern of the maps in a map of maps.
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
        """In bytes."""
        return self.key.size if self.key is not None else 0

    @property
    def value_size(self) -> int:
        """In bytes, of one value: a per-CPU map has one on each possible CPU."""
        return self.value.size if self.value is not None else 0
