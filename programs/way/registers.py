"""The roles of the registers, each named once, so that `CALL[Call.offset]` says what it is.

r0 to r5 belong to the idioms and are lost in every call of a helper. r6 to r9 outlive calls and have the roles below.
A register changes its role on the way through a program and then changes its name; names in one column of this table
are the same register, so that only one of them is alive at a time:

    ============  =========  ============================================  =====================================
    phase         r6         r7                                            r8
    ============  =========  ============================================  =====================================
    entry         CTX        NUMBER, then TID, then SIGNATURE              ROW, then KIND, POINTER or FILE
    exit          CTX        SIGNATURE, then OPEN_FILE                     RESULT, or FILE while that is in Call
    identify      CTX        STRUCT, then WALK, then OPEN_FILE             FILE
    path walk     CTX        WALK                                          DENTRY (and r9 MOUNT)
    Linux AIO     CTX        AIO_CONTEXT, then OPEN_FILE                   RESULT, FILE or PLACE
    io_uring      CTX        REQUEST or ENTRY, then OPEN_FILE              RESULT, FILE or PLACE
    ============  =========  ============================================  =====================================

r9 is CALL everywhere but in the walk of a path, which needs no Call record, and at the entry before there is one.
"""

from __future__ import annotations

from asm import r6, r7, r8, r9

CTX = r6
"""What the kernel passes to the program: an array of arguments, or a perf tracepoint's record."""
TOTAL = r6
"""In a callback: what its rounds add to."""
ENDED = r6
"""In a callback: where it says how the loop has ended."""
SEARCH = r6
"""In a callback: the `Search` for a request."""
FIRST = r6
"""In a callback: the `Rows` that the rounds begin with."""
CLIMB = r6
"""In a callback: the `Climb` that stands for the way up."""
ROUNDS = r6
"""In a loop that jumps back: the rounds that are left."""
PID_TGID = r6
"""Of a thread that exits: its process's id above its own."""

NUMBER = r7
"""The number of the system call, at its entry."""
ASKING = r7
"""The `Asking` record: what the program `ask` is to do."""
NUMBERING = r7
"""The `Numbering`: which process has which number in the initial PID namespace."""
ASKED = r7
"""An `AskFile`: a question and its answer."""
RECENT = r7
"""The `Recent` files of a process, or one of them."""
TID = r7
"""The thread's id."""
SIGNATURE = r7
"""The word that says what the system call is: `Signature`."""
CALL_KIND = r7
"""The `Kind` alone, where SIGNATURE is no longer needed."""
OPEN_FILE = r7
"""The `OpenFile`: the state of an open file description."""
WALK = r7
"""The `Walk`: where a path walk stands. It lies at the beginning of a `Scratch`."""
SCRATCH = r7
"""The `Scratch`: the work space of a CPU."""
ADDRESS = r7
"""An address in the memory of the process."""
STRUCT = r7
"""A struct of the kernel, read on the way to something else while FILE is kept."""
CHUNK = r7
"""In a callback: the number of a part of an iovec, then the work space that it lies in."""
FLAGS = r7
"""Flags of a clone."""
AIO_CONTEXT = r7
"""The `AioContext`: how far the ring of a context has been looked at."""
NOTED_SO_FAR = r7
"""How many of the requests of an io_submit were noted."""
REQUEST = r7
"""A `struct io_kiocb *`: a request of io_uring."""
ENTRY = r7
"""A `struct io_uring_sqe *`: a request that could not be prepared."""
SLOT = r7
"""Where in a ring's table an open puts its file: an index plus one, 0 if it makes a descriptor."""

RESULT = r8
"""What the system call, or the request, returned: a count of bytes, or -errno."""
FILE = r8
"""A `struct file *`, 0 for none."""
DESCRIPTOR = r8
"""A file descriptor, or the index of a file registered with a ring, which becomes FILE."""
POINTER = r8
"""A pointer of the kernel, followed on the way to something else."""
PID = r8
"""The id of this process."""
ROW = r8
"""The row of the `syscalls` map: a SIGNATURE and the bit SWITCH."""
KIND = r8
"""The `Kind`, while SIGNATURE is kept."""
LENGTH = r8
"""Bytes: of a path so far, or of a request."""
INDEX = r8
"""In a callback: the number of its round, from 0."""
DENTRY = r8
"""A `struct dentry *`, in the walk of a path."""
PLACE = r8
"""The `Note` that a request is to be kept in."""
OPCODE = r8
"""The kind of a request of io_uring: an IORING_OP_*, or an `Opcode`."""
MARKS = r8
"""NOTE_* of a request."""

CALL = r9
"""The thread's `Call` record, or the one that its CPU lends to a request."""
GENERATION = r9
"""The generation of the targets, plus one, before there is a CALL."""
MOUNT = r9
"""A `struct mount *`, in the walk of a path."""
