"""A BPF loader in pure Python: maps, programs and links through bpf(2) and perf_event_open(2), and nothing besides.

It takes specifications (`asm.MapSpec`, `asm.ProgramSpec`), which are data and the same on every machine, and makes
objects that this kernel holds. Each object owns a file descriptor and lasts until it is closed.

    import time

    from asm import U32, U64, Assembler, MapSpec, MapType, ProgramType, r0, r1
    from pybpf import Array, create, load, raw_tracepoint

    SWITCHES = MapSpec("switches", MapType.ARRAY, U32, U64, 1)

    a = Assembler("count_switch", ProgramType.RAW_TRACEPOINT)
    index = a.slot("index", U32)
    a.st(index, 0)
    a.lookup(SWITCHES, index)
    a.jeq(r0, 0, "out")
    a.mov(r1, 1)
    a.xadd(r0[0], r1, "one more")
    a.label("out")
    a.ret(0)

    with create(SWITCHES, Array) as switches, load(a.program(), {"switches": switches}) as program:
        with raw_tracepoint(program, "sched_switch"):
            time.sleep(1)
        print(int.from_bytes(switches.at(0), "little"), "context switches in a second")

Worked examples are in `pybpf.examples`. Every system call is made in `pybpf.syscalls`; `descriptor` says who owns what
came back, `features` finds out what the kernel can do, `types` what its structures and tracepoints look like, and
`calibration` the same where no type information tells; `events` reads what programs send.

Names are imported when they are first asked for: whoever needs a few of them waits for no others.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pybpf.calibration.calibrate import Calibration, CalibrationError, calibrate
    from pybpf.descriptor import Descriptor
    from pybpf.events.perf import PerfBuffer
    from pybpf.events.ring import RingBuffer
    from pybpf.features import FEATURES, Feature, State
    from pybpf.grace import GracePeriods
    from pybpf.links import Link, raw_tracepoint, tracepoint, tracing
    from pybpf.maps import (
        ANY,
        EXIST,
        MMAPABLE,
        NO_PREALLOC,
        NOEXIST,
        Array,
        HashMap,
        LruHash,
        LruPerCpuHash,
        Map,
        MapInMap,
        PerCpuArray,
        PerCpuHash,
        PerfEventArray,
        ProgArray,
        RingBuf,
        TaskStorage,
        create,
        create_all,
    )
    from pybpf.privileges import Capability, capabilities
    from pybpf.programs import (
        Program,
        ProgramStatus,
        VerifierError,
        enable_stats,
        load,
        load_all,
        open_program,
        program_ids,
    )
    from pybpf.syscalls import BpfError
    from pybpf.types.binary import Binary, binary
    from pybpf.types.btf import Btf, BtfError, MissingMember
    from pybpf.types.tracefs import TraceField, Tracefs, TracefsError, TracepointFormat

_LATE = {
    "pybpf.calibration.calibrate": "Calibration CalibrationError calibrate",
    "pybpf.descriptor": "Descriptor",
    "pybpf.events.perf": "PerfBuffer",
    "pybpf.events.ring": "RingBuffer",
    "pybpf.features": "FEATURES Feature State",
    "pybpf.grace": "GracePeriods",
    "pybpf.links": "Link raw_tracepoint tracepoint tracing",
    "pybpf.maps": "ANY EXIST MMAPABLE NOEXIST NO_PREALLOC Array HashMap LruHash LruPerCpuHash Map MapInMap PerCpuArray "
    "PerCpuHash PerfEventArray ProgArray RingBuf TaskStorage create create_all",
    "pybpf.privileges": "Capability capabilities",
    "pybpf.programs": "Program ProgramStatus VerifierError enable_stats load load_all open_program program_ids",
    "pybpf.syscalls": "BpfError",
    "pybpf.types.binary": "Binary binary",
    "pybpf.types.btf": "Btf BtfError MissingMember",
    "pybpf.types.tracefs": "TraceField Tracefs TracefsError TracepointFormat",
}
_HOME = {name: module for module, names in _LATE.items() for name in names.split()}

__all__ = [
    "ANY",
    "EXIST",
    "FEATURES",
    "MMAPABLE",
    "NOEXIST",
    "NO_PREALLOC",
    "Array",
    "Binary",
    "BpfError",
    "Btf",
    "BtfError",
    "Calibration",
    "CalibrationError",
    "Capability",
    "Descriptor",
    "Feature",
    "GracePeriods",
    "HashMap",
    "Link",
    "LruHash",
    "LruPerCpuHash",
    "Map",
    "MapInMap",
    "MissingMember",
    "PerCpuArray",
    "PerCpuHash",
    "PerfBuffer",
    "PerfEventArray",
    "ProgArray",
    "Program",
    "ProgramStatus",
    "RingBuf",
    "RingBuffer",
    "State",
    "TaskStorage",
    "TraceField",
    "Tracefs",
    "TracefsError",
    "TracepointFormat",
    "VerifierError",
    "binary",
    "calibrate",
    "capabilities",
    "create",
    "create_all",
    "enable_stats",
    "load",
    "load_all",
    "open_program",
    "program_ids",
    "raw_tracepoint",
    "tracepoint",
    "tracing",
]

if not TYPE_CHECKING:  # or any name would pass for one of ours

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
