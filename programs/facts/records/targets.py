"""Whom to trace: the processes, and the names that make one a target."""

from __future__ import annotations

from asm import U32, U64, Layout, field


class Target(Layout):
    """A traced process (key: tgid)."""

    flags = field(U64)  # TARGET_*
    since = field(U64)  # generation of the targets, plus one, before it became one; 0: it was chosen by number


class Numbering(Layout):
    """A question about a process, and the answer: what is its number in the initial PID namespace?"""

    # -- the question
    name = field(U64, 2)  # of the thread that asks: its comm; 0: whoever runs it
    descriptor = field(U32)  # of that thread's process: of the directory in a proc of the process in question
    # -- the answer
    answered = field(U32)  # 1: the rest is valid
    number = field(U32)
    level = field(U32)  # of the PID namespace that the process is in: 0 is the initial one, 1 a child of that
    namespace = field(U64)  # struct pid_namespace *, that one


class Home(Layout):
    """The PID namespace that iotrace is in."""

    namespace = field(U64)  # struct pid_namespace *
    level = field(U64)
    place = field(U64)  # in the struct pid of a process that is in it, or below: where that pointer is


TARGET_NONE, TARGET_PID, TARGET_COMM, TARGET_DESCENT, TARGET_FOLLOW = 0, 1, 2, 4, 8
"""TARGET_NONE alone: left out, though a cgroup that it is in is traced."""

# An entry of the map `strangers`: the generation plus one in the lowest bits, the process above it, and above that the
# bits of the thread's id that are not in the index. No id has more than 22 bits (PID_MAX_LIMIT).
STRANGER_TGID, STRANGER_TID = 36, 58


class CommWords(Layout):
    """One row of the automaton that matches names (`programs.way.patterns`)."""

    words = field(U64, 4)


COMM_WORDS = 4
COMM_START, COMM_LOOP, COMM_ACCEPT, COMM_SEEN, COMM_ROWS = 256, 257, 258, 259, 260
COMM_BYTES = 16  # TASK_COMM_LEN
