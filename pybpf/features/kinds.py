"""Features without a name of their own: kinds of maps, kinds of programs, and what helpers the latter may call."""

from __future__ import annotations

import errno
import os
from functools import lru_cache
from typing import Tuple

import asm
from asm import MapType, ProgramType
from pybpf.attributes import MapCreateAttr
from pybpf.descriptor import Descriptor
from pybpf.features.feature import Feature
from pybpf.features.probes import load_tracing, tracing_refused
from pybpf.features.trial import NO_FD, REFUSED, attempt, create, encoded, knows, load, load_btf
from pybpf.syscalls import BpfError, Command, bpf

__all__ = ["helper", "map_type", "program_type"]

_TRACING_KINDS = (
    ProgramType.SOCKET_FILTER,
    ProgramType.KPROBE,
    ProgramType.TRACEPOINT,
    ProgramType.PERF_EVENT,
    ProgramType.RAW_TRACEPOINT,
    ProgramType.TRACING,
)


@lru_cache(maxsize=None)
def map_type(kind: MapType) -> Feature:
    """Whether maps of `kind` can be created. Raises ValueError for one that no probe here knows how to create."""
    page = os.sysconf("SC_PAGE_SIZE")
    shapes = {MapType.RINGBUF: (0, 0, page), MapType.LPM_TRIE: (8, 8, 1), MapType.STACK_TRACE: (4, 8, 1)}
    if kind is MapType.TASK_STORAGE:
        return Feature("TASK_STORAGE maps", asm.MAP_TYPES[kind], "values kept with their threads", _task_storage)
    if kind in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS):
        return Feature(f"{kind.name} maps", asm.MAP_TYPES[kind], "maps of maps", lambda: _map_of_maps(kind))
    if kind > MapType.LPM_TRIE and kind is not MapType.RINGBUF:
        raise ValueError(f"there is no probe for maps of kind {kind.name}")
    key, value, entries = shapes.get(kind, (4, 4, 1))
    flags = 1 if kind is MapType.LPM_TRIE else 0  # BPF_F_NO_PREALLOC, which a trie must have
    return Feature(
        f"{kind.name} maps",
        asm.MAP_TYPES[kind],
        f"maps of kind {kind.name}",
        lambda: attempt(lambda: create(kind, key, value, entries, flags=flags)),
    )


def _map_of_maps(kind: MapType) -> bool:
    # A number that is not a descriptor gives EBADF where the kind is known; where it is not, the kind gives EINVAL.
    attr = MapCreateAttr(map_type=kind, key_size=4, value_size=4, max_entries=1, inner_map_fd=NO_FD)
    return knows(Command.MAP_CREATE, attr)


def _task_storage() -> bool:
    """It cannot be created without types for its key and value; `int` does for both."""

    def create_with_types() -> int:
        with Descriptor(load_btf()) as types:
            attr = MapCreateAttr(
                map_type=MapType.TASK_STORAGE,
                key_size=4,
                value_size=4,
                map_flags=1,
                btf_fd=types.fileno(),
                btf_key_type_id=1,
                btf_value_type_id=1,
            )
            return bpf(Command.MAP_CREATE, attr, subject="feature probe")

    return attempt(create_with_types)


@lru_cache(maxsize=None)
def program_type(kind: ProgramType) -> Feature:
    """Whether programs of `kind` can be loaded. Raises ValueError for one that has nothing to do with tracing."""
    _check(kind)
    return Feature(
        f"{kind.name} programs",
        asm.PROGRAM_TYPES[kind],
        f"programs of kind {kind.name}",
        lambda: attempt(lambda: _load(_returning(kind), kind), _refused_for(kind)),
    )


@lru_cache(maxsize=None)
def helper(kind: ProgramType, name: str) -> Feature:
    """Whether programs of `kind` may call the helper `name` (without `bpf_`).

    Raises KeyError for a name that no kernel has, ValueError for a kind that has nothing to do with tracing.
    """
    _check(kind)
    since = asm.HELPERS[name].since

    def probe() -> bool:
        # EACCES: its arguments have no value, so it is known. EINVAL: it is not, or not for this kind of program.
        try:
            Descriptor(_load(_returning(kind, name), kind)).close()
        except BpfError as error:
            if error.errno == errno.EACCES:
                return True
            if error.errno in _refused_for(kind):
                return False
            raise
        return True

    return Feature(f"bpf_{name} in {kind.name}", since, f"the helper bpf_{name} in programs of kind {kind.name}", probe)


def _check(kind: ProgramType) -> None:
    if kind not in _TRACING_KINDS:
        raise ValueError(f"there is no probe for programs of kind {kind.name}")


def _returning(kind: ProgramType, helper: str = "") -> bytes:
    """A program that calls `helper`, if any, and returns 0."""
    a = asm.Assembler("probe", kind)
    if helper:
        a.call(helper)
    a.ret(0)
    return encoded(a)


def _load(code: bytes, kind: ProgramType) -> int:
    return load_tracing(code) if kind is ProgramType.TRACING else load(code, kind)


def _refused_for(kind: ProgramType) -> Tuple[int, ...]:
    return tracing_refused() if kind is ProgramType.TRACING else REFUSED
