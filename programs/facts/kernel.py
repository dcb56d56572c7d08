"""What the programs must be told: facts of the running kernel, and what the user wants.

Both are plain data. The same values give the same instructions, byte for byte, on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Mapping, Optional, Tuple

# The kernel objects that the programs read, as dotted members. Fields that moved or were renamed are listed as
# alternatives, newest first; the name that the programs use is the key.
MEMBERS: Dict[str, Tuple[str, ...]] = {
    "task.files": ("task_struct.files",),
    "task.nsproxy": ("task_struct.nsproxy",),
    "task.fs": ("task_struct.fs",),
    "task.signal": ("task_struct.signal",),
    "task.pid": ("task_struct.pid",),
    "task.comm": ("task_struct.comm",),
    "signal.live": ("signal_struct.live",),
    "fs.root.mnt": ("fs_struct.root.mnt",),
    "fs.root.dentry": ("fs_struct.root.dentry",),
    "fs.pwd.mnt": ("fs_struct.pwd.mnt",),
    "fs.pwd.dentry": ("fs_struct.pwd.dentry",),
    "files.count": ("files_struct.count",),
    "files.fdt": ("files_struct.fdt",),
    "fdt.max_fds": ("fdtable.max_fds",),
    "fdt.fd": ("fdtable.fd",),
    "file.mnt": ("file.f_path.mnt",),
    "file.dentry": ("file.f_path.dentry",),
    "file.inode": ("file.f_inode",),
    "file.flags": ("file.f_flags",),
    "file.pos": ("file.f_pos",),
    # 6.13 replaced the counter by one that starts at 0: 90ee6ed776c0 ("fs: port files to file_ref")
    "file.ref": ("file.f_ref", "file.f_count"),
    "inode.mode": ("inode.i_mode",),
    "inode.ino": ("inode.i_ino",),
    "inode.sb": ("inode.i_sb",),
    "inode.size": ("inode.i_size",),
    "inode.nlink": ("inode.i_nlink",),
    "inode.generation": ("inode.i_generation",),
    "sb.dev": ("super_block.s_dev",),
    "sb.magic": ("super_block.s_magic",),
    "sb.type": ("super_block.s_type",),
    "fstype.name": ("file_system_type.name",),
    "dentry.parent": ("dentry.d_parent",),
    "dentry.name": ("dentry.d_name.name",),
    "dentry.hash_len": ("dentry.d_name.hash_len",),
    "mount.mnt": ("mount.mnt",),
    "mount.parent": ("mount.mnt_parent",),
    "mount.mountpoint": ("mount.mnt_mountpoint",),
    "mount.ns": ("mount.mnt_ns",),
    "vfsmount.root": ("vfsmount.mnt_root",),
    "nsproxy.mnt_ns": ("nsproxy.mnt_ns",),
    "mnt_ns.inum": ("mnt_namespace.ns.inum",),
}
# The same for io_uring's requests, all of which a kernel may lack. Registered files became nodes of their own in 6.13
# (7029acd8a950, "io_uring/rsrc: get rid of per-ring io_rsrc_node list"); io_kiocb.cqe is of 5.19, io_rw of 6.0.
URING_MEMBERS: Dict[str, Tuple[str, ...]] = {
    "request.file": ("io_kiocb.file",),
    "request.opcode": ("io_kiocb.opcode",),
    "request.flags": ("io_kiocb.flags",),
    "request.fd": ("io_kiocb.cqe.fd",),
    "request.result": ("io_kiocb.cqe.res",),
    "request.user_data": ("io_kiocb.cqe.user_data",),
    "request.ring": ("io_kiocb.ctx",),
    "request.list": ("io_kiocb.comp_list",),
    "request.command": ("io_kiocb.cmd",),
    "request.work": ("io_kiocb.work",),
    "task.worker": ("task_struct.worker_private",),
    "worker.work": ("io_worker.cur_work",),
    "rw.position": ("io_rw.kiocb.ki_pos",),
    "rw.address": ("io_rw.addr",),
    "rw.length": ("io_rw.len",),
    "rw.flags": ("io_rw.flags",),
    "splice.source": ("io_splice.splice_fd_in",),
    "splice.source_offset": ("io_splice.off_in",),
    "splice.target_offset": ("io_splice.off_out",),
    "splice.length": ("io_splice.len",),
    "splice.flags": ("io_splice.flags",),
    "open.slot": ("io_open.file_slot",),
    "close.fd": ("io_close.fd",),
    "close.slot": ("io_close.file_slot",),
    "ring.files": ("io_ring_ctx.file_table.data.nodes", "io_ring_ctx.file_table.files"),
    "ring.file_count": ("io_ring_ctx.file_table.data.nr", "io_ring_ctx.nr_user_files"),
    "ring.completing": ("io_ring_ctx.submit_state.compl_reqs",),
    "node.file": ("io_rsrc_node.file_ptr",),
}
# Where a 32-bit task is told from a 64-bit one, and by which bit.
COMPAT: Dict[str, Tuple[str, int]] = {
    "x86_64": ("task_struct.thread_info.status", 0x2),  # TS_COMPAT, arch/x86/include/asm/thread_info.h
    "aarch64": ("task_struct.thread_info.flags", 1 << 22),  # TIF_32BIT, arch/arm64/include/asm/thread_info.h
}


@dataclass(frozen=True)
class Registers:
    """Where `struct pt_regs` keeps a system call's arguments (uapi/asm/ptrace.h: part of the ABI).

    `block` is the offset of the first of the words that hold them all, `words` the positions of the six arguments
    among those.
    """

    block: int
    count: int
    number: int  # offset of the system call's number at its exit, -1 where that is not part of the ABI
    words: Tuple[int, int, int, int, int, int]


REGISTERS: Dict[str, Registers] = {
    "x86_64": Registers(56, 8, 120, (7, 6, 5, 0, 2, 1)),  # r10 r9 r8 ax cx dx si di
    "aarch64": Registers(0, 6, -1, (0, 1, 2, 3, 4, 5)),  # x0 to x5
}
# O_* flags that differ between machines: arch/*/include/uapi/asm/fcntl.h
O_APPEND, O_DSYNC = 0o2000, 0o10000  # the same everywhere; O_SYNC contains O_DSYNC
RWF_DSYNC, RWF_SYNC, RWF_APPEND = 2, 4, 16  # include/uapi/linux/fs.h
O_DIRECT: Dict[str, int] = {"x86_64": 0o40000, "aarch64": 0o200000}


# A kernel function that makes any address readable by plain loads, whose faults the kernel handles (6.2,
# a35b9af4ec2c, "bpf: Add a kfunc for generic type cast"), and the structs that are read in that way.
CAST = "bpf_rdonly_cast"
TYPED: Tuple[str, ...] = ("task_struct", "files_struct", "fdtable", "file", "list_head", "pt_regs", "nsproxy")


# Members that are read by plain loads or not at all.
TYPED_MEMBERS: Dict[str, Tuple[str, ...]] = {"task.tgid": ("task_struct.tgid",)}
# The same, but a kernel may do without.
TYPED_OPTIONAL: Tuple[str, ...] = (
    "inode",
    "super_block",
    "mount",
    "mnt_namespace",
    "io_kiocb",
    "io_rw",
    "io_ring_ctx",
    "io_rsrc_node",
    "io_splice",
    "io_open",
    "io_close",
)


@dataclass(frozen=True)
class Uring:
    """How a kernel shows io_uring's requests.

    `events` are the names of the tracepoints that a request is taken, refused, and completed at: the keys of
    `request`, which says where each presents the `struct io_kiocb *`: the position among the arguments of a raw
    tracepoint, the offset of the field of a perf tracepoint. A kernel may lack "overflowed", which has none: its
    request must be searched for. `offsets` has the keys of URING_MEMBERS; "node.file" is missing where registered
    files are no nodes, others where a kind of request cannot be followed.
    """

    events: Mapping[str, str]
    request: Mapping[str, int]
    offsets: Mapping[str, int]


URING_EVENTS: Dict[str, Tuple[str, ...]] = {
    # Renamed in 6.4: 2ad57931db64 ("io_uring: rename trace_io_uring_submit_sqe() tracepoint")
    "taken": ("io_uring_submit_req", "io_uring_submit_sqe"),
    "refused": ("io_uring_req_failed",),
    "completed": ("io_uring_complete",),
    # 5.19. Newer kernels show the completion by this alone.
    "overflowed": ("io_uring_cqe_overflow",),
}


@dataclass(frozen=True)
class Kernel:
    """Facts of a kernel. `offsets` has the keys of MEMBERS and "compat"; `fields` those of tracepoint.FIELDS."""

    machine: str
    offsets: Mapping[str, int]
    fields: Mapping[str, int]
    one_reference: int  # what file.ref holds when there is a single reference
    fetch_atomics: bool  # xchg, cmpxchg: 5.12, 5ffa25502b5a ("bpf: Add instructions for atomic_[cmp]xchg")
    big_values: bool  # helpers take map values: 4.18, d71962f3e627 ("allow map helpers access to map ...")
    ring_buffer: bool  # 5.8
    tid_slots: int  # call records in the array, a power of two; 0: all of them in the hash
    tid_direct: bool  # no two thread ids share a record
    # BTF ids of CAST and of the structs in TYPED; empty where the kernel's memory must be read with bpf_probe_read.
    types: Mapping[str, int] = field(default_factory=dict)
    # Copies of the programs on system calls, for kernels that skip a program while another task that they preempted is
    # in the midst of it on this CPU: 7.2 runs them preemptibly, but keeps one flag a CPU.
    spares: int = 0
    loops: bool = False  # bpf_loop, in programs that make tail calls: 5.17
    back_jumps: bool = False  # loops of a known number of rounds, which the verifier follows one by one: 5.3
    uring: Optional[Uring] = None  # None: this kernel does not show enough of io_uring's requests

    @property
    def straight(self) -> bool:
        """Whether programs must do everything in straight code."""
        return not self.loops and not self.back_jumps

    @property
    def registers(self) -> Registers:
        return REGISTERS[self.machine]

    def argument(self, number: int) -> int:
        """The position of argument `number` (0 to 5) within Call.args."""
        return self.registers.words[number]


@dataclass(frozen=True)
class Options:
    """What the user wants of the programs. `attach` is "raw", "perf" or "fentry"."""

    attach: str = "raw"
    everything: bool = False  # the targets map lists who is *not* traced
    comm: bool = False  # processes become targets by name
    follow: bool = True  # those found by name bring their descendants
    include_pseudo: bool = False  # files of proc, sysfs and the like too


# Tracepoint fields that the perf form reads from its context: (category, event, field).
FIELDS: Dict[str, Tuple[str, str, str]] = {
    "task_newtask.pid": ("task", "task_newtask", "pid"),
    "task_newtask.comm": ("task", "task_newtask", "comm"),
    "task_newtask.clone_flags": ("task", "task_newtask", "clone_flags"),
    "task_rename.pid": ("task", "task_rename", "pid"),
    "task_rename.newcomm": ("task", "task_rename", "newcomm"),
    "sys_enter.nr": ("syscalls", "sys_enter_read", "__syscall_nr"),
    "sys_enter.args": ("syscalls", "sys_enter_read", "fd"),
    "sys_exit.ret": ("syscalls", "sys_exit_read", "ret"),
}
# Super-block magics of file systems that keep no data (include/uapi/linux/magic.h): left out unless asked for.
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
