"""Several objects of the kernel made or closed at a time.

Creating a map and verifying a program occupy a CPU for their time; closing some is nothing but waiting.
"""

from __future__ import annotations

import os
import threading
from typing import Callable, Dict, Iterable, List, TypeVar

from pybpf.descriptor import Descriptor

Made = TypeVar("Made", bound=Descriptor)

_MADE_AT_ONCE = 4
_CLOSED_AT_ONCE = 32


def _work_together(work: Callable[[], None], workers: int) -> None:
    """Run `work` in this thread, and in as many others as can be had, up to `workers` in all; return once all have."""
    started = []
    for helper in [threading.Thread(target=work) for _ in range(workers - 1)]:
        try:
            helper.start()
        except RuntimeError:
            break  # no room for its stack (RLIMIT_AS), or no more threads (RLIMIT_NPROC): it goes on without
        started.append(helper)
    work()
    for helper in started:
        helper.join()


def make_all(makers: Dict[str, Callable[[], Made]]) -> Dict[str, Made]:
    """What each of `makers` makes, by the same names. They are begun in their order, one for each CPU at a time.

    Raises the first error; then none of what was made stays open.
    """
    waiting = list(reversed(list(makers.items())))
    made: Dict[str, Made] = {}
    errors: List[BaseException] = []

    def work() -> None:
        while not errors:
            try:
                name, make = waiting.pop()
            except IndexError:
                return
            try:
                made[name] = make()
            except BaseException as error:  # raised where it can be seen
                errors.append(error)

    _work_together(work, min(len(os.sched_getaffinity(0)), _MADE_AT_ONCE))
    if errors:
        for done in made.values():
            done.close()
        raise errors[0]
    return made


def close_all(owners: Iterable[Descriptor]) -> None:
    """Close many descriptors, 32 at a time: what the kernel waits for in each close(2) it then waits for at once."""
    waiting = list(owners)

    def work() -> None:
        while True:
            try:
                owner = waiting.pop()
            except IndexError:
                return
            owner.close()

    _work_together(work, min(len(waiting), _CLOSED_AT_ONCE))
