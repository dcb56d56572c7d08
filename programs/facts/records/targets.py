"""Whom to trace: the processes, and the names that make one a target."""

from __future__ import annotations

from asm import U64, Layout, field


class Target(Layout):
    """A traced process (key: tgid)."""

    flags = field(U64)  # TARGET_*


TARGET_PID, TARGET_COMM, TARGET_DESCENT, TARGET_FOLLOW = 1, 2, 4, 8

# An entry of the map `strangers`: the generation plus one in the lowest bits, the process above it, and above that the
# bits of the thread's id that are not in the index. No id has more than 22 bits (PID_MAX_LIMIT).
STRANGER_TGID, STRANGER_TID = 36, 58


class CommWords(Layout):
    """One row of the automaton that matches names (`programs.way.patterns`)."""

    words = field(U64, 4)


COMM_WORDS = 4
COMM_START, COMM_LOOP, COMM_ACCEPT, COMM_SEEN, COMM_ROWS = 256, 257, 258, 259, 260
COMM_BYTES = 16  # TASK_COMM_LEN
