"""Programs: loaded with the maps that they name, run for a test, and asked what the kernel made of them."""

from __future__ import annotations

import ctypes
import errno
import struct
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Sequence, Union

from asm import EncodeError, ProgramType
from pybpf import features
from pybpf.attributes import (
    BpfProgInfo,
    BtfLoadAttr,
    EnableStatsAttr,
    IdAttr,
    InfoAttr,
    ProgramLoadAttr,
    TestRunAttr,
    kernel_name,
)
from pybpf.descriptor import Descriptor
from pybpf.maps import Map
from pybpf.parallel import make_all
from pybpf.syscalls import BpfError, Command, address, bpf, kernel_version_code, prepare
from pybpf.types.binary import Binary, binary
from pybpf.types.btf_build import FUNCTION_SIZE, LINE_SIZE
from pybpf.verifier import VerifierError

if TYPE_CHECKING:
    import asm

__all__ = [
    "Program",
    "ProgramStatus",
    "VerifierError",
    "enable_stats",
    "load",
    "load_all",
    "open_program",
    "program_ids",
]

_LOG_START = 64 * 1024
_LOG_LIMIT = (1 << 24) - 1  # before 5.13 the kernel takes UINT_MAX >> 8 at most (bpf_check)
_ARGUMENTS = 12  # words that a test run may be given (MAX_BPF_FUNC_ARGS)
_FRAME = 64  # bytes; the kernel takes no test run with less than an Ethernet header


class ProgramStatus(NamedTuple):
    """What the kernel says about a loaded program. Lengths are bytes; what the kernel is too old to say is 0.

    `run_time_ns` and `run_cnt` count only while statistics are on (`enable_stats`). `recursion_misses` is how often the
    program was skipped because it, or for some kinds any program, was running on that CPU already.
    """

    id: int
    name: str
    tag: str
    jited_len: int
    xlated_len: int
    run_time_ns: int
    run_cnt: int
    recursion_misses: int
    verified_insns: int
    line_infos: int


class Program(Descriptor):
    """A program that passed the verifier. It stays loaded while this descriptor or what it is attached to is open."""

    def __init__(self, fd: int, name: str) -> None:
        """Own the program behind `fd`."""
        super().__init__(fd)
        self.name = name

    def info(self) -> ProgramStatus:
        """What the kernel says about it now (BPF_OBJ_GET_INFO_BY_FD: 4.13, 1e2709769086). Raises BpfError."""
        raw = BpfProgInfo()
        attr = InfoAttr(bpf_fd=self.fileno(), info_len=ctypes.sizeof(raw), info=ctypes.addressof(raw))
        bpf(Command.OBJ_GET_INFO_BY_FD, attr, subject=f"program {self.name}")
        return ProgramStatus(
            id=raw.id,
            name=raw.name.decode("ascii", "replace"),
            tag=bytes(raw.tag).hex(),
            jited_len=raw.jited_prog_len,
            xlated_len=raw.xlated_prog_len,
            run_time_ns=raw.run_time_ns,
            run_cnt=raw.run_cnt,
            recursion_misses=raw.recursion_misses,
            verified_insns=raw.verified_insns,
            line_infos=raw.nr_line_info,
        )

    def run(self, *arguments: int) -> None:
        """Run a RAW_TRACEPOINT program here and now, as if its event had these arguments, 12 words of 64 bits at most.

        5.10 (1b4d60ec162f "bpf: Enable BPF_PROG_TEST_RUN for raw_tracepoint"). Raises BpfError.
        """
        context = struct.pack(f"<{_ARGUMENTS}Q", *arguments, *[0] * (_ARGUMENTS - len(arguments)))
        attr = TestRunAttr(prog_fd=self.fileno(), ctx_size_in=len(context), ctx_in=address(context))
        bpf(Command.PROG_TEST_RUN, attr, subject=f"program {self.name}")

    def runner(self) -> Callable[[], None]:
        """A function that does what `run` does without arguments, several times as fast because it keeps what a call
        needs."""
        context = ctypes.create_string_buffer(8 * _ARGUMENTS)
        attr = TestRunAttr(prog_fd=self.fileno(), ctx_size_in=len(context), ctx_in=ctypes.addressof(context))
        once = prepare(Command.PROG_TEST_RUN, attr, ctypes.sizeof(attr))

        def run(_keep: object = context) -> None:
            if once() < 0:
                self.run()  # says what is wrong

        return run

    def repeat(self, times: int) -> None:
        """Run a SOCKET_FILTER program that often, on a frame of zeros.

        4.12 (1cf1cae963c2 "bpf: introduce BPF_PROG_TEST_RUN command"). Raises BpfError.
        """
        frame = bytes(_FRAME)
        attr = TestRunAttr(prog_fd=self.fileno(), data_size_in=len(frame), data_in=address(frame), repeat=times)
        bpf(Command.PROG_TEST_RUN, attr, subject=f"program {self.name}")

    def __repr__(self) -> str:
        return f"<Program {self.name}{' (closed)' if self.closed else ''}>"


def program_ids() -> Iterator[int]:
    """The ids of all programs that the kernel holds, in ascending order, whoever has loaded them.

    4.13 (34ad5580f8f9 "bpf: Add BPF_(PROG|MAP)_GET_NEXT_ID command"). Takes CAP_SYS_ADMIN. Raises BpfError.
    """
    attr = IdAttr()
    while True:
        try:
            bpf(Command.PROG_GET_NEXT_ID, attr, ctypes.sizeof(attr), subject="all programs")
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        yield attr.next_id
        attr.id = attr.next_id


