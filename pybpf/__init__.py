"""A BPF loader: the only code here that makes bpf(2) and perf_event_open(2) calls.

It takes specifications (`asm.MapSpec`, `asm.ProgramSpec`), which are data and the same everywhere, and makes objects
that this kernel holds: maps, programs, links. `features` finds out what the kernel can do, `types` what its structures
and tracepoints look like, `calibration` the same where no BTF tells; `events` reads what programs send. Every system
call is made in `syscalls`, and `descriptor` says who owns what came back.
"""
