"""Linux AIO in the kernel's ABI: the kinds of requests, and what marks a ring.

Sources: include/uapi/linux/aio_abi.h; fs/aio.c, whose ring libaio reads in user space, so that it cannot change either.
The records `Iocb`, `AioEvent` and `AioRing` are with the others in `programs.facts.records`.
"""

from __future__ import annotations

from typing import Dict

RING_MAGIC = 0xA10A10A1  # AIO_RING_MAGIC
EBADF = 9
# IOCB_CMD_* and the operations that they are counted as.
OPCODES: Dict[int, str] = {
    0: "aio_pread",
    1: "aio_pwrite",
    2: "aio_fsync",
    3: "aio_fdsync",
    7: "aio_preadv",
    8: "aio_pwritev",
}
VECTORED = 7  # IOCB_CMD_PREADV; from it on, a request's buffer is an iovec
