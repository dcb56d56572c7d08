"""The maps that the programs share, sized once from `--max-files`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional

from asm import U32, U64, DataType, MapSpec, MapType
from programs.facts.jumps import JUMPS
from programs.facts.kernel import Kernel, Options
from programs.facts.records import (
    COMM_ROWS,
    Activity,
    AioContext,
    AioKey,
    AskFile,
    Asking,
    Call,
    CallSlot,
    CommWords,
    Completed,
    Depth,
    FileId,
    FileKey,
    FileState,
    Home,
    Interval,
    LatencyPiece,
    LightCall,
    Lost,
    Note,
    Numbering,
    OpenFile,
    OpenKey,
    OpHead,
    OpKey,
    OpStats,
    OwnedFile,
    OwnedNote,
    OwnedPending,
    Pending,
    PendingKey,
    Recent,
    RefusedKey,
    Requested,
    RingFile,
    RingKey,
    RowKey,
    Runs,
    Scratch,
    SeriesClock,
    SeriesKey,
    TallyKey,
    Target,
    ThreadKey,
    Window,
)

SYSCALL_ROWS = 512  # no traced call has a higher number
TARGETS = 32768
STRANGERS, STACKS, IDLE_STACKS = 65536, 4096, 16384  # powers of two
FALLBACK_CALLS = 8192  # threads whose record in the array is another's
REQUESTS = 65536  # in flight at once, and
NOTES = 16384  # places for them, a power of two: with 1,000 in flight one in 30 finds its place taken
AIO_CONTEXTS = 4096
RING_FILES = 4096  # the latest ones
BORROWED = 64  # Call records a CPU, by thread, where programs are preempted
RING_BYTES = 8 << 20
RECENT_ROWS = 512  # a power of two
REFUSED = 4096  # ways in which opens have failed, until user space takes them
DIRECTORIES = 4096  # that they began at: the latest ones
ASKED_ROWS = 1024
SHARDS = 4096  # counters of threads that use a file often
BPF_F_NO_PREALLOC, BPF_F_MMAPABLE = 1, 1 << 10


@dataclass(frozen=True)
class Maps:
    """Every map by its role."""

    targets: MapSpec
    generation: MapSpec  # counts the changes of `targets`
    strangers: MapSpec  # by thread id: the generation in which it was found not to be a target's
    stacks: MapSpec  # by the address of a stack: whether a target's thread may be on it
    idle_stacks: MapSpec  # by the same: the generation in which its thread was found not to be a target's
    slots: MapSpec  # calls in flight, by thread id
    calls: MapSpec  # those whose slot is another thread's
    opens: MapSpec  # open file descriptions
    notes: MapSpec  # asynchronous requests in flight, and
    pending: MapSpec  # those whose place is another's
    depths: MapSpec  # how many of a file are in flight
    contexts: MapSpec  # of Linux AIO
    ring_files: MapSpec  # opened into a ring's table
    silence: MapSpec  # 1 once a request has been noted that shows no completion
    borrowed: MapSpec  # a CPU's own Call record
    files: MapSpec
    states: MapSpec  # per-file totals
    threads: MapSpec  # those that did I/O on a file, but the first
    rows: MapSpec  # ids of rows, by file and who did the I/O, where they are apart by that
    row_states: MapSpec  # totals of a row
    cgroups: MapSpec  # those that choose what is traced
    heads: MapSpec  # OpStats, or OpHead where the record must be kept in parts
    requested: MapSpec  # the other parts of OpStats, there
    completed: MapSpec
    latency: MapSpec  # in pieces
    shards: MapSpec  # the counters of threads that use a file often
    runs: MapSpec
    zeros: MapSpec  # a record of zeros, from which new ones are made
    tallies: MapSpec  # rare counters
    series: MapSpec  # what files did in each interval, where that was asked for
    series_clock: MapSpec  # which intervals
    lost: MapSpec  # what could not be recorded
    activity: MapSpec  # for the status line
    syscalls: MapSpec  # by number: the signature of a traced call
    comm: MapSpec  # the automaton that matches names
    jumps: MapSpec  # the table of tail calls
    scratch: MapSpec  # a CPU's two work spaces
    events: MapSpec  # paths on their way to user space
    refused: MapSpec  # opens that have failed, by path and errno
    directories: MapSpec  # that they began at, whose paths were sent
    recent: MapSpec  # the files that a process has closed last, by its id modulo RECENT_ROWS
    asking: MapSpec  # what the program `ask` is to do
    asked: MapSpec  # questions about files, and the answers
    numbering: MapSpec  # a question about the number of a process, and the answer
    home: MapSpec  # the PID namespace that iotrace is in
    window: MapSpec  # when data calls are timed, where they have no entry

    def all(self) -> Dict[str, MapSpec]:
        """By name."""
        return {spec.name: spec for spec in vars(self).values()}


def _events(kernel: Kernel) -> MapSpec:
    if kernel.ring_buffer:
        return MapSpec("events", MapType.RINGBUF, None, None, RING_BYTES)
    return MapSpec("events", MapType.PERF_EVENT_ARRAY, U32, U32, 0)


def declare(
    kernel: Kernel, max_files: int = 65536, *, preallocate: bool = True, options: Optional[Options] = None
) -> Maps:
    """The maps for `max_files` files; `options` are those of the programs.

    `preallocate` spends the memory at once, as kernels before 6.1 need it: allocating from a tracing program could
    deadlock there (7c8199e24fa0, "bpf: Introduce any context BPF specific memory allocator").

    Long because each map takes a line.
    """
    options = options or Options()
    flags = 0 if preallocate else BPF_F_NO_PREALLOC
    operations, rows = max_files * 2, max_files * 2

    def table(name: str, key: DataType, value: DataType, entries: int) -> MapSpec:
        return MapSpec(name, MapType.HASH, key, value, entries, flags)

    def array(name: str, value: DataType, entries: int) -> MapSpec:
        return MapSpec(name, MapType.ARRAY, U32, value, entries)

    parts = not kernel.big_values
    return Maps(
        targets=MapSpec("targets", MapType.HASH, U32, Target, TARGETS),
        generation=array("generation", U64, 1),
        strangers=array("strangers", U64, STRANGERS),
        stacks=array("stacks", U64, STACKS),
        idle_stacks=array("idle_stacks", U64, IDLE_STACKS),
        slots=array("slots", LightCall if options.light else CallSlot, max(kernel.tid_slots, 1)),
        calls=table("calls", U32, LightCall if options.light else Call, FALLBACK_CALLS),
        opens=table("opens", OpenKey, OwnedFile if options.by else OpenFile, max_files),
        notes=MapSpec("notes", MapType.ARRAY, U32, OwnedNote if options.by else Note, NOTES, BPF_F_MMAPABLE),
        pending=table("pending", PendingKey, OwnedPending if options.by else Pending, REQUESTS),
        depths=table("depths", U64, Depth, max_files + rows if options.by else max_files),
        contexts=table("contexts", AioKey, AioContext, AIO_CONTEXTS),
        ring_files=MapSpec("ring_files", MapType.LRU_HASH, RingKey, RingFile, RING_FILES),
        silence=array("silence", U64, 1),
        borrowed=MapSpec("borrowed", MapType.PERCPU_ARRAY, U32, Call, BORROWED if kernel.spares else 1),
        files=table("files", FileKey, FileId, max_files),
        states=table("states", U64, FileState, max_files),
        threads=table("threads", ThreadKey, U64, max_files * 2),
        rows=table("rows", RowKey, U64, rows),
        row_states=table("row_states", U64, FileState, rows),
        cgroups=MapSpec("cgroups", MapType.CGROUP_ARRAY, U32, U32, max(options.cgroups, 1)),
        heads=table("operations", OpKey, OpHead if parts else OpStats, operations),
        requested=table("requested", OpKey, Requested, operations if parts else 1),
        completed=table("completed", OpKey, Completed, operations if parts else 1),
        latency=table("latency", OpKey, LatencyPiece, 3 * operations if parts else 1),
        shards=table("shards", OpKey, OpStats, SHARDS if kernel.fetch_atomics and not parts else 1),
        runs=table("runs", OpKey, Runs, operations if parts else 1),
        zeros=array("zeros", OpStats, 1),
        tallies=table("tallies", TallyKey, U64, max_files * 4),
        series=table("series", SeriesKey, Interval, operations),
        series_clock=array("series_clock", SeriesClock, 1),
        lost=array("lost", Lost, 1),
        activity=MapSpec("activity", MapType.PERCPU_ARRAY, U32, Activity, 1),
        syscalls=array("syscalls", U64, SYSCALL_ROWS),
        comm=array("comm", CommWords, COMM_ROWS),
        jumps=MapSpec("jumps", MapType.PROG_ARRAY, U32, U32, JUMPS),
        scratch=MapSpec("scratch", MapType.PERCPU_ARRAY, U32, Scratch, 2),
        events=_events(kernel),
        refused=table("refused", RefusedKey, U64, REFUSED),
        directories=MapSpec("directories", MapType.LRU_HASH, U64, U64, DIRECTORIES),
        recent=MapSpec("recent", MapType.ARRAY, U32, Recent, RECENT_ROWS),
        asking=MapSpec("asking", MapType.ARRAY, U32, Asking, 1),
        # In shared memory where it can be (5.5); 5.8 is close enough to ask for.
        asked=MapSpec("asked", MapType.ARRAY, U32, AskFile, ASKED_ROWS, BPF_F_MMAPABLE if kernel.ring_buffer else 0),
        numbering=array("numbering", Numbering, 1),
        home=array("home", Home, 1),
        window=array("window", Window, 1),
    )
