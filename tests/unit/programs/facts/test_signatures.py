"""What the `syscalls` map says of a call holds all that the programs take from it."""

from __future__ import annotations

import pytest

from programs.facts.catalogue import BY_CODE, SYSTEM_CALLS, Kind, SystemCall
from programs.facts.records import Call, Signature
from programs.facts.signatures import KIND_MASK, SWITCH, signature


@pytest.mark.parametrize("call", SYSTEM_CALLS, ids=lambda call: call.name)
def test_a_signature_holds_all_that_the_programs_take_from_it(call: SystemCall) -> None:
    packed = signature(call)
    assert 0 < packed < 1 << 32
    codes = [packed >> 16 & 0xFF, packed >> 24]
    assert (Kind(packed & 0xFF), packed >> 8 & 0xFF) == (call.kind, call.position)
    assert [BY_CODE[code].name for code in codes if code] == list(call.operations)


def test_the_word_of_a_call_is_its_signature_byte_by_byte() -> None:
    """The lowest byte comes first, so what is shifted out of the word and what is read from memory are the same."""
    assert (Call.signature.offset, Call.signature.size) == (Call.call.offset, Call.call.size)
    for place in Signature.fields.values():
        assert Call.signature[place].offset == Call.call.offset + place.offset
    assert Signature.kind.offset == 0 and (1 << 8 * Signature.kind.size) - 1 == KIND_MASK
    assert 8 * Signature.size <= SWITCH < 64
