"""What the programs read of the kernel's own objects, and where kernels differ in it: the tables of drift.

The programs use one name for each member. Where a kernel moved or renamed it, the alternatives stand here, newest first
and dated; whoever knows the running kernel (`iotrace.kernel`) looks up the first that it has.
"""

from __future__ import annotations

from typing import Dict, Tuple

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
    "file.mode": ("file.f_mode",),
    "file.pos": ("file.f_pos",),
    # 6.13 replaced the counter by one that starts at 0: 90ee6ed776c0 ("fs: port files to file_ref")
    "file.ref": ("file.f_ref", "file.f_count"),
    "inode.mode": ("inode.i_mode",),
    "inode.ino": ("inode.i_ino",),
    "inode.sb": ("inode.i_sb",),
    "inode.size": ("inode.i_size",),
    "inode.nlink": ("inode.i_nlink",),
    "inode.generation": ("inode.i_generation",),
    "inode.aliases": ("inode.i_dentry.first",),
    "sb.dev": ("super_block.s_dev",),
    "sb.magic": ("super_block.s_magic",),
    "sb.type": ("super_block.s_type",),
    "fstype.name": ("file_system_type.name",),
    "dentry.parent": ("dentry.d_parent",),
    "dentry.name": ("dentry.d_name.name",),
    "dentry.hash_len": ("dentry.d_name.hash_len",),
    "dentry.inode": ("dentry.d_inode",),
    "dentry.hashed": ("dentry.d_hash.pprev",),
    "dentry.alias": ("dentry.d_u.d_alias", "dentry.d_alias"),
    "mount.mnt": ("mount.mnt",),
    "mount.parent": ("mount.mnt_parent",),
    "mount.mountpoint": ("mount.mnt_mountpoint",),
    "mount.ns": ("mount.mnt_ns",),
    "vfsmount.root": ("vfsmount.mnt_root",),
    "nsproxy.mnt_ns": ("nsproxy.mnt_ns",),
    "mnt_ns.inum": ("mnt_namespace.ns.inum",),
}
"""The name that the programs use -> dotted members of structs. Every kernel has one of each."""

URING_MEMBERS: Dict[str, Tuple[str, ...]] = {
    "request.file": ("io_kiocb.file",),
    "request.opcode": ("io_kiocb.opcode",),
    "request.flags": ("io_kiocb.flags",),
    # io_kiocb.cqe is of 5.19
    "request.fd": ("io_kiocb.cqe.fd",),
    "request.result": ("io_kiocb.cqe.res",),
    "request.user_data": ("io_kiocb.cqe.user_data",),
    "request.ring": ("io_kiocb.ctx",),
    "request.list": ("io_kiocb.comp_list",),
    "request.command": ("io_kiocb.cmd",),
    "request.work": ("io_kiocb.work",),
    "task.worker": ("task_struct.worker_private",),
    "worker.work": ("io_worker.cur_work",),
    # io_rw is of 6.0
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
    # Registered files became nodes in 6.13: 7029acd8a950 ("io_uring/rsrc: get rid of per-ring io_rsrc_node list")
    "ring.files": ("io_ring_ctx.file_table.data.nodes", "io_ring_ctx.file_table.files"),
    "ring.file_count": ("io_ring_ctx.file_table.data.nr", "io_ring_ctx.nr_user_files"),
    "ring.completing": ("io_ring_ctx.submit_state.compl_reqs",),
    "node.file": ("io_rsrc_node.file_ptr",),
}
"""The same for io_uring's requests; a kernel may lack any of them."""

PID_MEMBERS: Dict[str, Tuple[str, ...]] = {
    "proc.pid": ("proc_inode.pid",),
    "proc.inode": ("proc_inode.vfs_inode",),
    "pid.level": ("pid.level",),
    "pid.numbers": ("pid.numbers",),
    "upid.nr": ("upid.nr",),
    "upid.ns": ("upid.ns",),
    # A table of links to numbers was a thread's own until 4.19: 2c4704756cab ("pids: Move the pgrp and session pid
    # pointers from task_struct to signal_struct")
    "task.thread_pid": ("task_struct.thread_pid", "task_struct.pids"),
}
"""Members that lead from a process, or from its directory in a proc, to its numbers in all PID namespaces: needed where
iotrace is not in the initial one."""

CACHE_MEMBERS: Dict[str, Tuple[str, ...]] = {
    "file.mapping": ("file.f_mapping",),
    # The event showed a page until 5.16, as there were no folios
    "folio.mapping": ("folio.mapping", "page.mapping"),
    # compound_head of the second page, whose lowest bit is set where that is a part of the folio
    "folio.head": ("folio._head_1", "folio.__head"),
    # The lowest byte of _flags_1 from 6.6 on: ebc1baf5c9b4 ("mm: free up a word in the first tail page")
    "folio.order": ("folio._folio_order", "folio._flags_1"),
}
"""Members that tell how many pages an event brings into the page cache, and of which file; a kernel may lack any."""

