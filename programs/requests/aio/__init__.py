"""Linux AIO: requests submitted by io_submit, completed by events in a ring that the kernel and the process share.

A request is noted at the entry of io_submit, so that a thread which reaps its completion before io_submit returns
finds it; what the kernel did not accept is taken back at the exit. Completions are seen in the events that
io_getevents hands over, and, as libraries also take events out of the ring by themselves, without any system call, in
the part of the ring that was reaped since the last look: at each io_submit, before a request is noted whose iocb may
be that of one reaped there, and for the last time when the context or the process ends.

One system call may bring any number of requests and events. Where there is bpf_loop (5.17) a callback handles one;
elsewhere a program handles a few, in a loop where the kernel allows one (5.3), and goes on with itself, as often as
tail calls go.
"""
