"""How this kernel shows io_uring's requests, if it shows them well enough to be followed."""

from __future__ import annotations

from contextlib import suppress
from typing import Dict, List, Optional

from programs.facts.kernel import Uring
from programs.facts.members import URING_EVENTS, URING_MEMBERS
from programs.requests.uring.shapes import OPCODES, WORKER, needed
from pybpf import features
from pybpf.types.btf import Btf, MissingMember

_MAY_LACK = {"node.file", "ring.completing", "request.list", *WORKER, *(m for k in OPCODES.values() for m in needed(k))}
_NEEDED = ("taken", "refused", "completed")
_OVERFLOW_ARGUMENTS = 5  # ring, user data, result, flags, the entry on the list
_REQUEST = "io_kiocb"


def find(btf: Btf) -> Optional[Uring]:
    """How it shows them; None where something that is needed is missing.

    Both ends of a request must show its address. io_uring_complete does on 6.1, but not on 5.10.
    """
    if not features.FEATURES["uring_requests"].supported():
        return None
    offsets = _offsets(btf)
    events: Dict[str, str] = {}
    request: Dict[str, int] = {}
    for key in _NEEDED:
        for name in URING_EVENTS[key]:
            at = _argument(btf, name)
            if at is not None:
                events[key], request[key] = name, at
                break
    if offsets is None or len(events) < len(_NEEDED):
        return None
    if {"ring.completing", "request.list"} <= offsets.keys():
        with suppress(MissingMember):
            (name,) = URING_EVENTS["overflowed"]
            if len(btf.tracepoint_arguments(name)) == _OVERFLOW_ARGUMENTS:
                events["overflowed"] = name
    return Uring(events, request, offsets)


def _offsets(btf: Btf) -> Optional[Dict[str, int]]:
    """By the keys of URING_MEMBERS; None if one is missing that is needed."""
    every = [member for members in URING_MEMBERS.values() for member in members]
    places = btf.offsets([], optional=every)
    found = {}
    for key, members in URING_MEMBERS.items():
        known = [places[member].offset for member in members if member in places]
        if known:
            found[key] = known[0]
        elif key not in _MAY_LACK:
            return None
    return found


def _argument(btf: Btf, event: str) -> Optional[int]:
    """The position of the request among a raw tracepoint's arguments: known by its type, or as the pointer to void
    that stands behind the one to the ring."""
    try:
        arguments: List[Optional[str]] = btf.tracepoint_arguments(event)
    except MissingMember:
        return None
    if _REQUEST in arguments:
        return arguments.index(_REQUEST)
    return 1 if arguments[0] in ("", "io_ring_ctx") and arguments[1:2] == [""] else None