def open_program(number: int) -> Program:
    """The program with that id, which then stays loaded as long as the result is open.

    4.13 (b16d9aa4c2b9 "bpf: Add BPF_PROG_GET_FD_BY_ID"). Takes CAP_SYS_ADMIN. Raises BpfError, ENOENT if it has gone.
    """
    subject = f"program {number}"
    program = Program(bpf(Command.PROG_GET_FD_BY_ID, IdAttr(id=number), subject=subject), subject)
    program.name = program.info().name or subject
    return program


def enable_stats() -> Descriptor:
    """Have the kernel count and time every run of every program while the result is open (5.8, d46edd671a14).

    Takes CAP_SYS_ADMIN. Raises BpfError, EINVAL before 5.8.
    """
    subject = "run time of programs"
    if features.FEATURES["stats"].hidden:
        raise BpfError(errno.EINVAL, str(Command.ENABLE_STATS), subject)
    return Descriptor(bpf(Command.ENABLE_STATS, EnableStatsAttr(type=0), 4, subject=subject))


def load(
    program: Union[asm.ProgramSpec, Binary],
    maps: Mapping[str, Map[Any]],
    *,
    btf: Optional[bool] = None,
    expected_attach_type: Optional[int] = None,
    attach_btf_id: Optional[int] = None,
) -> Program:
    """Load a program with the maps that it names, of which `maps` may hold more than are used.

    The name goes along where the kernel takes names (4.15), notes and source lines where it takes BTF for programs
    (5.0, c454a46b5efd; `btf` False leaves them out). `expected_attach_type` (4.17) and `attach_btf_id` (5.5) are for
    TRACING programs. Raises VerifierError for a program that is refused, asm.EncodeError for a map that is missing.
    """
    made = program if isinstance(program, Binary) else binary(program)
    missing = [name for name in made.map_names if name not in maps]
    if missing:
        raise EncodeError(f"program {made.name}: no map {missing[0]} is given")
    code = made.bound({name: maps[name].fileno() for name in made.map_names})
    license_text = made.license.encode() + b"\0"
    attr = ProgramLoadAttr(
        prog_type=made.kind,
        insn_cnt=len(code) // 8,
        insns=address(code),
        license=address(license_text),
        kern_version=kernel_version_code() if made.kind == ProgramType.KPROBE else 0,
        expected_attach_type=expected_attach_type or 0,
        attach_btf_id=attach_btf_id or 0,
    )
    if features.FEATURES["program_names"].supported():
        attr.prog_name = kernel_name(made.name)
    fd = None
    if btf is not False and made.btf and features.FEATURES["line_info"].supported():
        fd = _load_with_notes(made, attr)
    if fd is None:
        fd = _load_or_explain(made, attr)
    return Program(fd, made.name)


def load_all(programs: Sequence[Binary], maps: Mapping[str, Map[Any]]) -> Dict[str, Program]:
    """Load programs of different names, several at a time, which makes use of several CPUs.

    Before 5.2 the kernel verifies one at a time (45a73c17bfb9 "bpf: drop bpf_verifier_lock"). Raises the first error;
    then none stays loaded.
    """
    largest_first = sorted(programs, key=lambda program: len(program.code), reverse=True)
    return make_all({program.name: partial(load, program, maps) for program in largest_first})


def _load_with_notes(made: Binary, attr: ProgramLoadAttr) -> Optional[int]:
    """Load with notes and source lines; None if the kernel refuses, which may be for the program or for its notes.

    Loading without them tells which.
    """
    btf_attr = BtfLoadAttr(btf=address(made.btf), btf_size=len(made.btf))
    try:
        types = Descriptor(bpf(Command.BTF_LOAD, btf_attr, subject=f"notes of program {made.name}"))
    except BpfError:
        return None
    with types:
        with_notes = ProgramLoadAttr.from_buffer_copy(attr)
        with_notes.prog_btf_fd = types.fileno()
        with_notes.func_info_rec_size, with_notes.line_info_rec_size = FUNCTION_SIZE, LINE_SIZE
        with_notes.func_info, with_notes.line_info = address(made.functions), address(made.lines)
        with_notes.func_info_cnt = len(made.functions) // FUNCTION_SIZE
        with_notes.line_info_cnt = len(made.lines) // LINE_SIZE
        if with_notes.func_info_cnt > 1:  # a function that is looped over must have its notes: it will not do without
            return _load_or_explain(made, with_notes)
        try:
            return bpf(Command.PROG_LOAD, with_notes, subject=f"program {made.name}")
        except BpfError:
            return None


def _load_or_explain(program: Binary, attr: ProgramLoadAttr) -> int:
    """Load without a log, which costs nothing and cannot overflow; if the program is refused, once more to hear why."""
    try:
        return bpf(Command.PROG_LOAD, attr, subject=f"program {program.name}")
    except BpfError as error:
        return _load_with_log(program, attr, error)


def _load_with_log(program: Binary, attr: ProgramLoadAttr, first: BpfError) -> int:
    size = _LOG_START
    while True:
        log = ctypes.create_string_buffer(size)
        attr.log_level, attr.log_size, attr.log_buf = 1, size, ctypes.addressof(log)
        try:
            return bpf(Command.PROG_LOAD, attr, subject=f"program {program.name}")
        except BpfError as error:
            if error.errno == errno.ENOSPC and size < _LOG_LIMIT:
                size = min(size * 4, _LOG_LIMIT)
                continue
            said, hint = log.value.decode("utf-8", "replace"), first.hint
            whole = error.errno != errno.ENOSPC
            raise VerifierError(first.errno or 0, program, said, "" if said else hint, complete=whole) from None
