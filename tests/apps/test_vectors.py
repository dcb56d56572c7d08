"""How much a vectored call asks for: what its iovec held when it was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import needs

from .traced import Traced, data_calls, made, trace

pytestmark = needs.root

# An iovec of two entries of 64 bytes, at an address; a file of 4096 bytes to read; the calls by what they are passed.
VECTOR = """
    import struct
    fd = create("data")
    os.write(fd, FILLED * 4096)
    os.lseek(fd, 0, 0)
    libc.syscall.argtypes = [L, L, P, L, L, L, L]
    READV, PREADV, PREADV2 = (19, 295, 327) if os.uname().machine == "x86_64" else (65, 69, 286)

    def entries(*where):
        return b"".join(struct.pack("QQ", address, 64) for address in where)

    def call(number, vector, flags=0):
        return libc.syscall(number, fd, vector, 2, 0, 0, flags)
"""


@pytest.fixture(params=["raw", "perf", "4.14"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A way in, or the kernel that is pretended."""
    form = str(request.param)
    if form == "4.14":
        monkeypatch.setenv("PRETEND_KERNEL", form)
    return form


def traced(place: Path, form: str, text: str, *, filled: str = "A", complete: bool = True) -> Traced:
    options = [] if form == "4.14" else ["--attach", form]
    return trace(place, VECTOR.replace("FILLED", repr(filled.encode())) + text, options, complete)


def test_an_iovec_that_the_read_overwrites(place: Path, form: str) -> None:
    found = traced(
        place,
        form,
        """
    for number in (READV, PREADV, PREADV2):
        buffer = ctypes.create_string_buffer(4096)
        at = ctypes.addressof(buffer)
        buffer[:32] = entries(at, at + 64)
        assert call(number, at) == 128
        assert buffer[:32] == b"A" * 32
    """,
    )
    calls = data_calls(found["data"])
    assert {name: calls[name] for name in ("readv", "preadv", "preadv2")} == {
        name: made(1, 128, {128: 1}) for name in ("readv", "preadv", "preadv2")
    }


def test_an_iovec_that_another_thread_overwrites_before_the_call_is_over(place: Path, form: str) -> None:
    """The write blocks: it takes a page that a userfaultfd's owner has yet to provide."""
    found = traced(
        place,
        form,
        """
    UFFD = 323 if os.uname().machine == "x86_64" else 282
    handle = libc.syscall(UFFD, 0, None, 0, 0, 0, 0)
    if handle < 0:
        lacks("userfaultfd")
    api = bytearray(struct.pack("QQQ", 0xAA, 0, 0))
    fault = ctypes.create_string_buffer(bytes(api), 24)
    libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, P]
    assert libc.ioctl(handle, 0xC018AA3F, ctypes.addressof(fault)) == 0
    page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    missing = ctypes.addressof(ctypes.c_char.from_buffer(page))
    register = ctypes.create_string_buffer(struct.pack("QQQQ", missing, 4096, 1, 0), 32)
    assert libc.ioctl(handle, 0xC020AA00, ctypes.addressof(register)) == 0
    vector = ctypes.create_string_buffer(entries(missing, missing), 32)
    done = []
    write = lambda: done.append(call(READV + 1, ctypes.addressof(vector)))
    thread = threading.Thread(target=write)
    thread.start()
    assert len(os.read(handle, 32)) == 32   # it has come to the page
    vector[:32] = struct.pack("QQQQ", missing, 1 << 20, missing, 1 << 20)
    content = ctypes.create_string_buffer(4096)
    copy = ctypes.create_string_buffer(struct.pack("QQQQq", missing, ctypes.addressof(content), 4096, 0, 0), 40)
    assert libc.ioctl(handle, 0xC028AA03, ctypes.addressof(copy)) == 0
    thread.join()
    assert done == [128]
    """,
    )
    if found.lacks:
        needs.impossible(f"this kernel lacks {found.lacks}")
    assert data_calls(found["data"])["writev"] == made(1, 128, {128: 1})


# The iovec lies in a page of a file that nobody has touched: the kernel can fetch it, a program cannot.
UNTOUCHED = """
    PLACED
    with open("vector", "wb") as stream:
        stream.write(entries(*where).ljust(4096))
    vector = os.open("vector", os.O_RDWR)
    libc.mmap.restype, libc.mmap.argtypes = P, [P, L, ctypes.c_int, ctypes.c_int, ctypes.c_int, L]
    FIXED = 0x400000000000
    assert libc.mmap(FIXED, 4096, 3, mmap.MAP_PRIVATE | 0x10, vector, 0) == FIXED
    assert call(PREADV, FIXED) == 128
"""


def test_an_iovec_that_was_not_in_memory(place: Path, form: str) -> None:
    found = traced(
        place,
        form,
        UNTOUCHED.replace(
            "PLACED", "buffer = ctypes.create_string_buffer(128); where = [ctypes.addressof(buffer)] * 2"
        ),
    )
    assert data_calls(found["data"])["preadv"] == made(1, 128, {128: 1})


@pytest.mark.parametrize("filled", ["A", "\0"])
def test_one_that_was_not_in_memory_and_is_overwritten_is_told(place: Path, form: str, filled: str) -> None:
    """With this every entry would ask for 4,702,111,234,474,983,745 bytes, or for none."""
    found = traced(
        place,
        form,
        UNTOUCHED.replace("PLACED", "where = [0x400000000000, 0x400000000040]"),
        filled=filled,
        complete=False,
    )
    assert data_calls(found["data"])["preadv"] == made(1, 128, {}, {128: 1})
    assert found.document["lost"] == {"events": 0, "files": 0, "calls": 0, "iovecs": 1}


def test_an_iovec_that_cannot_be_read_is_told(place: Path, form: str) -> None:
    found = traced(place, form, "    refused(errno.EFAULT, call, READV, 16)", complete=False)
    assert data_calls(found["data"])["readv"] == made(1, 0, {}, {}, {"EFAULT": 1})
    assert found.document["lost"] == {"events": 0, "files": 0, "calls": 0, "iovecs": 1}
