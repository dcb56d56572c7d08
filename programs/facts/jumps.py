"""The table of tail calls: an index for the exit of each kind of system call, followed by one for each `Jump`.

The programs of a form share one table, and those on io_uring's events have one of their own with the same numbering.
A program that a kernel has no use for leaves its index empty, and a tail call to it falls through.
"""

from __future__ import annotations

from enum import IntEnum, auto

from programs.facts.catalogue import Kind


class Jump(IntEnum):
    """What a program goes on with, besides the exit of a kind. Numbered behind `Kind`, in this order."""

    COPY_TARGET = max(Kind) + 1  # the target's side of a copy
    EXIT = auto()  # the exit of any call, from fexit
    URING_TAKEN = auto()
    URING_UNSEEN = auto()
    AIO_ENTER = auto()
    AIO_RING = auto()  # events that were reaped from the ring
    AIO_NOTE = auto()  # the next requests of an io_submit
    AIO_NEW = auto()  # one whose file is not known yet
    AIO_VECTOR = auto()  # one whose iovec is long
    AIO_UNDO = auto()  # requests that were not accepted
    AIO_EVENTS = auto()  # the next events of an io_getevents
    WALK_ENTER = auto()  # a path, at the entry of a call
    WALK_EXIT = auto()  # the same at the exit
    URING_INTO = auto()
    URING_FROM = auto()
    URING_CLOSE = auto()
    URING_BAD_INTO = auto()
    URING_BAD_FROM = auto()
    URING_BAD_CLOSE = auto()
    URING_INTO_DONE = auto()
    URING_FROM_DONE = auto()
    URING_OPEN_DONE = auto()
    URING_CLOSE_DONE = auto()
    URING_REFUSED = auto()
    URING_BAD_UNSEEN = auto()
    ENTER_OTHER = auto()  # the entry of calls whose descriptor is not simply the first argument
    AIO_LAST = auto()  # the contexts of a process that ends
    AIO_RARE_RING = auto()  # as AIO_RING, one event of any kind
    AIO_RARE_EVENTS = auto()
    ANSWERED = auto()  # the exit of a call that had no entry
    BORN = auto()  # a thread of a target, when it begins
    ENTER_VECTOR = auto()  # the iovec at the entry of readv and its relatives
    EXIT_IOVEC = auto()  # the same at its exit, where its pages were not in memory
    REFUSED = auto()  # an open that has failed
    STORAGE = auto()  # a read that waited for storage
    ADMIT = auto()  # the exit of a thread that is not known yet, where data calls have no entry
    UNENTERED = auto()  # that of a call that has none, other than a plain read or write


JUMPS = max(Jump) + 1
"""Entries of the table."""
WALKS = (Jump.WALK_ENTER, Jump.WALK_EXIT)
"""By work space."""
