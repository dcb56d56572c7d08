"""Durability: fsync, fdatasync and sync_file_range."""

from __future__ import annotations

from asm import ProgramSpec, r0, r1
from programs.calls.transfer import set_operation
from programs.counting import counters, results
from programs.counting.threads import used
from programs.counting.who import find_row
from programs.facts.kernel import Kernel, Options
from programs.facts.maps import Maps
from programs.facts.records import Call, Lost, OpenFile, Signature
from programs.files.identify import SCRATCH_EXIT, find_or_identify, send_name
from programs.way.exit import begin_exit
from programs.way.registers import CALL, FILE, OPEN_FILE, RESULT


def exit_sync(kernel: Kernel, options: Options, maps: Maps) -> ProgramSpec:
    """The exit of a sync. A successful fsync or fdatasync covers every byte written to the file before."""
    b = begin_exit("exit_sync", kernel, options, maps)
    a = b.a
    results.show_other(b)
    set_operation(b, Signature.first)
    a.stx(CALL[Call.result], RESULT)
    a.call("ktime_get_ns")
    a.stx(CALL[Call.now], r0)
    for place in (Call.moved, Call.walk):
        a.st(CALL[place], 0)
    a.ldx(r1, CALL[Call.file])
    a.jeq(r1, 0, "no_file")
    a.mov(FILE, r1)
    find_or_identify(b, scratch=SCRATCH_EXIT, skip="out", descriptor=0)
    a.ldx(RESULT, CALL[Call.result])
    a.ldx(r1, OPEN_FILE[OpenFile.id])
    a.stx(CALL[Call.id], r1)
    used(b)
    find_row(b, "full")
    results.sync_result(b, "full")
    a.ja("name")
    a.label("full")
    b.lost(Lost.calls)
    a.label("name")
    send_name(b, SCRATCH_EXIT)
    a.label("no_file")
    a.ldx(RESULT, CALL[Call.result])
    counters.without_file(b, "out")
    a.label("out")
    a.ret(0)
    return b.program()
