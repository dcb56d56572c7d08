"""iotrace on real applications, held against strace, against arithmetic and against the kernel's own answers."""
