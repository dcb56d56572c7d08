"""Every instruction against LLVM's assembler: the text is written here by hand, the bytes are LLVM's."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asm import Assembler, Instruction, Mem, ProgramType, Register, dis, r10
from tests import needs


def newest_llvm_mc() -> Tuple[int, Optional[str]]:
    """The newest llvm-mc on PATH that knows BPF, and its major version."""
    best: Tuple[int, Optional[str]] = (0, None)
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        names = os.listdir(folder) if os.path.isdir(folder) else []
        for name in names:
            if re.fullmatch(r"llvm-mc(-\d+)?", name):
                tool = os.path.join(folder, name)
                out = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
                version = re.search(r"LLVM version (\d+)", out)
                if version and "bpf " in out and int(version[1]) > best[0]:
                    best = (int(version[1]), tool)
    return best


LLVM, LLVM_MC = newest_llvm_mc()
needs_llvm = pytest.mark.skipif(LLVM_MC is None, reason=needs.MISSING + "llvm-mc with the BPF target")


def llvm_encode(lines: List[str]) -> List[bytes]:
    """The lines as LLVM encodes them."""
    cpu = "v4" if LLVM >= 17 else "v3"
    command = [str(LLVM_MC), "-arch=bpfel", f"-mcpu={cpu}", "-mattr=+alu32", "--show-encoding"]
    done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    encodings = re.findall(r"encoding: \[(.*?)\]", done.stdout)
    assert len(encodings) == len(lines), done.stdout
    return [bytes(int(byte, 16) for byte in encoding.split(",")) for encoding in encodings]


def llvm_dialect(listing: str) -> str:
    """A line of a listing, in the verifier's notation, as LLVM writes it: the two differ in few places."""
    text = re.sub(r"^ *\d+: \((..)\) ", "", listing.strip())
    wide = listing.strip().startswith("0: (18)")
    text = re.sub(r"goto pc", "goto ", text)
    text = re.sub(r"call bpf_\w+#(\d+)", r"call \1", text)
    text = re.sub(r"call pc([+-]\d+)", r"call \1", text)
    if "(u32 *)" in text and ("lock" in text or "atomic" in text):
        # The verifier calls the operand of a 32-bit atomic r4, LLVM w4; both write the pointer in parentheses.
        text = re.sub(r"(?<!\()r(\d)", r"w\1", text)
    text = re.sub(r"atomic64?_fetch", "atomic_fetch", text)
    text = re.sub(r"atomic64_(cmpxchg|xchg)\(\(u64 \*\)\((.*?)\), ", r"\1_64(\2, ", text)
    text = re.sub(r"atomic_(cmpxchg|xchg)\(\(u32 \*\)\((.*?)\), ", r"\g<1>32_32(\2, ", text)
    return text + " ll" if wide else text


class Operands(NamedTuple):
    """What one instruction is tried with. `off` is used both as an offset and as the distance of a jump."""

    d: int
    s: int
    imm: int
    off: int
    shift: int
    wide: int


operands = st.builds(
    Operands,
    d=st.integers(0, 9),
    s=st.integers(0, 9),
    imm=st.integers(-(2**31), 2**31 - 1).filter(bool),  # a division by zero is refused
    off=st.integers(-(2**15), 2**15 - 1),
    shift=st.integers(0, 31),
    wide=st.integers(0, 2**64 - 1),
)


Argument = Callable[[Operands], object]


class Form(NamedTuple):
    """An instruction: LLVM's text for it, the first LLVM that can read that, and our call."""

    text: str
    since: int
    method: str
    arguments: Tuple[Argument, ...]


def dst(o: Operands) -> Register:
    return Register(o.d)


def src(o: Operands) -> Register:
    return Register(o.s)


def imm(o: Operands) -> int:
    return o.imm


def shift(o: Operands) -> int:
    return o.shift


def wide(o: Operands) -> int:
    return o.wide


def end(_: Operands) -> str:
    return "end"


