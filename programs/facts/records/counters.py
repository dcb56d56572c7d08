"""What is counted: per operation and file, per file, and what was lost."""

from __future__ import annotations

from asm import U32, U64, Layout, field

SIZE_BUCKETS = 33  # the kernel transfers less than 2^31 bytes a call (MAX_RW_COUNT, include/linux/fs.h)
RUN_BUCKETS = 33  # runs of less than 4 GiB; longer ones go to the tallies

# Buckets of latencies are finer: LATENCY_PARTS of them divide each power of two equally. They are an
# eighth wide at most, so that a percentile comes within a tenth of the true one. They count units of LATENCY_UNIT ns,
# with 0 to 7 units in the first eight buckets.
LATENCY_UNIT_BITS, LATENCY_PART_BITS = 4, 3
LATENCY_UNIT, LATENCY_PARTS = 1 << LATENCY_UNIT_BITS, 1 << LATENCY_PART_BITS
LATENCY_BITS = 32  # latencies of up to 4.3 s; longer ones go to the tallies
LATENCY_BUCKETS = LATENCY_PARTS * (LATENCY_BITS - LATENCY_UNIT_BITS - LATENCY_PART_BITS + 1)
LATENCY_FULL_BIT = 31  # of a cell, which has 32 bits: from there on its bucket is counted in the tallies
LATENCY_PIECES = 4  # where a record of latencies must be kept in pieces
LATENCY_PIECE = LATENCY_BUCKETS // LATENCY_PIECES  # buckets
COMMON_SIZES = 4  # besides the first


class OpKey(Layout):
    """One operation on one file."""

    id = field(U64)
    op = field(U32)
    piece = field(U32)  # of a record that is kept in pieces: LatencyPiece; the thread's id in `shards`; else 0


class OpHead(Layout):
    """Totals of one operation on one file."""

    calls = field(U64)
    bytes = field(U64)
    first = field(U64)  # entry of the first call
    last = field(U64)  # return of the last successful one
    lowest = field(U64)  # first byte touched, plus one; 0: none yet
    highest = field(U64)  # last byte touched, plus one
    direct = field(U64)  # calls on an O_DIRECT descriptor
    durable = field(U64)  # writes that were durable when they returned
    busy = field(U64)  # ns that successful calls took, in sum
    slowest = field(U64)  # ns that the slowest of them took
    unaligned = field(U64)  # data calls whose offset or size is not a multiple of ALIGNED
    unaligned_direct = field(U64)  # those of them on an O_DIRECT descriptor


ALIGNED = 4096  # a page, and the largest sector there is


class CommonSize(Layout):
    """How often a size was asked for."""

    bytes = field(U64)  # plus one; 0: none yet
    count = field(U64)


class Requested(Layout):
    """Sizes of requests.

    The first size that was asked for is not counted: its count is what is left of those in the buckets. Of the others,
    `common` keeps the most frequent ones, as in "Efficient Computation of Frequent and Top-k Elements in Data Streams"
    (Metwally and others, 2005): a size for which there is no room replaces the rarest one, and inherits its count.
    Programs without atomics that return a value keep the sizes that came first.
    """

    first = field(U64)  # plus one; 0: none yet
    others = field(U64)  # requests for sizes that found no place in `common`
    replaced = field(U64)  # how often a size took the place of another
    common = field(CommonSize, COMMON_SIZES)
    buckets = field(U64, SIZE_BUCKETS)  # larger requests go to the tallies


class Completed(Layout):
    """Sizes of successful transfers."""

    buckets = field(U64, SIZE_BUCKETS)


class Latency(Layout):
    """Entry to return of successful calls. A cell that has LATENCY_FULL_BIT is full."""

    buckets = field(U32, LATENCY_BUCKETS)


class LatencyPiece(Layout):
    """A part of them."""

    buckets = field(U32, LATENCY_PIECE)


class Runs(Layout):
    """Lengths of the sequential runs that a call of this operation ended."""

    buckets = field(U64, RUN_BUCKETS)


class OpStats(Layout):
    """All of an operation's counters in one record."""

    head = field(OpHead)
    requested = field(Requested)
    completed = field(Completed)
    latency = field(Latency)
    runs = field(Runs)


class TallyKey(Layout):
    """A rarely needed counter, kept sparsely: one cell of a histogram, one errno of an operation."""

    id = field(U64)  # file; 0: calls that belong to no file
    op = field(U32)
    kind = field(U32)  # TALLY_*
    item = field(U64)  # bucket or errno


TALLY_ERROR, TALLY_REQUESTED, TALLY_READ_RUN, TALLY_WRITE_RUN, TALLY_BETWEEN_SYNCS, TALLY_LATENCY = range(1, 7)
# Of reads that waited for storage: their latencies; and, as sums under item 0, the bytes that they had brought, and how
# many of these they did not return.
TALLY_STORAGE_LATENCY, TALLY_STORAGE_BYTES, TALLY_READAHEAD_BYTES = range(7, 10)


class Lost(Layout):
    """What could not be recorded; a single record."""

    calls = field(U64)  # calls of targets that are in no file's counters
    files = field(U64)  # opens of files for which there was no room
    targets = field(U64)  # processes that should have become targets
    tallies = field(U64)  # histogram cells and errors for which there was no room
    names = field(U64)  # attempts to send a path while the buffer was full; a later call tries again
    iovecs = field(U64)  # vectored calls whose iovec could not be read: requested size unknown
    compat = field(U64)  # system calls of 32-bit tasks
    depth = field(U64)  # paths too long or too deep to be resolved
    requests = field(U64)  # of those calls: requests of io_uring whose completion was not seen
    rings = field(U64)  # rings of io_uring that were made: no loss where their requests are shown
    answered = field(U64)  # calls that a filter answered, which are counted
    trapped = field(U64)  # calls that a filter made a SIGSYS of, which are not
    replaced = field(U64)  # calls whose number a tracer took away, which are not

    # No losses: successful calls of each kind of `Beside`.
    sync = field(U64)
    syncfs = field(U64)
    msync = field(U64)
    clone = field(U64)
    allocate = field(U64)
    truncate = field(U64)

    cores = field(U64)  # signals that dump a target's core: nor a loss
    pathless = field(U64)  # failed opens whose path was not seen: nor a loss


class Activity(Layout):
    """A CPU's share of what happened so far, for the status line."""

    calls = field(U64)  # data calls
    bytes = field(U64)
    others = field(U64)  # opens, closes and syncs
