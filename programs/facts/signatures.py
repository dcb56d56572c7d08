"""The word that tells the programs what a system call is, as the map `syscalls` holds it by the call's number."""

from __future__ import annotations

from programs.facts.catalogue import BY_NAME, SystemCall
from programs.facts.records import Signature

KIND_MASK = 0xFF
"""Where the kind is in the word."""
SWITCH = 40
"""The bit of a row of `syscalls` that says whether the call is traced now. The signature is its lower half."""


def signature(call: SystemCall) -> int:
    """The `Signature` of a call as a little-endian word; operation code 0 stands for none."""
    first, second = [*(BY_NAME[name].code for name in call.operations), 0, 0][:2]
    packed = Signature.pack(kind=call.kind, position=call.position, first=first, second=second)
    return int.from_bytes(packed, "little")
