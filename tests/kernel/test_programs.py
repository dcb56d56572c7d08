"""Programs: loaded, refused with reasons, shown by bpftool, attached, and gone when closed."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import struct
import threading
from typing import Callable, Tuple

import pytest

from asm import U32, U64, Assembler, EncodeError, MapSpec, MapType, ProgramSpec, ProgramType, r0, r1, r2, r3, r4, r6
from pybpf import features, links, maps, programs, syscalls
from pybpf.syscalls import BpfError
from pybpf.types.binary import binary
from pybpf.types.tracefs import Tracefs
from tests import needs

COUNTS = MapSpec("counts", MapType.ARRAY, U32, U64, 4)
JUMPS = MapSpec("jumps", MapType.PROG_ARRAY, U32, U32, 4)
STORAGE = MapSpec("storage", MapType.TASK_STORAGE, U32, U64, 0)
SEEN = MapSpec("seen", MapType.HASH, U32, U64, 4)
CALLS = 23


def count(a: Assembler, index: int) -> None:
    """Emit: one more in COUNTS[index], then leave."""
    key = a.slot("key", U32)
    a.st(key, index, "which counter")
    a.lookup(COUNTS, key)
    a.jeq(r0, 0, "out")
    a.mov(r1, 1)
    a.xadd(r0[0], r1, "one more call")
    a.label("out")
    a.ret(0)


def counter(kind: ProgramType, only_us: Callable[[Assembler], None], index: int = 0) -> ProgramSpec:
    a = Assembler(f"count_{kind.name.lower()}", kind=kind)
    only_us(a)
    count(a, index)
    return a.program()


def read_count(counts: maps.Array, index: int = 0) -> int:
    return int(struct.unpack("<Q", counts.at(index))[0])


def test_tracepoint(tracefs: Tracefs, only_us: Callable[[Assembler], None]) -> None:
    with maps.create(COUNTS, maps.Array) as counts:
        with programs.load(counter(ProgramType.TRACEPOINT, only_us), {"counts": counts}) as program:
            with links.tracepoint(program, tracefs.event_id("syscalls", "sys_enter_getppid")):
                for _call in range(CALLS):
                    os.getppid()
            os.getppid()  # detached by now
        assert read_count(counts) == CALLS


def test_a_tracepoint_runs_on_every_cpu(tracefs: Tracefs, only_us: Callable[[Assembler], None]) -> None:
    """Though its one event is on one CPU."""
    cpus = os.sched_getaffinity(0)
    with maps.create(COUNTS, maps.Array) as counts, programs.load(
        counter(ProgramType.TRACEPOINT, only_us), {"counts": counts}
    ) as program, links.tracepoint(program, tracefs.event_id("syscalls", "sys_enter_getppid")):
        try:
            for cpu in cpus:
                os.sched_setaffinity(0, {cpu})
                os.getppid()
        finally:
            os.sched_setaffinity(0, cpus)
        assert read_count(counts) == len(cpus)


def test_raw_tracepoint(only_us: Callable[[Assembler], None]) -> None:
    if not features.FEATURES["raw_tracepoints"].supported():
        needs.impossible("this kernel has no raw tracepoints")
    with maps.create(COUNTS, maps.Array) as counts:
        a = Assembler("count_getppid", kind=ProgramType.RAW_TRACEPOINT)
        a.ldx(r6, r1[8], "system call number")
        only_us(a)
        a.jne(r6, 110 if os.uname().machine == "x86_64" else 173, "out", "not getppid")
        count(a, 0)
        with programs.load(a.program(), {"counts": counts}) as program, links.raw_tracepoint(program, "sys_enter"):
            for _call in range(CALLS):
                os.getppid()
        assert read_count(counts) == CALLS


def test_unknown_raw_tracepoint(only_us: Callable[[Assembler], None]) -> None:
    with maps.create(COUNTS, maps.Array) as counts, programs.load(
        counter(ProgramType.RAW_TRACEPOINT, only_us), {"counts": counts}
    ) as program, pytest.raises(BpfError, match=r"raw tracepoint no_such: BPF_RAW_TRACEPOINT_OPEN: .*ENOENT"):
        links.raw_tracepoint(program, "no_such")


def test_fentry(only_us: Callable[[Assembler], None]) -> None:
    if not features.FEATURES["fentry"].supported():
        needs.impossible(f"fentry is refused here (lockdown: {features.lockdown()})")
    from pybpf.types.btf import Btf  # noqa: PLC0415

    # A call with arguments: one without has a single function for both ABIs of x86, under either name.
    name = "__x64_sys_getpgid" if os.uname().machine == "x86_64" else "__arm64_sys_getpgid"
    function = Btf.vmlinux().type_id("func", name)
    with maps.create(COUNTS, maps.Array) as counts, programs.load(
        counter(ProgramType.TRACING, only_us), {"counts": counts}, expected_attach_type=24, attach_btf_id=function
    ) as program, links.tracing(program):
        for _call in range(CALLS):
            os.getpgid(0)
        assert read_count(counts) == CALLS


def test_eexist_names_the_cause(
    tracefs: Tracefs, only_us: Callable[[Assembler], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Linux 4.14 answers to a second program on a tracepoint; the event is closed again."""

    def ioctl(*_arguments: object) -> int:
        raise OSError(errno.EEXIST, "File exists")

    with maps.create(COUNTS, maps.Array) as counts, programs.load(
        counter(ProgramType.TRACEPOINT, only_us), {"counts": counts}
    ) as program:
        monkeypatch.setattr(fcntl, "ioctl", ioctl)
        with pytest.raises(BpfError, match="already, or another tracer is") as refused:
            links.tracepoint(program, tracefs.event_id("syscalls", "sys_enter_getppid"))
        assert refused.value.errno == errno.EEXIST


