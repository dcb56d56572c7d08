"""Numbers of the kernel's interface to user space that the programs need. They never change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple


@dataclass(frozen=True)
class Registers:
    """Where `struct pt_regs` keeps a system call's arguments (uapi/asm/ptrace.h: part of the ABI).

    `block` is the offset of the first of the words that hold them all, `words` the positions of the six arguments
    among those. What follows is no ABI, but where `struct pt_regs` has always had it since 4.14.
    """

    block: int
    count: int
    number: int  # offset of the system call's number at its exit, -1 where that is not part of the ABI
    words: Tuple[int, int, int, int, int, int]
    called: int  # offset of the number of the system call, 4 bytes
    first: int  # of its first argument, as it still is at the exit
    result: int  # of what it returns
    stacks: Tuple[Tuple[int, int], ...]
    """Where a thread's stack may have its registers: (the bits of an address on it that tell where, how many bytes from
    its end). By THREAD_SHIFT, the size of pt_regs, and on x86_64 TOP_OF_KERNEL_STACK_PADDING."""


REGISTERS: Dict[str, Registers] = {
    "x86_64": Registers(
        56, 8, 120, (7, 6, 5, 0, 2, 1), called=120, first=112, result=80, stacks=((14, 168), (14, 184), (15, 168))
    ),  # r10 r9 r8 ax cx dx si di
    "aarch64": Registers(
        0, 6, -1, (0, 1, 2, 3, 4, 5), called=280, first=272, result=0, stacks=((14, 336), (14, 320), (16, 336))
    ),  # x0 to x5
}

# arch/*/include/uapi/asm/fcntl.h
O_APPEND, O_DSYNC = 0o2000, 0o10000  # the same everywhere; O_SYNC contains O_DSYNC
O_DIRECT: Dict[str, int] = {"x86_64": 0o40000, "aarch64": 0o200000}
# include/uapi/linux/fs.h; RWF_NOAPPEND: 6.9, 73fa7547c70b ("vfs: add RWF_NOAPPEND flag for pwritev2")
RWF_DSYNC, RWF_SYNC, RWF_APPEND, RWF_NOAPPEND = 2, 4, 16, 32
RWF_COUNTED = RWF_DSYNC | RWF_SYNC | RWF_APPEND | RWF_NOAPPEND  # those that change what is counted

# Super-block magics of file systems that keep no data, include/uapi/linux/magic.h: left out unless asked for.
PSEUDO_FILE_SYSTEMS: Dict[str, int] = {
    "proc": 0x9FA0,
    "sysfs": 0x62656572,
    "cgroup": 0x27E0EB,
    "cgroup2": 0x63677270,
    "tracefs": 0x74726163,
    "debugfs": 0x64626720,
    "securityfs": 0x73636673,
    "bpf": 0xCAFE4A11,
    "devpts": 0x1CD1,
    "configfs": 0x62656570,
    "selinuxfs": 0xF97CFF8C,
    "smackfs": 0x43415D53,
    "binfmt_misc": 0x42494E4D,
    "nsfs": 0x6E736673,
    "fusectl": 0x65735543,
    "mqueue": 0x19800202,
    "rpc_pipefs": 0x67596969,
    "nfsd": 0x6E667364,
    "efivarfs": 0xDE5E81E4,
    "pstore": 0x6165676C,
    "xenfs": 0xABBA1974,
    "resctrl": 0x7655821,
    "pipefs": 0x50495045,
    "sockfs": 0x534F434B,
    "anon_inodefs": 0x09041934,
    "bdevfs": 0x62646576,
}
