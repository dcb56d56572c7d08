"""Which kernel has what: the first release with each instruction, helper, kind of map and kind of program.

The check is static: whether a program is fit for Linux 4.14 can be told on any machine. What the running kernel can do
is for a loader to probe, since distributions port features back.

Sources: the order of the ids in include/uapi/linux/bpf.h, which only grows at its end, and the first release with the
commit that added each of them; docs/kernel-versions.md of iovisor/bcc lists most of these commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from asm import isa
from asm.errors import Where, place
from asm.instruction import Instruction, slots
from asm.kinds import MapType, ProgramType

Version = Tuple[int, int]


class Helper(NamedTuple):
    """A helper, that is a function of the kernel that programs call by number: its id, and the first kernel with it."""

    id: int
    since: Version


# In the order of their ids, from 1 on.
_HELPERS: Dict[Version, str] = {
    (3, 19): "map_lookup_elem map_update_elem map_delete_elem",
    (4, 1): "probe_read ktime_get_ns trace_printk get_prandom_u32 get_smp_processor_id skb_store_bytes "
    "l3_csum_replace l4_csum_replace",
    (4, 2): "tail_call clone_redirect get_current_pid_tgid get_current_uid_gid get_current_comm",
    (4, 3): "get_cgroup_classid skb_vlan_push skb_vlan_pop skb_get_tunnel_key skb_set_tunnel_key perf_event_read",
    (4, 4): "redirect get_route_realm perf_event_output",
    (4, 5): "skb_load_bytes",
    (4, 6): "get_stackid csum_diff skb_get_tunnel_opt skb_set_tunnel_opt",
    (4, 8): "skb_change_proto skb_change_type skb_under_cgroup get_hash_recalc get_current_task probe_write_user",
    (4, 9): "current_task_under_cgroup skb_change_tail skb_pull_data csum_update set_hash_invalid",
    (4, 10): "get_numa_node_id skb_change_head xdp_adjust_head",
    (4, 11): "probe_read_str",
    (4, 12): "get_socket_cookie get_socket_uid",
    (4, 13): "set_hash setsockopt skb_adjust_room",
    (4, 14): "redirect_map sk_redirect_map sock_map_update",
    (4, 15): "xdp_adjust_meta perf_event_read_value perf_prog_read_value getsockopt",
    (4, 16): "override_return sock_ops_cb_flags_set",
    (4, 17): "msg_redirect_map msg_apply_bytes msg_cork_bytes msg_pull_data bind",
    (4, 18): "xdp_adjust_tail skb_get_xfrm_state get_stack skb_load_bytes_relative fib_lookup sock_hash_update "
    "msg_redirect_hash sk_redirect_hash lwt_push_encap lwt_seg6_store_bytes lwt_seg6_adjust_srh lwt_seg6_action "
    "rc_repeat rc_keydown skb_cgroup_id get_current_cgroup_id",
    (4, 19): "get_local_storage sk_select_reuseport skb_ancestor_cgroup_id",
    (4, 20): "sk_lookup_tcp sk_lookup_udp sk_release map_push_elem map_pop_elem map_peek_elem msg_push_data",
    (5, 0): "msg_pop_data rc_pointer_rel",
    (5, 1): "spin_lock spin_unlock sk_fullsock tcp_sock skb_ecn_set_ce get_listener_sock",
    (5, 2): "skc_lookup_tcp tcp_check_syncookie sysctl_get_name sysctl_get_current_value sysctl_get_new_value "
    "sysctl_set_new_value strtol strtoul sk_storage_get sk_storage_delete",
    (5, 3): "send_signal tcp_gen_syncookie",
    (5, 5): "skb_output probe_read_user probe_read_kernel probe_read_user_str probe_read_kernel_str",
    (5, 6): "tcp_send_ack send_signal_thread jiffies64",
    (5, 7): "read_branch_records get_ns_current_pid_tgid xdp_output get_netns_cookie get_current_ancestor_cgroup_id "
    "sk_assign",
    (5, 8): "ktime_get_boot_ns seq_printf seq_write sk_cgroup_id sk_ancestor_cgroup_id ringbuf_output "
    "ringbuf_reserve ringbuf_submit ringbuf_discard ringbuf_query csum_level",
    (5, 9): "skc_to_tcp6_sock skc_to_tcp_sock skc_to_tcp_timewait_sock skc_to_tcp_request_sock skc_to_udp6_sock "
    "get_task_stack",
    (5, 10): "load_hdr_opt store_hdr_opt reserve_hdr_opt inode_storage_get inode_storage_delete d_path "
    "copy_from_user snprintf_btf seq_printf_btf skb_cgroup_classid redirect_neigh per_cpu_ptr this_cpu_ptr "
    "redirect_peer",
    (5, 11): "task_storage_get task_storage_delete get_current_task_btf bprm_opts_set ktime_get_coarse_ns "
    "ima_inode_hash sock_from_file",
    (5, 12): "check_mtu",
    (5, 13): "for_each_map_elem snprintf",
    (5, 14): "sys_bpf btf_find_by_name_kind sys_close",
    (5, 15): "timer_init timer_set_callback timer_start timer_cancel get_func_ip get_attach_cookie task_pt_regs",
    (5, 16): "get_branch_snapshot trace_vprintk skc_to_unix_sock kallsyms_lookup_name",
    (5, 17): "find_vma loop strncmp get_func_arg get_func_ret get_func_arg_cnt",
    (5, 18): "get_retval set_retval xdp_get_buff_len xdp_load_bytes xdp_store_bytes copy_from_user_task "
    "skb_set_tstamp ima_file_hash",
    (5, 19): "kptr_xchg map_lookup_percpu_elem skc_to_mptcp_sock dynptr_from_mem ringbuf_reserve_dynptr "
    "ringbuf_submit_dynptr ringbuf_discard_dynptr dynptr_read dynptr_write dynptr_data",
    (6, 0): "tcp_raw_gen_syncookie_ipv4 tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4 "
    "tcp_raw_check_syncookie_ipv6",
    (6, 1): "ktime_get_tai_ns user_ringbuf_drain",
    (6, 2): "cgrp_storage_get cgrp_storage_delete",
}

HELPERS: Dict[str, Helper] = {
    name: Helper(number, since)
    for number, (name, since) in enumerate(
        ((name, since) for since, names in _HELPERS.items() for name in names.split()), start=1
    )
}
"""The helpers by name, without the prefix bpf_."""

VOID_HELPERS = frozenset(
    {
        "tail_call",
        "spin_lock",
        "spin_unlock",
        "ringbuf_submit",
        "ringbuf_discard",
        "ringbuf_submit_dynptr",
        "ringbuf_discard_dynptr",
    }
)
"""The helpers whose prototype says RET_VOID: r0 has no value after the call."""

_POINTERS = (
    "map_lookup_elem get_local_storage sk_lookup_tcp sk_lookup_udp sk_fullsock tcp_sock get_listener_sock "
    "skc_lookup_tcp sk_storage_get ringbuf_reserve skc_to_tcp6_sock skc_to_tcp_sock skc_to_tcp_timewait_sock "
    "skc_to_tcp_request_sock skc_to_udp6_sock inode_storage_get per_cpu_ptr this_cpu_ptr task_storage_get "
    "get_current_task_btf sock_from_file task_pt_regs skc_to_unix_sock kptr_xchg map_lookup_percpu_elem "
    "skc_to_mptcp_sock dynptr_data cgrp_storage_get"
)
POINTER_HELPERS = frozenset(_POINTERS.split())
"""The helpers that return a pointer; the others return a number, or nothing."""

# Helpers that came to tracing programs later than to the kind of programs that they were made for.
_TRACING = frozenset(
    {
        ProgramType.KPROBE,
        ProgramType.TRACEPOINT,
        ProgramType.PERF_EVENT,
        ProgramType.RAW_TRACEPOINT,
        ProgramType.TRACING,
    }
)
_SINCE_IN_TRACING: Dict[str, Version] = {
    # a10787e6d58c ("bpf: Enable task local storage for tracing programs"); they were for LSM programs before.
    "task_storage_get": (5, 13),
    "task_storage_delete": (5, 13),
}

MAP_TYPES: Dict[MapType, Version] = {
    MapType.HASH: (3, 19),
    MapType.ARRAY: (3, 19),
    MapType.PROG_ARRAY: (4, 2),
    MapType.PERF_EVENT_ARRAY: (4, 3),
    MapType.PERCPU_HASH: (4, 6),
    MapType.PERCPU_ARRAY: (4, 6),
    MapType.STACK_TRACE: (4, 6),
    MapType.CGROUP_ARRAY: (4, 8),
    MapType.LRU_HASH: (4, 10),
    MapType.LRU_PERCPU_HASH: (4, 10),
    MapType.LPM_TRIE: (4, 11),
    MapType.ARRAY_OF_MAPS: (4, 12),
    MapType.HASH_OF_MAPS: (4, 12),
    MapType.DEVMAP: (4, 14),
    MapType.SOCKMAP: (4, 14),
    MapType.CPUMAP: (4, 15),
    MapType.XSKMAP: (4, 18),
    MapType.SOCKHASH: (4, 18),
    MapType.CGROUP_STORAGE: (4, 19),
    MapType.REUSEPORT_SOCKARRAY: (4, 19),
    MapType.PERCPU_CGROUP_STORAGE: (4, 20),
    MapType.QUEUE: (4, 20),
    MapType.STACK: (4, 20),
    MapType.SK_STORAGE: (5, 2),
    MapType.DEVMAP_HASH: (5, 4),
    MapType.STRUCT_OPS: (5, 6),
    MapType.RINGBUF: (5, 8),
    MapType.INODE_STORAGE: (5, 10),
    MapType.TASK_STORAGE: (5, 11),
    MapType.BLOOM_FILTER: (5, 16),
    MapType.USER_RINGBUF: (6, 1),
    MapType.CGRP_STORAGE: (6, 2),
    MapType.ARENA: (6, 9),
}
"""The first kernel with each kind of map."""

# BPF_F_* of map creation, by bit.
_MAP_FLAGS: Dict[int, Tuple[str, Version]] = {
    1 << 0: ("NO_PREALLOC", (4, 6)),
    1 << 1: ("NO_COMMON_LRU", (4, 10)),
    1 << 2: ("NUMA_NODE", (4, 14)),
    1 << 3: ("RDONLY", (4, 15)),
    1 << 4: ("WRONLY", (4, 15)),
    1 << 6: ("ZERO_SEED", (5, 0)),
    1 << 7: ("RDONLY_PROG", (5, 2)),
    1 << 8: ("WRONLY_PROG", (5, 2)),
    1 << 10: ("MMAPABLE", (5, 5)),
    1 << 11: ("PRESERVE_ELEMS", (5, 10)),
    1 << 12: ("INNER_MAP", (5, 10)),
}

PROGRAM_TYPES: Dict[ProgramType, Version] = {
    ProgramType.SOCKET_FILTER: (3, 19),
    ProgramType.KPROBE: (4, 1),
    ProgramType.SCHED_CLS: (4, 1),
    ProgramType.SCHED_ACT: (4, 1),
    ProgramType.TRACEPOINT: (4, 7),
    ProgramType.XDP: (4, 8),
    ProgramType.PERF_EVENT: (4, 9),
    ProgramType.CGROUP_SKB: (4, 10),
    ProgramType.CGROUP_SOCK: (4, 10),
    ProgramType.LWT_IN: (4, 10),
    ProgramType.LWT_OUT: (4, 10),
    ProgramType.LWT_XMIT: (4, 10),
    ProgramType.SOCK_OPS: (4, 13),
    ProgramType.SK_SKB: (4, 14),
    ProgramType.CGROUP_DEVICE: (4, 15),
    ProgramType.SK_MSG: (4, 17),
    ProgramType.RAW_TRACEPOINT: (4, 17),
    ProgramType.CGROUP_SOCK_ADDR: (4, 17),
    ProgramType.LWT_SEG6LOCAL: (4, 18),
    ProgramType.LIRC_MODE2: (4, 18),
    ProgramType.SK_REUSEPORT: (4, 19),
    ProgramType.FLOW_DISSECTOR: (4, 20),
    ProgramType.CGROUP_SYSCTL: (5, 2),
    ProgramType.RAW_TRACEPOINT_WRITABLE: (5, 2),
    ProgramType.CGROUP_SOCKOPT: (5, 3),
    ProgramType.TRACING: (5, 5),
    ProgramType.STRUCT_OPS: (5, 6),
    ProgramType.EXT: (5, 6),
    ProgramType.LSM: (5, 7),
    ProgramType.SK_LOOKUP: (5, 9),
    ProgramType.SYSCALL: (5, 14),
    ProgramType.NETFILTER: (6, 4),
}
"""The first kernel with each kind of program."""

# The extended instruction set with the bpf(2) system call that loads it.
_FIRST: Version = (3, 18)


@dataclass(frozen=True)
class Reason:
    """Something that a program uses, the first kernel with it, and the line that uses it first."""

    since: Version
    what: str
    where: Optional[Where] = None

    def __str__(self) -> str:
        at = f" ({place(self.where)})" if self.where else ""
        return f"{self.what} needs Linux {self.since[0]}.{self.since[1]}{at}"


@dataclass(frozen=True)
class Requirement:
    """The first kernel that has everything a program uses, and why: `reasons`, the newest first."""

    version: Version
    reasons: List[Reason]

    def __str__(self) -> str:
        newest = [str(reason) for reason in self.reasons if reason.since == self.version]
        return f"Linux {self.version[0]}.{self.version[1]}: " + "; ".join(newest)


def requirement(kind: ProgramType, instructions: Iterable[Instruction]) -> Requirement:
    """The first kernel for a program of this kind with these instructions, with the reasons."""
    reasons = {"": Reason(PROGRAM_TYPES[kind], f"program type {kind.name}")}
    length = 0
    for slot, instruction in slots(instructions):
        length = slot + instruction.width
        for since, what in _uses(kind, instruction):
            reasons.setdefault(what, Reason(since, what, instruction.where))
    if length > 4096:
        # c04c0d2b968a ("bpf: increase complexity limit and maximum program size")
        reasons["length"] = Reason((5, 2), f"a program of {length} slots, more than 4096,")
    ordered = sorted(reasons.values(), key=lambda reason: reason.since, reverse=True)
    return Requirement(ordered[0].since, ordered)


def _uses(kind: ProgramType, instruction: Instruction) -> Iterator[Tuple[Version, str]]:
    """What one instruction needs: first kernels, each with a name for what is needed."""
    yield opcode(instruction)
    if instruction.is_jump and instruction.distance < 0:
        # 2589726d12a1 ("bpf: introduce bounded loops")
        yield (5, 3), "a loop"
    helper = HELPERS.get(instruction.call or "")
    if helper and not instruction.takes_function and not instruction.is_kernel_call:
        name = str(instruction.call)
        since = _SINCE_IN_TRACING.get(name, helper.since) if kind in _TRACING else helper.since
        yield since, f"helper bpf_{name}"
    used = instruction.map
    while used is not None:
        yield MAP_TYPES[used.type], f"map type {used.type.name}"
        for bit, (name, since) in _MAP_FLAGS.items():
            if used.flags & bit:
                yield since, f"map flag BPF_F_{name}"
        used = used.inner


def opcode(i: Instruction) -> Tuple[Version, str]:
    """The first kernel with an instruction, and a name for it. Helpers and maps are not considered."""
    kind, operation = i.op & 7, i.op & 0xF0
    if kind in (isa.ALU, isa.ALU64):
        return _alu(i, kind, operation)
    if kind == isa.JMP32:
        if operation == isa.JA:
            # 4cd58e9af8b9 ("bpf: Support new 32bit offset jmp instruction")
            return (6, 6), "a jump of 32 bits of distance"
        # 092ed0968bb6 ("bpf: verifier support JMP32")
        return (5, 1), "a jump on 32 bits"
    if kind == isa.JMP and operation in (isa.JLT, isa.JLE, isa.JSLT, isa.JSLE):
        # 92b31a9af73b ("bpf: add BPF_J{LT,LE,SLT,SLE} instructions")
        return (4, 14), "a jump on less than"
    if i.is_function_call:
        # cc8b0b92a169 ("bpf: introduce function calls (function boundaries)")
        return (4, 16), "a function call"
    if i.is_kernel_call:
        # e6ac2450d6de ("bpf: Support bpf program calling kernel function")
        return (5, 13), "a call of a kernel function"
    if kind == isa.LDX and i.op & 0xE0 == isa.MEMSX:
        # 1f9a1ea821ff ("bpf: Support new sign-extension load insns")
        return (6, 6), "a sign-extending load"
    if kind == isa.STX and i.op & 0xE0 == isa.ATOMIC and i.imm != isa.ADD:
        # 5ffa25502b5a ("bpf: Add instructions for atomic_[cmp]xchg") and its series
        return (5, 12), "an atomic other than add"
    if i.wide and i.src == isa.PSEUDO_MAP_VALUE:
        # d8eca5bbb2be ("bpf: implement lookup-free direct value access for maps")
        return (5, 2), "the address of a map's value"
    if i.wide and i.src == isa.PSEUDO_FUNC:
        # 69c087ba6225 ("bpf: Add bpf_for_each_map_elem() helper")
        return (5, 13), "the address of a function"
    return _FIRST, "the instruction set"


def _alu(i: Instruction, kind: int, operation: int) -> Tuple[Version, str]:
    if i.off and operation in (isa.DIV, isa.MOD):
        # ec0e2da95f72 ("bpf: Support new signed div/mod instructions.")
        return (6, 6), "a signed division"
    if i.off and operation == isa.MOV:
        # 8100928c8814 ("bpf: Support new sign-extension mov insns")
        return (6, 6), "a sign-extending move"
    if kind == isa.ALU and operation in (isa.DIV, isa.MOD) and i.op & isa.X:
        # 68fda450a7df ("bpf: fix 32-bit divide by zero"): before, the divisor was compared with 0 as one of 64 bits,
        # and the machine divided by 0 where only the upper half was not.
        return (4, 15), "a division of 32 bits by a register"
    if kind == isa.ALU and operation == isa.ARSH:
        # Allowed since 5.0 ("bpf: verifier remove the rejection on BPF_ALU | BPF_ARSH"), refused since 4.15 ("bpf: arsh
        # is not supported in 32 bit alu thus reject it"); before that the interpreter stopped the kernel on it.
        return (5, 0), "an arithmetic shift of 32 bits"
    if kind == isa.ALU64 and operation == isa.END:
        # 0845c3db7bf5 ("bpf: Support new unconditional bswap instruction")
        return (6, 6), "an unconditional byte swap"
    return _FIRST, "the instruction set"
