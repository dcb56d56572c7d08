"""Calls that move data from one descriptor to another: sendfile, copy_file_range, splice.

Each is two transfers, a read of the source and a write of the target; a side counts if it is a regular file. The
program for the source goes on with the one for the target.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from asm import U64, Field, ProgramSpec, r1, r2
from programs.calls.transfer import account_transfer, set_operation
from programs.facts.catalogue import Kind
from programs.facts.jumps import Jump
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import Call, Signature
from programs.way.body import Body
from programs.way.descriptors import resolve
from programs.way.exit import begin_exit
from programs.way.registers import ADDRESS, CALL, CALL_KIND, FILE, RESULT


class Arguments(NamedTuple):
    """Argument numbers: (descriptor, pointer to the offset or None) of each side, and the size."""

    source: Tuple[int, Optional[int]]
    target: Tuple[int, Optional[int]]
    size: int

    def side(self, name: str) -> Tuple[int, Optional[int]]:
        return self.source if name == "source" else self.target


SENDFILE = Arguments((1, 2), (0, None), 3)
COPY = Arguments((0, 1), (2, 3), 4)


def enter_copy(b: Body) -> None:
    """Notes both files at the entry of a call of CALL_KIND. Ends the program."""
    a = b.a
    a.jeq(CALL_KIND, Kind.SENDFILE, "enter_sendfile")
    note_files(b, COPY)
    a.ret(0)
    a.label("enter_sendfile")
    note_files(b, SENDFILE)
    a.ret(0)


def note_files(b: Body, arguments: Arguments) -> None:
    """Call.file and Call.target = what the descriptors refer to."""
    for side, place in (("source", Call.file), ("target", Call.target)):
        resolve(b, arguments.side(side)[0])
        b.a.stx(CALL[place], FILE)


def note_by_kind(b: Body, noted: str) -> None:
    """The labels "sendfile" and "copy": `note_files` for each, and on to `noted`."""
    for label, arguments in (("sendfile", SENDFILE), ("copy", COPY)):
        b.a.label(label)
        note_files(b, arguments)
        b.a.ja(noted)


def exit_source(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The source's side of a copy: a read."""
    b = begin_exit("exit_copy_source", kernel, options, maps, over=False)
    _side(b, "source", Signature.first)
    account_transfer(b, after=Jump.COPY_TARGET)
    b.a.label("out")
    b.a.ret(0)
    return b.program()


def exit_target(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The target's side of a copy: a write."""
    b = begin_exit("exit_copy_target", kernel, options, maps, over=False)
    b.a.st(CALL[Call.call], 0)
    _side(b, "target", Signature.second)
    account_transfer(b, after=0, file=Call.target)
    b.a.label("out")
    b.a.ret(0)
    return b.program()


def _side(b: Body, side: str, operation: Field) -> None:
    """What `account_transfer` needs to know of one side. Destroys SIGNATURE."""
    a = b.a
    set_operation(b, operation)
    for place in (Call.rw_flags, Call.unmeasured, Call.explicit):
        a.st(CALL[place], 0)
    b.signature(r1, Signature.kind)
    a.jeq(r1, Kind.SENDFILE, "sendfile")
    _arguments(b, COPY, side)
    a.ja("arguments_read")
    a.label("sendfile")
    _arguments(b, SENDFILE, side)
    a.label("arguments_read")


def _arguments(b: Body, arguments: Arguments, side: str) -> None:
    """Call.requested, and Call.offset if the caller gave one: the kernel has left it at the end of the copy."""
    a, none = b.a, b.a.unique("no_offset")
    a.ldx(r1, b.argument(arguments.size))
    a.stx(CALL[Call.requested], r1)
    pointer = arguments.side(side)[1]
    if pointer is None:
        return
    a.ldx(ADDRESS, b.argument(pointer))
    a.jeq(ADDRESS, 0, none)
    a.st(CALL[Call.explicit], 1)
    a.jsle(RESULT, 0, none)
    end = a.slot("word", U64)
    b.probe(end, 8, ADDRESS, 0, "the offset, as the kernel left it")
    a.ldx(r2, end)
    a.sub(r2, RESULT)
    a.stx(CALL[Call.offset], r2)
    a.label(none)
