"""The idioms that programs are made of, each on its own: what a golden listing shows of them."""

from __future__ import annotations

from typing import Callable, Dict, NamedTuple, Tuple

from asm import U64, r0, r1, r2, r3, r4, r5, r6, r7, r8, r9
from asm.listing import listing
from programs.calls import transfer, vector
from programs.counting.runs import extend_at_offset
from programs.facts import maps
from programs.facts.catalogue import READ
from programs.facts.kernel import Kernel, Options
from programs.facts.records import Call, FileState, Lost, OpenFile, Pending, PendingKey, Signature
from programs.requests import notes
from programs.way.body import Body, begin

_REGISTERS = (r0, r2, r3, r4, r5, r6, r7, r8, r9, r1)


class Idiom(NamedTuple):
    """What emits it, and the labels that it jumps to. Some idioms are for kernels with loops, or only listed there."""

    emit: Callable[[Body], None]
    labels: Tuple[str, ...] = ()
    newest_only: bool = False


def _note(b: Body) -> None:
    notes.put(b, b.a.slot("request", PendingKey), [(Pending.id, r9[Call.id]), (Pending.flags, None)], "full")


def _take(b: Body) -> None:
    notes.take(b, b.a.slot("request", PendingKey), [(Pending.id, r9[Call.id])], "unknown")


def _tally(b: Body) -> None:
    b.tally(file=r9[Call.id], op=r9[Call.op], kind=1, item=r2, beyond=r9[Call.direction])


def _loop(b: Body) -> None:
    def emit() -> None:
        b.a.stx(r2.u64(0), r1)
        b.a.ret(0)

    b.loop(8, "round", emit, b.a.slot("context", U64), "eight rounds")


IDIOMS: Dict[str, Idiom] = {
    "bucket": Idiom(lambda b: b.bucket(r2, r3, r4)),
    "cell": Idiom(lambda b: b.cell(r2, r3)),
    "copy": Idiom(lambda b: b.copy(r9[Call.inode], r8, 32, "file", "the inode")),
    "extend_at_offset": Idiom(lambda b: extend_at_offset(b, READ)),
    "fresh": Idiom(lambda b: b.a.addr(r3, b.fresh(FileState))),
    "load": Idiom(lambda b: b.load(r1, r8, 40, "O_* flags", size=4, of="file")),
    "loop": Idiom(_loop, newest_only=True),
    "lost": Idiom(lambda b: b.lost(Lost.calls)),
    "note_find": Idiom(lambda b: notes.find(b, b.a.slot("request", PendingKey), "unknown"), ("unknown",)),
    "note_put": Idiom(_note, ("full",)),
    "note_take": Idiom(_take, ("unknown",)),
    "set_operation": Idiom(lambda b: transfer.set_operation(b, Signature.first)),
    "sum_iovec": Idiom(vector.sum_iovec, ("out",), newest_only=True),
    "swap": Idiom(lambda b: b.swap(r7[OpenFile.pos], r8, r2)),
    "tally": Idiom(_tally),
}


def listing_of(name: str, kernel: Kernel) -> str:
    """The idiom in a program of its own, whose registers all hold something when it begins."""
    idiom = IDIOMS[name]
    b = begin(name, kernel, Options(attach="raw"), maps.declare(kernel), context=False)
    for register in _REGISTERS:
        b.a.ldx(register, r1[0])
    idiom.emit(b)
    for label in idiom.labels:
        b.a.label(label)
    b.a.ret(0)
    return listing(b.program().instructions[len(_REGISTERS) :])