def test_close_all(tracefs: Tracefs, only_us: Callable[[Assembler], None]) -> None:
    with maps.create(COUNTS, maps.Array) as counts:
        with programs.load(counter(ProgramType.TRACEPOINT, only_us), {"counts": counts}) as program:
            names = ("getppid", "getuid", "geteuid", "getgid", "getegid")
            events = [tracefs.event_id("syscalls", f"sys_enter_{name}") for name in names]
            attached = [links.tracepoint(program, event) for event in events]
            links.close_all(attached)
            links.close_all(attached)
        os.getppid()
        assert read_count(counts) == 0
    with pytest.raises(ChildProcessError):  # whoever still waits for the tracepoints is not ours
        os.waitpid(-1, os.WNOHANG)


def test_detaching_where_no_process_may_be_made(
    tracefs: Tracefs, only_us: Callable[[Assembler], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with maps.create(COUNTS, maps.Array) as counts:
        with programs.load(counter(ProgramType.TRACEPOINT, only_us), {"counts": counts}) as program:
            attached = [links.tracepoint(program, tracefs.event_id("syscalls", "sys_enter_getppid"))]
            monkeypatch.setattr(os, "fork", fork)
            links.close_all(attached)
        os.getppid()
        assert read_count(counts) == 0


def test_links_are_not_inherited(tracefs: Tracefs, only_us: Callable[[Assembler], None]) -> None:
    with maps.create(COUNTS, maps.Array) as counts, programs.load(
        counter(ProgramType.TRACEPOINT, only_us), {"counts": counts}
    ) as program, links.tracepoint(program, tracefs.event_id("syscalls", "sys_enter_getppid")) as link:
        for owner in (counts, program, link):
            assert fcntl.fcntl(owner, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_tail_call(tracefs: Tracefs, only_us: Callable[[Assembler], None]) -> None:
    a = Assembler("jump", kind=ProgramType.TRACEPOINT)
    a.mov(r6, r1)
    only_us(a)
    a.tail_call(r6, JUMPS, 2)
    count(a, 1)  # where no tail call happens
    with maps.create(COUNTS, maps.Array) as counts, maps.create(JUMPS, maps.ProgArray) as jumps:
        bound = {"counts": counts, "jumps": jumps}
        with programs.load(a.program(), bound) as jump, programs.load(
            counter(ProgramType.TRACEPOINT, only_us), bound
        ) as target, links.tracepoint(jump, tracefs.event_id("syscalls", "sys_enter_getppid")):
            os.getppid()
            jumps.set(2, target)
            for _call in range(CALLS):
                os.getppid()
            jumps.clear(2)
            os.getppid()
        assert read_count(counts, 0) == CALLS
        assert read_count(counts, 1) == 2


def test_task_storage(only_us: Callable[[Assembler], None]) -> None:
    if not features.helper(ProgramType.RAW_TRACEPOINT, "task_storage_get").supported():
        needs.impossible("this kernel has no task storage for tracing programs")
    a = Assembler("store", kind=ProgramType.RAW_TRACEPOINT)
    only_us(a)
    a.call("get_current_task_btf")
    a.mov(r2, r0)
    a.ld_map(r1, STORAGE)
    a.mov(r3, 0)
    a.mov(r4, 1)
    a.call("task_storage_get")
    a.jeq(r0, 0, "out")
    a.st(r0[0], 23)
    a.label("out")
    a.ret(0)
    with maps.create(STORAGE, maps.TaskStorage) as storage:
        assert storage.of_process(os.getpid()) is None
        with programs.load(a.program(), {"storage": storage}) as program, links.raw_tracepoint(program, "sys_enter"):
            os.getppid()
        assert storage.of_process(os.getpid()) == struct.pack("<Q", 23)


def refused_program() -> ProgramSpec:
    a = Assembler("unchecked", kind=ProgramType.TRACEPOINT)
    key = a.slot("key", U32)
    for _time in range(20):
        a.st(key, 0)
    a.lookup(SEEN, key)
    a.ldx(r1, r0[0], "the count")
    a.ret(0)
    return a.program()


def test_verifier_error() -> None:
    spec = refused_program()
    line = next(instruction.where[1] for instruction in spec.instructions if instruction.note and instruction.where)
    with maps.create(SEEN, maps.HashMap) as seen, pytest.raises(programs.VerifierError) as refused:
        programs.load(spec, {"seen": seen})
    text = str(refused.value)
    assert re.fullmatch(
        r"program unchecked: BPF_PROG_LOAD: Permission denied \(EACCES\): R0 invalid mem access '\w+', "
        rf"at `\d+: \(79\) r1 = \*\(u64 \*\)\(r0 \+0\)`, the count, kernel/test_programs.py:{line} "
        r"\(\d+ lines omitted\)",
        text,
    ), text
    lines = refused.value.excerpt().splitlines()
    assert "R0 invalid mem access" in lines[-1]
    assert "lines omitted)" in lines[0]
    assert f"; the count   kernel/test_programs.py:{line}" in lines[-2]
    assert len(lines) == 13
    assert refused.value.errno == errno.EACCES
    assert re.search(r"^0: \(62\) \*\(u32 \*\)\(r10 -", refused.value.log, re.MULTILINE)  # the whole of it
    assert "processed" in refused.value.log


def test_a_log_larger_than_the_first_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    with maps.create(SEEN, maps.HashMap) as seen:
        with pytest.raises(programs.VerifierError) as whole:
            programs.load(refused_program(), {"seen": seen})
        monkeypatch.setattr(programs, "_LOG_START", 256)
        with pytest.raises(programs.VerifierError) as grown:
            programs.load(refused_program(), {"seen": seen})
    assert len(whole.value.log) > 256
    assert len(grown.value.log.splitlines()) == len(whole.value.log.splitlines())


def test_a_program_without_its_map(only_us: Callable[[Assembler], None]) -> None:
    with pytest.raises(EncodeError, match="counts"):
        programs.load(counter(ProgramType.TRACEPOINT, only_us), {})


@pytest.mark.parametrize("kernel", [(4, 14), (99, 0)])
def test_names_and_notes_where_the_kernel_takes_them(
    as_old_as: Callable[[int, int], None], kernel: Tuple[int, int], only_us: Callable[[Assembler], None]
) -> None:
    as_old_as(*kernel)
    with maps.create(COUNTS, maps.Array) as counts, programs.load(
        counter(ProgramType.TRACEPOINT, only_us), {"counts": counts}
    ) as program:
        status = program.info()
        dump = needs.output("bpftool", "prog", "dump", "xlated", "id", status.id)
        shown = needs.output("bpftool", "prog", "show", "id", status.id)
    assert status.name == ("count_tracepoin" if kernel == (99, 0) else "")
    new = kernel == (99, 0)
    assert ("; one more call" in dump) == new
    assert ("int count_tracepoint()" in dump.replace("s32", "int")) == new
    assert ("name count_tracepoin" in shown) == new
    assert f"tag {status.tag}" in shown
    assert f"xlated {status.xlated_len}B" in shown


def test_4_14_is_sent_nothing_it_does_not_know(
    as_old_as: Callable[[int, int], None],
    tracefs: Tracefs,
    only_us: Callable[[Assembler], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Commands up to OBJ_GET_INFO_BY_FD, and attributes that end where that kernel's do (include/uapi/linux/bpf.h)."""
    ends = {0: 28, 1: 32, 2: 32, 3: 32, 4: 32, 5: 48, 15: 16}
    sent = []
    real = syscalls._libc.syscall

    def syscall(*arguments: int) -> int:
        if arguments[0] == syscalls._numbers().bpf:
            sent.append((int(arguments[1]), ctypes.string_at(arguments[2], arguments[3])))
        return int(real(*arguments))

    as_old_as(4, 14)
    monkeypatch.setattr(syscalls._libc, "syscall", syscall)
    with maps.create(COUNTS, maps.Array) as counts, maps.create(SEEN, maps.HashMap) as seen:
        bound = {"counts": counts, "seen": seen}
        with programs.load(counter(ProgramType.TRACEPOINT, only_us), bound) as program, links.tracepoint(
            program, tracefs.event_id("syscalls", "sys_enter_getppid")
        ):
            os.getppid()
            program.info()
        assert read_count(counts) == 1
        seen.update(struct.pack("<I", 1), bytes(8))
        assert len(list(seen.items())) == len(list(seen.drain())) == 1
    assert {command for command, _attr in sent} == set(ends)
    for command, attr in sent:
        assert not any(attr[ends[command] :]), syscalls.Command(command)


def test_run_statistics(tracefs: Tracefs, only_us: Callable[[Assembler], None]) -> None:
    """The kernel counts every run, also those that our own filter ends at once."""
    if not features.FEATURES["stats"].supported():
        needs.impossible("this kernel keeps no run time of programs")
    with maps.create(COUNTS, maps.Array) as counts, programs.load(
        counter(ProgramType.TRACEPOINT, only_us), {"counts": counts}
    ) as program, programs.enable_stats(), links.tracepoint(program, tracefs.event_id("syscalls", "sys_enter_getppid")):
        for _call in range(CALLS):
            os.getppid()
        status = program.info()
        assert status.run_cnt >= CALLS == read_count(counts)
        assert status.run_time_ns > 0


def test_functions_of_a_program(tracefs: Tracefs, only_us: Callable[[Assembler], None]) -> None:
    if not features.FEATURES["calls"].supported():
        needs.impossible("this kernel has no calls between BPF functions")
    a = Assembler("caller", kind=ProgramType.TRACEPOINT)
    only_us(a)
    a.call_function("add_one")
    a.label("out")
    a.ret(0)
    a.function("add_one")
    key = a.slot("key", U32)
    a.st(key, 3)
    a.lookup(COUNTS, key)
    a.jeq(r0, 0, "none")
    a.mov(r1, 1)
    a.xadd(r0[0], r1)
    a.label("none")
    a.ret(0)
    with maps.create(COUNTS, maps.Array) as counts, programs.load(
        a.program(), {"counts": counts}
    ) as program, links.tracepoint(program, tracefs.event_id("syscalls", "sys_enter_getppid")):
        assert program.info().line_infos > 0
        for _call in range(CALLS):
            os.getppid()
        assert read_count(counts, 3) == CALLS


def test_programs_are_found_by_their_ids(only_us: Callable[[Assembler], None]) -> None:
    """The same that bpftool lists; one that has gone is ENOENT."""
    with maps.create(COUNTS, maps.Array) as counts:
        with programs.load(counter(ProgramType.TRACEPOINT, only_us), {"counts": counts}) as program:
            status = program.info()
            ids = list(programs.program_ids())
            assert status.id in ids
            assert ids == sorted(ids)
            assert {each["id"] for each in needs.bpftool("prog", "show")} == set(ids)
            with programs.open_program(status.id) as same:
                assert same.info().tag == status.tag
                assert same.name == "count_tracepoin"
        with pytest.raises(BpfError, match=f"program {max(ids) + 1000}: BPF_PROG_GET_FD_BY_ID: .*ENOENT"):
            programs.open_program(max(ids) + 1000)


def test_loading_in_threads(only_us: Callable[[Assembler], None]) -> None:
    """Errno is each thread's own, and so are the attributes."""
    failures = []
    with maps.create(COUNTS, maps.Array) as counts, maps.create(SEEN, maps.HashMap) as seen:
        bound = {"counts": counts, "seen": seen}

        def work(good: bool) -> None:
            for _time in range(10):
                try:
                    spec = counter(ProgramType.TRACEPOINT, only_us) if good else refused_program()
                    programs.load(spec, bound).close()
                    if not good:
                        failures.append("loaded what must be refused")
                except programs.VerifierError as error:
                    if good or error.errno != errno.EACCES:
                        failures.append(str(error))

        threads = [threading.Thread(target=work, args=(number % 2 == 0,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_loading_several_at_a_time(only_us: Callable[[Assembler], None]) -> None:
    """All are there, each under its own name; and if one is refused, none."""
    good = [
        binary(counter(ProgramType.TRACEPOINT, only_us, index))._replace(name=f"number_{index}") for index in range(20)
    ]
    broken = good[7]._replace(name="broken", code=good[7].code[:-8])  # runs off its end
    before = len(os.listdir("/proc/self/fd"))
    with maps.create(COUNTS, maps.Array) as counts:
        loaded = programs.load_all(good, {"counts": counts})
        assert sorted(loaded) == sorted(program.name for program in good)
        assert all(program.name == name for name, program in loaded.items())
        tags = {program.info().tag for program in loaded.values()}
        assert len(tags) == len(good)  # each counts in its own place
        for program in loaded.values():
            program.close()
        with pytest.raises(programs.VerifierError) as caught:
            programs.load_all([*good, broken], {"counts": counts})
        assert caught.value.program == "broken"
    assert len(os.listdir("/proc/self/fd")) == before
