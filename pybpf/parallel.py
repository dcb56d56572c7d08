"""Several objects of the kernel made at a time: creating a map and verifying a program occupy a CPU for their time."""

from __future__ import annotations

import os
import threading
from typing import Callable, Dict, List, TypeVar

from pybpf.descriptor import Descriptor

Made = TypeVar("Made", bound=Descriptor)

_AT_ONCE = 4


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

    helpers = [threading.Thread(target=work) for _ in range(min(len(os.sched_getaffinity(0)), _AT_ONCE) - 1)]
    started = []
    for helper in helpers:
        try:
            helper.start()
        except RuntimeError:
            break  # no room for its stack (RLIMIT_AS), or no more threads (RLIMIT_NPROC): it goes on without
        started.append(helper)
    work()
    for helper in started:
        helper.join()
    if errors:
        for done in made.values():
            done.close()
        raise errors[0]
    return made
