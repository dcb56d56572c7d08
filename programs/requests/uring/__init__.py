"""io_uring: a request is noted when the kernel takes it from the ring, and accounted for when its completion is posted.

Which thread takes it, works on it and completes it does not matter: all of them belong to the owner's process (5.12).
The file is known when the request is taken, by descriptor or as a registered one; where it is not, because an earlier
request of a chain opens it, the request itself holds it at its completion. So does it the place of a transfer at the
file position. Sources: io_uring/io_uring.c, io_uring/rw.c; include/uapi/linux/io_uring.h, which never changes.

The programs are on raw tracepoints in every form, as any kernel that has io_uring has those, and have a table of tail
calls of their own. Offsets come from BTF; a kernel that refuses these programs is traced without them.
"""
