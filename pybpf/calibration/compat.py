"""The bit that marks a 32-bit task: the difference between two tasks that run one program, built for both widths."""

from __future__ import annotations

import errno
import os
from typing import Dict, List, Set

from pybpf.calibration.peek import PART, Peek
from pybpf.calibration.renamer import image
from pybpf.calibration.search import Block, CalibrationError, Search, apart, places
from pybpf.calibration.specimens import SpecimenError
from pybpf.calibration.tasks import Tasks

__all__ = ["find_compat"]

_MIN_ROUNDS, _MAX_ROUNDS = 3, 24  # of the programs that show such tasks
_TS_COMPAT, _TIF_32BIT = 0x2, 1 << 22  # arch/x86/include/asm/thread_info.h, arch/arm64/include/asm/thread_info.h


def find_compat(search: Search, directory: str, tasks: Tasks) -> Dict[str, str]:
    """Find `thread_info.status` (x86_64) or `thread_info.flags` (aarch64), by programs that are put into `directory`.

    What cannot be found here, with the reason: a kernel may run no 32-bit programs. Raises CalibrationError.
    """
    machine = os.uname().machine
    member = "task_struct.thread_info." + ("status" if machine == "x86_64" else "flags")
    wide, narrow = [tasks.mine, *tasks.others, tasks.of_orphan], []
    may_be: Set[int] = set()
    for number in range(_MAX_ROUNDS):  # other flags of a task come and go, and may do so as this one does
        try:
            wide.append(_run(search.peek, f"{directory}/program", image(machine, 64, search.peek.name), tasks.bytes))
            narrow.append(_run(search.peek, f"{directory}/program", image(machine, 32, search.peek.name), tasks.bytes))
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise CalibrationError(member, f"the program that shows it is refused: {error.strerror}") from error
            return {member: "this kernel runs no 32-bit programs"}
        may_be = _where(machine, wide, narrow)
        if len(may_be) <= 1 and number + 1 >= _MIN_ROUNDS:
            break
    search.found(member, may_be)
    return {}


def _where(machine: str, wide: List[Block], narrow: List[Block]) -> Set[int]:
    if machine == "x86_64":
        size = apart(block.address for block in (*wide, *narrow))
        states = [*((block, _TS_COMPAT) for block in narrow), *((block, 0) for block in wide)]
        return {at for at in places(states, 4) if at < size}
    # thread_info is the first member of task_struct and has the flags first: CONFIG_THREAD_INFO_IN_TASK
    told = [{bool(block.word(0, 4) & _TIF_32BIT) for block in blocks} for blocks in (narrow, wide)]
    return {0} if told == [{True}, {False}] else set()


def _run(peek: Peek, path: str, program: bytes, size: int) -> Block:
    """`size` bytes of the task_struct of a program while it renames itself. Raises OSError, SpecimenError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o700)
    os.write(fd, program)
    os.close(fd)
    addresses, data = [], b""
    peek.rename(b"starter")  # an exec renames too, and is not what is wanted
    try:
        for part in range(0, size, PART):
            peek.arm(part, min(PART, size - part))
            os.waitpid(os.posix_spawn(path, [path], {}), 0)
            answer = peek.fetch()
            if answer is None:
                raise SpecimenError("a program does not rename itself")
            addresses.append(answer.task.address)
            data += answer.data
    finally:
        peek.adopt()
    return Block(addresses[0], data)
