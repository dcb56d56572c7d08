"""What every program body uses: the assembler together with the facts, and the few idioms that recur.

`programs.way.registers` names what r6 to r9 hold. r0 to r5 belong to the idioms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, List, Optional, Tuple, Type, Union

from asm import (
    U32,
    U64,
    Assembler,
    Field,
    Layout,
    MapSpec,
    Mem,
    ProgramSpec,
    ProgramType,
    Register,
    Slot,
    isa,
    r0,
    r1,
    r2,
    r3,
    r4,
    r7,
    r8,
    r10,
)
from programs.facts.kernel import Kernel, Options, Uring
from programs.facts.maps import Maps
from programs.facts.members import CAST
from programs.facts.records import Call, FileKey, FileState, Lost, OpenFile, OwnedFile, RowKey, TallyKey
from programs.way.registers import CALL, CTX, SIGNATURE

SMALL_BYTES = FileState.size  # no record that is made on the stack wherever others need not be is larger
FRESH_BYTES = 352  # the largest record that is made on the stack, where it must be: Requested
assert SMALL_BYTES + FileKey.size <= FRESH_BYTES  # `Body.file_key`
BPF_NOEXIST, BPF_EXIST = 1, 2
ID_TIME = 10  # bits of an id that say which CPU made it; those above are the time, ns


@dataclass
class Body:
    """A program in the making."""

    a: Assembler
    kernel: Kernel
    options: Options
    maps: Maps
    callbacks: List[Tuple[str, Callable[[], None]]] = field(default_factory=list)

    @property
    def raw(self) -> bool:
        """Whether the context is an array of arguments: of a raw tracepoint, or of a kernel function."""
        return self.options.attach != "perf"

    @property
    def uring(self) -> Uring:
        """How the kernel shows io_uring's requests. Only programs that are built where it does ask for this."""
        assert self.kernel.uring is not None
        return self.kernel.uring

    def argument(self, number: int) -> Mem:
        """The word of the Call record that holds an argument of the system call, counted from 0."""
        return CALL[Call.args[self.kernel.argument(number)]]

    def signature(self, dst: Register, place: Field, source: Union[Register, Mem] = SIGNATURE, note: str = "") -> None:
        """`dst` = the field `place` of the `Signature` in `source`, which may be the same register."""
        if isinstance(source, Mem):
            self.a.ldx(dst, source)
        elif source != dst:
            self.a.mov(dst, source)
        if place.offset:
            self.a.rsh(dst, 8 * place.offset)
        self.a.and_(dst, (1 << 8 * place.size) - 1, note or place.name)

    # -- what rows apart by who does the I/O change ---------------------------------------------------------------

    @property
    def counted(self) -> Mem:
        """The word of the Call record that has the id which counters are kept under: the file's, or the row's."""
        return CALL[Call.row if self.options.by else Call.id]

    @property
    def counted_states(self) -> MapSpec:
        """The map that has a FileState for each of these ids."""
        return self.maps.row_states if self.options.by else self.maps.states

    @property
    def open_file(self) -> Type[Layout]:
        """The record of an open file description, which begins with an OpenFile."""
        return OwnedFile if self.options.by else OpenFile

    def program(self) -> ProgramSpec:
        """The finished program, followed by the functions that it loops over."""
        for name, emit in self.callbacks:
            self.a.function(name, 2)
            emit()
        return self.a.program()

    def loop(
        self,
        times: Union[int, Register],
        name: str,
        emit: Callable[[], None],
        context: Optional[Slot] = None,
        note: str = "",
    ) -> None:
        """Calls the function `name` `times` times, or until it returns 1: bpf_loop, which `kernel.loops` allows.

        The function, which `emit` emits, begins with the number of the round in r1 and the address of `context` in
        r2, and has a stack of its own. Clobbers r0 to r5.
        """
        a = self.a
        if times != r1:
            a.mov(r1, times)
        if all(name != known for known, _ in self.callbacks):
            self.callbacks.append((name, emit))
        a.ld_function(r2, name)
        if context is None:
            a.mov(r3, 0)
        else:
            a.addr(r3, context)
        a.mov(r4, 0)
        a.call("loop", note)

    def forget(self, *keep: Slot) -> None:
        """Makes r7, r8 and the stack the same on every path to here, except `keep` and the record being made.

        At the end of a round of a loop this leaves the verifier a single path through the next round. Slots are
        written 8 bytes at a time: the verifier takes others for live as long as any path reads them.
        """
        for register in (r7, r8):
            self.a.mov(register, 0)
        for slot in self.a.stack:
            if slot not in keep and slot.name != "fresh":
                for offset in range(0, slot.size, 8):
                    self.a.st(Mem(r10, slot.offset + offset, 8, names=(slot,)), 0)

    def fill_stack(self) -> None:
        """Writes all of the stack, at the beginning of a program without loops that goes many ways.

        4.14 takes two ways for different where they have not written the same bytes of the stack, whether or not
        anybody reads these, and follows both to the end (states_equal of its kernel/bpf/verifier.c). Two events of
        Linux AIO in one program then take it 173,361 steps, of 131,072 that it allows, instead of 6,145.
        """
        if self.kernel.straight:
            for offset in range(-isa.STACK_SIZE, 0, 8):
                self.a.st(r10.u64(offset), 0, "" if offset > -isa.STACK_SIZE else "the same on every way")

    # -- reading memory ------------------------------------------------------------------------------------------

    def probe(self, to: Union[Slot, Mem], size: int, base: Register, offset: int, note: str = "") -> None:
        """`to` = `size` bytes of kernel or user memory at `base + offset`; r0 < 0 where that faults.

        bpf_probe_read serves both address spaces on x86_64 and aarch64, on every kernel
        (CONFIG_ARCH_HAS_NON_OVERLAPPING_ADDRESS_SPACE). `to` is cleared by the helper when the read fails.
        """
        a = self.a
        if base is not r3:
            a.mov(r3, base)
        if offset:
            a.add(r3, offset)
        self.address(r1, to)
        a.mov(r2, size)
        a.call("probe_read", note)

    def address(self, dst: Register, mem: Union[Slot, Mem]) -> None:
        """`dst` = the address of a slot or of a field of a record."""
        if isinstance(mem, Slot) or mem.offset:
            self.a.addr(dst, mem)
        else:
            self.a.mov(dst, mem.base)

    def load(self, dst: Register, base: Register, offset: int, note: str = "", *, size: int = 8, of: str = "") -> None:
        """`dst` = the pointer or integer of `size` bytes in kernel memory at `base + offset`; 0 on a fault.

        `of` names the struct that `base` points to, for kernels where a typed load can read it: a plain
        instruction instead of a call. Clobbers r0 to r5.
        """
        if self.typed(of):
            self.cast(base, of)
            self.a.ldx(dst, Mem(r0, offset, size), note)
            return
        word = self.a.slot("word", U64)
        if size < 8:
            self.a.st(word, 0)
        self.probe(word, size, base, offset, note)
        self.a.ldx(dst, word)

    def typed(self, of: str) -> bool:
        """Whether a struct can be read by typed loads."""
        return of in self.kernel.types and CAST in self.kernel.types

    def cast(self, base: Register, of: str) -> None:
        """r0 = `base` as a pointer to a struct that loads may go through: a move, in the end. Clobbers r1 to r5."""
        self.a.mov(r1, base)
        self.a.mov(r2, self.kernel.types[of])
        self.a.call_kernel(CAST, self.kernel.types[CAST])

    def copy(self, to: Mem, base: Register, offset: int, of: str, note: str = "") -> None:
        """`to` (a field of 4 or 8 bytes) = what is in kernel memory at `base + offset`. Clobbers r0 to r5."""
        if not self.typed(of):
            self.probe(to, to.size, base, offset, note)
            return
        self.load(r1, base, offset, note, size=to.size, of=of)
        self.a.stx(to, r1)

    # -- counting ------------------------------------------------------------------------------------------------

    def count(self, mem: Mem, note: str = "") -> None:
        """Adds 1 to a counter. Clobbers r1."""
        self.a.mov(r1, 1)
        self.a.xadd(mem, r1, note)

    def lost(self, what: Field) -> None:
        """Adds 1 to a counter of the `lost` record."""
        a, skip = self.a, self.a.unique("not_lost")
        zero = a.slot("zero", U32)
        a.st(zero, 0)
        a.lookup(self.maps.lost, zero)
        a.jeq(r0, 0, skip)
        self.count(r0[what], f"lost: {what.name}")
        a.label(skip)

    def tally(
        self,
        *,
        file: Optional[Mem],
        op: Optional[Mem],
        kind: int,
        item: Register,
        beyond: Union[int, Mem] = 0,
        amount: Optional[Slot] = None,
    ) -> None:
        """Adds 1, or `amount`, to the sparse counter (file, op, kind + beyond, item). Clobbers r0 to r5.

        `item` is r2 or above.
        """
        a, found, full, done = self.a, self.a.unique("tally"), self.a.unique("tally_full"), self.a.unique("tallied")
        key, one = a.slot("tally", TallyKey), a.slot("one", U64)
        a.stx(key[TallyKey.item], item)
        for place, source in ((TallyKey.id, file), (TallyKey.op, op)):
            if source is None:
                a.st(key[place], 0)
            else:
                a.ldx(r1, source)
                a.stx(key[place], r1)
        if isinstance(beyond, int):
            a.st(key[TallyKey.kind], kind + beyond)
        else:
            a.ldx(r1, beyond)
            a.add(r1, kind)
            a.stx(key[TallyKey.kind], r1)
        a.lookup(self.maps.tallies, key)
        a.jne(r0, 0, found)
        a.st(one, 0)
        a.update(self.maps.tallies, key, one, BPF_NOEXIST)
        a.lookup(self.maps.tallies, key)
        a.jeq(r0, 0, full, "no room")
        a.label(found)
        if amount is None:
            self.count(r0.u64(0))
        else:
            a.ldx(r1, amount)
            a.xadd(r0.u64(0), r1)
        a.ja(done)
        a.label(full)
        self.lost(Lost.tallies)
        a.label(done)

    def bucket(self, dst: Register, value: Register, t: Register) -> None:
        """`dst` = the histogram bucket of `value`: 0 for 0, else 1 + floor(log2). Destroys `value` and `t`.

        Without a branch: the verifier follows one path, not 64, and knows that the result is at most 64.
        """
        a, end = self.a, self.a.unique("bucket")
        a.mov(dst, 0)
        a.jeq(value, 0, end)
        self.log2(dst, value, t, first=1)
        a.label(end)

    def log2(self, dst: Register, value: Register, t: Register, first: int = 0, bits: int = 64) -> None:
        """`dst` = `first` + floor(log2) of `value`, which is not 0 and has no more than `bits` bits.

        Destroys `value`, `t` and r0.
        """
        a = self.a
        a.mov(dst, first)
        for half in (32, 16, 8, 4, 2, 1):
            if half >= bits:
                continue
            a.mov(t, value)
            a.rsh(t, half)
            if half == 32:
                a.mov32(r0, -1)
                a.add(t, r0)
            elif half > 1:
                a.add(t, (1 << half) - 1)
            if half > 1:
                a.rsh(t, half, f"1 if the upper {half} bits hold anything")
            a.and_(t, 1, "which the verifier cannot see by itself")
            if half > 1:
                a.lsh(t, half.bit_length() - 1)
                a.rsh(value, t)
            a.add(dst, t)

    def cell(self, base: Register, index: Register, count: Optional[Callable[[Mem], None]] = None) -> None:
        """Adds 1 to cell `index` of the histogram at `base`, as `count` does. Destroys both, whose range is known."""
        self.a.lsh(index, 3)
        self.a.add(base, index)
        (count or self.count)(base.u64(0))

    def swap(self, mem: Mem, value: Register, old: Register) -> None:
        """`old` = `mem`; `mem` = `value`, so that no byte is counted twice or lost where CPUs race.

        Kernels before 5.12 have no exchange: there two CPUs that end a run of one open file description within the
        same few nanoseconds may both see the old value.
        """
        a = self.a
        if self.kernel.fetch_atomics:
            a.mov(old, value)
            a.xchg(mem, old)
            return
        a.ldx(old, mem)
        a.mov(r0, value)
        a.sub(r0, old)
        a.xadd(mem, r0)

    # -- records on the stack ------------------------------------------------------------------------------------

    def fresh(self, record: Type[Layout]) -> Slot:
        """A cleared `record` on the stack, which a map copies. All such records share one place."""
        slot = self.overlay("fresh", record)
        self.a.zero(slot)
        return slot

    def make_zeros(self, spec: MapSpec, key: Slot, record: Type[Layout]) -> None:
        """Adds a cleared `record` to a map unless it has one under `key`; r0 = 0 if it did. Clobbers r1 to r5.

        A record that is larger than what has room on the stack is copied from the map `zeros`, where helpers take
        values of maps.
        """
        a = self.a
        if not self.kernel.big_values:
            a.update(spec, key, self.fresh(record), BPF_NOEXIST)
            return
        zero, none = a.slot("zero", U32), a.unique("no_zeros")
        a.st(zero, 0)
        a.lookup(self.maps.zeros, zero)
        a.jeq(r0, 0, none)
        a.mov(r3, r0)
        a.ld_map(r1, spec)
        a.addr(r2, key)
        a.mov(r4, BPF_NOEXIST)
        a.call("map_update_elem", "a record of zeros")
        a.label(none)

    def _fresh_slot(self) -> Slot:
        size = SMALL_BYTES if self.kernel.big_values else FRESH_BYTES
        return self.a.slot("fresh", (U64, size // 8))

    def new_id(self, slot: Slot) -> None:
        """`slot` = a number that no other file or row has. Clobbers r0 to r5."""
        a = self.a
        a.call("get_smp_processor_id")
        a.and_(r0, (1 << ID_TIME) - 1)
        a.stx(slot, r0)
        a.call("ktime_get_ns")
        a.lsh(r0, ID_TIME)
        a.ldx(r1, slot)
        a.or_(r0, r1, "unique: no CPU makes two files within a nanosecond")
        a.stx(slot, r0)

    def overlay(self, name: str, record: Type[Layout]) -> Slot:
        """A `record` in the place that `fresh` uses, valid until the next `fresh` or `overlay` is written."""
        place = self._fresh_slot()
        assert record.size <= place.size, f"{record.__name__} has {record.size} bytes"
        return Slot(name, record, 0, place.offset)

    def file_key(self) -> Slot:
        """The FileKey. Where the stack is short it lies in the part of `fresh` that only the largest records use."""
        if self.kernel.big_values:
            return self.a.slot("file", FileKey)
        return Slot("file", FileKey, 0, self._fresh_slot().offset + SMALL_BYTES)

    def row_key(self) -> Slot:
        """The RowKey, valid until the next `tally`, in whose place it lies, as the stack is short."""
        return Slot("row_key", RowKey, 0, self.a.slot("tally", TallyKey).offset)

    def row_state(self) -> Slot:
        """The place of a pointer to the FileState of a row; likewise."""
        return Slot("row_state", U64, 0, self.a.slot("one", U64).offset)


def spare_name(name: str, copy: int) -> str:
    """The name of a program's copy (`Kernel.spares`); copy 0 is the program itself."""
    return f"{name}_s{copy}" if copy else name


def low(word: Mem) -> Mem:
    """The lower half of an 8-byte word: what an argument of type int is, whatever the upper half holds."""
    return word.at(0, 4)


KINDS = {
    "raw": ProgramType.RAW_TRACEPOINT,
    "perf": ProgramType.TRACEPOINT,
    "fentry": ProgramType.TRACING,
}


def begin(name: str, kernel: Kernel, options: Options, maps: Maps, *, task: bool = False, context: bool = True) -> Body:
    """A program of the form that `options.attach` asks for; CTX is set, unless `context` is false.

    `task`: for an event of a task. Unlike a system call that has no function to attach to, so it is never fentry.
    """
    kind = KINDS[options.attach]
    if task and kind is ProgramType.TRACING:
        kind = ProgramType.RAW_TRACEPOINT
    b = Body(Assembler(name, kind=kind), kernel, options, maps)
    if kernel.spares and not task:
        _keep_to_the_threads_stack(b)
    if context:
        b.a.mov(CTX, r1)
    return b


def _keep_to_the_threads_stack(b: Body) -> None:
    """A tail call that is never made: the kernel runs programs that contain one on the stack of the thread.

    Other programs get a stack of the CPU, which all threads share (the private stacks of kernel/bpf/verifier.c, 6.13).
    The kernel lets no two threads into one program that it calls itself, but it does not watch over tail calls: there,
    a thread that preempts another would overwrite what the other has on that stack.
    """
    a = b.a
    a.mov(r0, 0)
    a.jeq(r0, 0, "begin")
    a.tail_call(r1, b.maps.jumps, 0)
    a.ret(0)
    a.label("begin")
