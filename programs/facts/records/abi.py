"""Records of the kernel's own interface to user space: Linux AIO's, and the iovec's measures. They never change."""

from __future__ import annotations

from asm import U16, U32, U64, Layout, field

IOVECS = 1024  # UIO_MAXIOV, include/uapi/linux/uio.h
IOVEC_BYTES = 16  # sizeof(struct iovec)


class Iocb(Layout):
    """struct iocb, include/uapi/linux/aio_abi.h, little-endian."""

    data = field(U64)
    key = field(U32)
    rw_flags = field(U32)
    opcode = field(U16)  # IOCB_CMD_*
    priority = field(U16)
    descriptor = field(U32)
    buffer = field(U64)  # or iovec
    nbytes = field(U64)  # or entries
    offset = field(U64)
    reserved = field(U64)
    flags = field(U32)
    resfd = field(U32)


class AioEvent(Layout):
    """struct io_event, include/uapi/linux/aio_abi.h."""

    data = field(U64)
    request = field(U64)  # struct iocb *
    result = field(U64)
    result2 = field(U64)


class AioRing(Layout):
    """struct aio_ring, fs/aio.c: the head of the ring at an aio_context_t; the events follow."""

    id = field(U32)
    entries = field(U32)
    head = field(U32)  # index of the next event to be taken
    tail = field(U32)  # index of the next one to come
    magic = field(U32)
    compat_features = field(U32)
    incompat_features = field(U32)
    header_length = field(U32)
