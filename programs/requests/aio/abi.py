"""What include/uapi/linux/aio_abi.h and fs/aio.c promise: operations, the ring, and how long an array can be."""

from __future__ import annotations

from typing import List, Tuple

from programs.facts.catalogue import READ, WRITE
from programs.facts.records import SYNC

RING_MAGIC = 0xA10A10A1  # fs/aio.c: AIO_RING_MAGIC
EBADF = 9
# include/uapi/linux/aio_abi.h: IOCB_CMD_*
OPCODES: List[Tuple[int, str, int]] = [
    (0, "aio_pread", READ),
    (1, "aio_pwrite", WRITE),
    (2, "aio_fsync", SYNC),
    (3, "aio_fdsync", SYNC),
    (7, "aio_preadv", READ),
    (8, "aio_pwritev", WRITE),
]
VECTORED = 7  # and above
