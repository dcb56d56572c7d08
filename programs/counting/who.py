"""Rows apart by who does the I/O (`Options.by`): a row is what one process, cgroup or user does on a file.

A row has an id of its own, which counters are kept under: the operations' records, the sparse counters, and a
FileState that belongs to the row. What belongs to the file as such stays with the file's id, so that sums over rows are
what there would be without: the offset of the last write, the bytes that wait for a sync, and what of the state of an
open file description tells where a run goes on.

Who it is, is asked at each call: a process may change its name, its user and its cgroup. A process is known by the name
of its first thread, which is what `/proc/PID/comm` shows, a user by the real user id in the initial user namespace.

Nothing of this is built unless rows are apart.
"""

from __future__ import annotations

from asm import U64, MapSpec, Mem, r0, r1, r2, r3
from programs.counting.runs import record_run
from programs.facts.kernel import UNIFIED
from programs.facts.records import COMM_BYTES, SYNC, Call, FileState, OwnedFile, RowKey
from programs.way.body import BPF_NOEXIST, Body
from programs.way.cgroups import own_css
from programs.way.registers import CALL, OPEN_FILE, RESULT


def find_row(b: Body, full: str) -> None:
    """Call.row = the row of current on the file Call.id, made if need be; a jump to `full` without room.

    Clobbers r0 to r5.
    """
    if b.options.by:
        _ask(b)
        _look_up(b, full)


def find_row_of_note(b: Body, full: str) -> None:
    """The same for whoever submitted the request of the Call record, if the file was not known then.

    The note has its name or number in Call.broken and Call.ended.
    """
    if b.options.by:
        a, key, have = b.a, b.row_key(), b.a.unique("have_row")
        a.ldx(r1, CALL[Call.row])
        a.jne(r1, 0, have)
        for number, place in enumerate((Call.broken, Call.ended)):
            a.ldx(r1, CALL[place])
            a.stx(key[RowKey.who[number]], r1)
        _look_up(b, full)
        a.label(have)


def note_who(b: Body) -> None:
    """Call.broken and Call.ended = who current is, for a note whose file is not known."""
    if b.options.by:
        a, key = b.a, b.row_key()
        _ask(b)
        for number, place in enumerate((Call.broken, Call.ended)):
            a.ldx(r1, key[RowKey.who[number]])
            a.stx(CALL[place], r1)
        a.st(CALL[Call.row], 0)


def leave_row(b: Body) -> None:
    """The request turns out to be on another file: Call.broken and Call.ended = who submitted it, Call.row = 0."""
    if b.options.by:
        a, none = b.a, b.a.unique("no_row")
        find_row_state(b, none)
        for place, word in ((Call.broken, FileState.who), (Call.ended, FileState.who_more)):
            a.ldx(r1, r0[word])
            a.stx(CALL[place], r1)
        a.label(none)
        a.st(CALL[Call.row], 0)


def find_row_state(b: Body, missing: str) -> None:
    """r0 = the FileState of Call.row, or a jump to `missing`. Clobbers r1 to r5."""
    find_in(b, b.maps.row_states, CALL[Call.row], missing)


def find_in(b: Body, states: MapSpec, id: Mem, missing: str) -> None:
    """r0 = the FileState that `states` has for an id, or a jump to `missing`. Clobbers r1 to r5."""
    a, key = b.a, b.a.slot("id", U64)
    a.ldx(r1, id)
    a.stx(key, r1)
    a.lookup(states, key)
    a.jeq(r0, 0, missing)


def take_over_runs(b: Body, *, done: bool = True) -> None:
    """OPEN_FILE's runs belong to Call.row from now on. One of another's that this transfer has ended is that one's.

    What transfers nothing takes over nothing: by RESULT if it is `done`.
    """
    if b.options.by:
        a, own = b.a, b.a.unique("own_run")
        if done:
            a.jsle(RESULT, 0, own)
        a.ldx(r1, CALL[Call.direction])
        a.jeq(r1, SYNC, own)
        a.ldx(r1, OPEN_FILE[OwnedFile.row])
        a.ldx(r2, CALL[Call.row])
        a.jeq(r1, r2, own)
        record_run(b, CALL[Call.direction])
        a.st(CALL[Call.broken], 0)
        a.ldx(r1, CALL[Call.row])
        a.stx(OPEN_FILE[OwnedFile.row], r1)
        a.label(own)


def _ask(b: Body) -> None:
    """RowKey.who = who current is. Clobbers r0 to r5."""
    a, key = b.a, b.row_key()
    who = key[RowKey.who[0]]
    for number in range(2):
        a.st(key[RowKey.who[number]], 0)
    if b.options.by == "user":
        a.call("get_current_uid_gid")
        a.mov32(r0, r0, "the user, without the group")
        a.stx(who, r0)
    elif b.options.by == "process":
        a.call("get_current_task")
        a.mov(r3, r0)
        if "task.leader" in b.kernel.offsets:
            b.load(r3, r3, b.kernel.offsets["task.leader"], "the first thread", of="task_struct")
        a.add(r3, b.kernel.offsets["task.comm"])
        b.address(r1, who)
        a.mov(r2, COMM_BYTES)
        a.call("probe_read_str", "what lies behind the NUL is not part of it")
    elif b.options.hierarchy == UNIFIED:
        a.call("get_current_cgroup_id")
        a.stx(who, r0)
    else:
        own_css(b, r1)
        b.load(r1, r1, b.kernel.offsets["css.cgroup"])
        b.load(r1, r1, b.kernel.offsets["cgroup.node"])
        b.load(r1, r1, b.kernel.offsets["node.id"])
        a.stx(who, r1)


def _look_up(b: Body, full: str) -> None:
    """Call.row = the row of Call.id and RowKey.who, made if need be."""
    a, key, row = b.a, b.row_key(), b.a.slot("id", U64)
    have, ours = a.unique("have_row"), a.unique("row_ours")
    a.ldx(r1, CALL[Call.id])
    a.stx(key[RowKey.id], r1)
    if b.kernel.straight:
        a.st(row, 0)
        b.fresh(FileState)
    a.lookup(b.maps.rows, key)
    a.jne(r0, 0, have)
    b.new_id(row)
    fresh = b.fresh(FileState)
    for number, word in enumerate((FileState.who, FileState.who_more)):
        a.ldx(r1, key[RowKey.who[number]])
        a.stx(fresh[word], r1)
    a.update(b.maps.row_states, row, fresh, BPF_NOEXIST)
    a.jne(r0, 0, full)
    a.update(b.maps.rows, key, row, BPF_NOEXIST)
    a.jeq(r0, 0, ours)
    a.delete(b.maps.row_states, row)
    a.label(ours)
    a.lookup(b.maps.rows, key)
    a.jeq(r0, 0, full)
    a.label(have)
    a.ldx(r1, r0.u64(0))
    a.stx(CALL[Call.row], r1)
