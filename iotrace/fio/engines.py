"""Which of fio's engines makes which system call, and what else it has to be told for that."""

from __future__ import annotations

from typing import Dict, NamedTuple, Tuple


class Engine(NamedTuple):
    """An ioengine with its options. `stands_for` is set where fio has none that makes the call itself."""

    name: str
    options: Tuple[Tuple[str, str], ...] = ()
    stands_for: bool = False

    @property
    def queues(self) -> bool:
        """Whether it has requests under way while it makes others."""
        return self.name in ("libaio", "io_uring")


_PSYNC = Engine("psync")
_INSTEAD = Engine("psync", stands_for=True)
_FIXED = Engine("io_uring", (("fixedbufs", "1"),))
_BY_CALL: Dict[str, Engine] = {
    **dict.fromkeys(("read", "write"), Engine("sync")),
    **dict.fromkeys(("pread64", "pwrite64"), _PSYNC),
    **dict.fromkeys(("readv", "writev"), Engine("vsync")),
    **dict.fromkeys(("preadv", "pwritev"), Engine("pvsync")),
    **dict.fromkeys(("preadv2", "pwritev2"), Engine("pvsync2")),
    **dict.fromkeys(("aio_pread", "aio_pwrite", "aio_preadv", "aio_pwritev"), Engine("libaio")),
    **dict.fromkeys(("uring_read", "uring_write"), Engine("io_uring", (("nonvectored", "1"),))),
    **dict.fromkeys(("uring_readv", "uring_writev"), Engine("io_uring", (("nonvectored", "0"),))),
    **dict.fromkeys(("uring_read_fixed", "uring_write_fixed"), _FIXED),
}


def engine_of(call: str) -> Engine:
    """The engine that makes the system call; psync in place of those that fio does not make, or that are not known."""
    return _BY_CALL.get(call, _INSTEAD)
