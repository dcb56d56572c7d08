"""A BPF loader: the only code here that makes bpf(2) and perf_event_open(2) calls.

It takes specifications (`asm.MapSpec`, `asm.ProgramSpec`), which are data and the same everywhere, and makes objects of them
that this kernel holds: maps, loaded programs, links. What the kernel can do is found out in `features`, what it looks
like in `btf` and `tracefs`, what programs send in `ring_buffer` and `perf_buffer`; `syscalls` is where all of it
meets the kernel, and `descriptor` who owns what came back.
"""