CACHE_FIELD: Tuple[str, str, str] = ("filemap", "mm_filemap_add_to_page_cache", "order")
"""The same in a tracepoint's record; kernels that bring in one page at a time do not have it."""

WHO_MEMBERS: Dict[str, Tuple[str, ...]] = {
    "task.leader": ("task_struct.group_leader",),
    "task.cgroups": ("task_struct.cgroups",),
    "css_set.subsys": ("css_set.subsys",),
    "css.cgroup": ("cgroup_subsys_state.cgroup",),
    "css.parent": ("cgroup_subsys_state.parent",),
    "cgroup.node": ("cgroup.kn",),
    # A union of an inode number and its generation until 5.5: 67c0496e87d1 ("kernfs: convert kernfs_node->id from union
    # kernfs_node_id to u64")
    "node.id": ("kernfs_node.id",),
}
"""Members that tell who does the I/O: the name of a process, and its cgroup in a hierarchy of version 1, which takes
BTF. A kernel may lack any of them."""

TYPED_MEMBERS: Dict[str, Tuple[str, ...]] = {"task.tgid": ("task_struct.tgid",), "task.stack": ("task_struct.stack",)}
"""Members that are read by plain loads or not at all."""

CAST = "bpf_rdonly_cast"
"""A kernel function that makes any address readable by plain loads, whose faults the kernel handles: 6.2,
a35b9af4ec2c ("bpf: Add a kfunc for generic type cast")."""
TYPED: Tuple[str, ...] = ("task_struct", "files_struct", "fdtable", "file", "list_head", "pt_regs", "nsproxy")
"""The structs that are read in that way."""
TYPED_OPTIONAL: Tuple[str, ...] = (
    "inode",
    "folio",
    "super_block",
    "mount",
    "mnt_namespace",
    "dentry",
    "io_kiocb",
    "io_rw",
    "io_ring_ctx",
    "io_rsrc_node",
    "io_splice",
    "io_open",
    "io_close",
)
"""More of them, which a kernel may do without: then bpf_probe_read reads them."""

COMPAT: Dict[str, Tuple[str, int]] = {
    "x86_64": ("task_struct.thread_info.status", 0x2),  # TS_COMPAT, arch/x86/include/asm/thread_info.h
    "aarch64": ("task_struct.thread_info.flags", 1 << 22),  # TIF_32BIT, arch/arm64/include/asm/thread_info.h
}
"""Where the kernel marks a 32-bit task, and by which bit."""

SIGNAL_PENDING: Dict[str, int] = {"x86_64": 1 << 1 | 1 << 2, "aarch64": 1 << 0 | 1 << 1}
"""TIF_SIGPENDING in `thread_info.flags`, the first word of a task (THREAD_INFO_IN_TASK: 4.9, 4.10). It has two places,
as newer kernels number these bits in the same way on all machines (asm-generic/thread_info_tif.h)."""

URING_EVENTS: Dict[str, Tuple[str, ...]] = {
    # Renamed in 6.4: 2ad57931db64 ("io_uring: rename trace_io_uring_submit_sqe() tracepoint")
    "taken": ("io_uring_submit_req", "io_uring_submit_sqe"),
    "refused": ("io_uring_req_failed",),
    "completed": ("io_uring_complete",),
    # 5.19. Newer kernels show the completion by this alone.
    "overflowed": ("io_uring_cqe_overflow",),
}
"""The tracepoints of io_uring, by what happens to a request (`Uring.events`)."""

FIELDS: Dict[str, Tuple[str, str, str]] = {
    "task_newtask.pid": ("task", "task_newtask", "pid"),
    "task_newtask.comm": ("task", "task_newtask", "comm"),
    "task_newtask.clone_flags": ("task", "task_newtask", "clone_flags"),
    "sched_process_exec.old_pid": ("sched", "sched_process_exec", "old_pid"),
    "task_rename.pid": ("task", "task_rename", "pid"),
    "task_rename.newcomm": ("task", "task_rename", "newcomm"),
    "signal_deliver.sig": ("signal", "signal_deliver", "sig"),
    "signal_deliver.sa_handler": ("signal", "signal_deliver", "sa_handler"),
    "sys_enter.nr": ("syscalls", "sys_enter_read", "__syscall_nr"),
    "sys_enter.args": ("syscalls", "sys_enter_read", "fd"),
    "sys_exit.nr": ("syscalls", "sys_exit_read", "__syscall_nr"),
    "sys_exit.ret": ("syscalls", "sys_exit_read", "ret"),
}
"""Fields of tracepoints that the perf form reads from its context: (category, event, field)."""