def at(register: Argument, bits: int) -> Argument:
    """Memory of so many bits at a register."""
    return lambda o: Mem(cast(Register, register(o)), o.off, bits // 8)


def constant(value: int) -> Argument:
    return lambda _: value


# Our names with LLVM's signs.
ARITHMETIC = "mov = add += sub -= mul *= div /= mod %= or |= and &= xor ^= lsh <<= rsh >>= arsh s>>= sdiv s/= smod s%="
COMPARISONS = "jeq == jne != jgt > jge >= jlt < jle <= jset & jsgt s> jsge s>= jslt s< jsle s<="


def pairs(table: str) -> Iterator[Tuple[str, str]]:
    words = table.split()
    return zip(words[::2], words[1::2])


def forms() -> Dict[str, Form]:
    table: Dict[str, Form] = {}
    for name, sign in pairs(ARITHMETIC):
        since = 17 if name in ("mod", "sdiv", "smod") else 0
        number, drawn = ("{shift}", shift) if name in ("lsh", "rsh", "arsh") else ("{imm}", imm)
        for suffix, r in (("", "r"), ("32", "w")):
            method = f"{name}_" if name in ("or", "and") and not suffix else name + suffix
            table[f"{method} register"] = Form(f"{r}{{d}} {sign} {r}{{s}}", since, method, (dst, src))
            table[f"{method} immediate"] = Form(f"{r}{{d}} {sign} {number}", since, method, (dst, drawn))
    for name, sign in pairs(COMPARISONS):
        since = 19 if name == "jset" else 0
        for suffix, r in (("", "r"), ("32", "w")):
            head, tail, method = f"if {r}{{d}} {sign}", "goto {off:+d}", name + suffix
            table[f"{method} register"] = Form(f"{head} {r}{{s}} {tail}", since, method, (dst, src, end))
            table[f"{method} immediate"] = Form(f"{head} {{imm}} {tail}", since, method, (dst, imm, end))
    for bits in (8, 16, 32, 64):
        pointer = f"*(u{bits} *)"
        table[f"ldx {bits}"] = Form(f"r{{d}} = {pointer}(r{{s}} {{off:+d}})", 0, "ldx", (dst, at(src, bits)))
        table[f"stx {bits}"] = Form(f"{pointer}(r{{d}} {{off:+d}}) = r{{s}}", 0, "stx", (at(dst, bits), src))
        table[f"st {bits}"] = Form(f"{pointer}(r{{d}} {{off:+d}}) = {{shift}}", 18, "st", (at(dst, bits), shift))
    for bits in (8, 16, 32):
        table[f"ldsx {bits}"] = Form(f"r{{d}} = *(s{bits} *)(r{{s}} {{off:+d}})", 17, "ldsx", (dst, at(src, bits)))
        table[f"movsx {bits}"] = Form(f"r{{d}} = (s{bits})r{{s}}", 17, "movsx", (dst, src, constant(bits)))
    for bits in (8, 16):
        table[f"movsx32 {bits}"] = Form(f"w{{d}} = (s{bits})w{{s}}", 17, "movsx32", (dst, src, constant(bits)))
    for bits in (16, 32, 64):
        for order, since in (("be", 0), ("le", 0), ("bswap", 17)):
            table[f"{order}{bits}"] = Form(f"r{{d}} = {order}{bits} r{{d}}", since, f"{order}{bits}", (dst,))
    for bits, r, tail in ((32, "w", "32_32"), (64, "r", "_64")):
        pointer, place = f"(u{bits} *)(r{{d}} {{off:+d}})", (at(dst, bits), src)
        for name, sign in (("xadd", "+="), ("atomic_or", "|="), ("atomic_and", "&="), ("atomic_xor", "^=")):
            table[f"{name} {bits}"] = Form(f"lock *{pointer} {sign} {r}{{s}}", 0, name, place)
        for name in ("fetch_add", "fetch_or", "fetch_and", "fetch_xor"):
            table[f"{name} {bits}"] = Form(f"{r}{{s}} = atomic_{name}({pointer}, {r}{{s}})", 19, name, place)
        exchange = f"{r}{{s}} = xchg{tail}(r{{d}} {{off:+d}}, {r}{{s}})"
        compare = f"{r}0 = cmpxchg{tail}(r{{d}} {{off:+d}}, {r}0, {r}{{s}})"
        table[f"xchg {bits}"] = Form(exchange, 19, "xchg", place)
        table[f"cmpxchg {bits}"] = Form(compare, 19, "cmpxchg", place)
    table["neg"] = Form("r{d} = -r{d}", 0, "neg", (dst,))
    table["neg32"] = Form("w{d} = -w{d}", 0, "neg32", (dst,))
    table["ld_imm64"] = Form("r{d} = {wide:#x} ll", 0, "ld_imm64", (dst, wide))
    table["ja"] = Form("goto {off:+d}", 0, "ja", (end,))
    table["call"] = Form("call 6", 0, "call", (lambda _: "trace_printk",))
    table["exit"] = Form("exit", 0, "exit", ())
    return table


FORMS = forms()


def emitted(form: Form, o: Operands) -> Instruction:
    """The instruction that the call makes, in a program where every register has a value."""
    a = Assembler("one", ProgramType.TRACEPOINT)
    for number in range(10):
        a.mov(Register(number), 0)
    a.jeq(r10, 0, "end", "so that what follows a jump or an exit is reached")
    getattr(a, form.method)(*(argument(o) for argument in form.arguments))
    a.label("end")
    a.mov(Register(0), 0)
    a.exit()
    instruction = a.program().instructions[11]
    return replace(instruction, off=o.off, goto=None) if instruction.goto else instruction


@pytest.mark.slow
@needs_llvm
@settings(max_examples=50, deadline=None)
@given(o=operands)
def test_each_instruction_is_what_llvm_makes_of_its_text(o: Operands) -> None:
    known = {name: form for name, form in FORMS.items() if form.since <= LLVM}
    ours = {name: emitted(form, o) for name, form in known.items()}
    by_hand = llvm_encode([form.text.format(**o._asdict()) for form in known.values()])
    from_listing = llvm_encode([llvm_dialect(dis([instruction])) for instruction in ours.values()])
    for (name, instruction), hand, listed in zip(ours.items(), by_hand, from_listing):
        assert (name, instruction.encode()) == (name, hand)
        assert (name, instruction.encode()) == (name, listed)


def test_every_mnemonic_is_tried() -> None:
    """A method that somebody adds has to be in the table above, or be a macro."""
    macros = {
        "addr",
        "call_function",
        "call_kernel",
        "delete",
        "function",
        "label",
        "ld_function",
        "ld_map",
        "ld_map_value",
        "lookup",
        "memory",
        "program",
        "ret",
        "slot",
        "stack",
        "tail_call",
        "unique",
        "update",
        "zero",
    }
    methods = {name for name in dir(Assembler) if not name.startswith(("_", "emit"))} - macros
    assert methods == {form.method for form in FORMS.values()}


def test_a_call_of_the_kernel_is_what_the_header_says() -> None:
    """No assembler writes it, as only a loader knows the id: BPF_PSEUDO_KFUNC_CALL (2) in src, the BTF id in imm."""
    a = Assembler("kfunc", kind=ProgramType.TRACING)
    a.mov(Register(1), 0)
    a.call_kernel("bpf_rdonly_cast", 0x12345)
    a.exit()
    program = a.program()
    assert program.instructions[1].encode() == bytes.fromhex("85200000 45230100")
    assert program.requires().version >= (5, 13)
    assert "call bpf_rdonly_cast#74565" in dis(program.instructions)


# What older versions of LLVM cannot assemble, as LLVM 19.1.7 encodes it.
LLVM_19 = {
    "r2 %= r3": "9f32000000000000",
    "w2 %= w3": "9c32000000000000",
    "r2 s/= r3": "3f32010000000000",
    "w2 s%= 5": "9402010005000000",
    "r1 = (s8)r2": "bf21080000000000",
    "w1 = (s16)w2": "bc21100000000000",
    "r1 = bswap64 r1": "d701000040000000",
    "r1 = *(s8 *)(r2 +8)": "9121080000000000",
    "*(u32 *)(r2 +8) = -5": "62020800fbffffff",
    "*(u64 *)(r2 -8) = 5": "7a02f8ff05000000",
    "if r1 & r2 goto +5": "4d21050000000000",
    "if w1 & 0x10 goto +5": "4601050010000000",
    "r3 = atomic_fetch_add((u64 *)(r2 +8), r3)": "db32080001000000",
    "w3 = atomic_fetch_xor((u32 *)(r2 +8), w3)": "c3320800a1000000",
    "r3 = xchg_64(r2 +8, r3)": "db320800e1000000",
    "w3 = xchg32_32(r2 +8, w3)": "c3320800e1000000",
    "r0 = cmpxchg_64(r2 +8, r0, r3)": "db320800f1000000",
    "w0 = cmpxchg32_32(r2 +8, w0, w3)": "c3320800f1000000",
}


def test_instructions_that_only_new_versions_of_llvm_know() -> None:
    a = Assembler("new", ProgramType.TRACEPOINT)
    r0, r1, r2, r3 = (Register(number) for number in range(4))
    for register in (r0, r1, r2, r3):
        a.mov(register, 1)
    a.mod(r2, r3)
    a.mod32(r2, r3)
    a.sdiv(r2, r3)
    a.smod32(r2, 5)
    a.movsx(r1, r2, 8)
    a.movsx32(r1, r2, 16)
    a.bswap64(r1)
    a.ldsx(r1, r2.u8(8))
    a.st(r2.u32(8), -5)
    a.st(r2.u64(-8), 5)
    a.jset(r1, r2, "end")
    a.jset32(r1, 16, "end")
    a.fetch_add(r2[8], r3)
    a.fetch_xor(r2.u32(8), r3)
    a.xchg(r2[8], r3)
    a.xchg(r2.u32(8), r3)
    a.cmpxchg(r2[8], r3)
    a.cmpxchg(r2.u32(8), r3)
    a.label("end")
    a.ret(0)
    instructions = [replace(i, off=5) if i.goto else i for i in a.program().instructions[4:-2]]
    assert {llvm_dialect(dis([i])): i.encode().hex() for i in instructions} == LLVM_19
