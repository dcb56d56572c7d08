"""What an application really does to its files: exact per-file I/O characterisation with eBPF.

    import iotrace

    with iotrace.trace(["cp", "a", "b"], output="cp.iotrace") as run:
        run.wait()
    with iotrace.open("cp.iotrace") as profile:
        for file in profile.files(sort="read"):
            print(file.path, file.bytes_read, file.syscalls["read"].calls)

`trace` needs the privileges that tracing takes: root, or CAP_BPF and CAP_PERFMON. `open` needs none. Names are imported
when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from iotrace.release import __version__, version

if TYPE_CHECKING:
    from iotrace.errors import Failure, IotraceError, UserError
    from iotrace.globs import Selection
    from iotrace.profile.metrics import FileStats, Header, SyscallStats
    from iotrace.profile.reader import Profile, ProfileError, open
    from iotrace.text import unescape
    from iotrace.tracing.api import Run, trace
    from iotrace.tracing.glances import Glance
    from iotrace.tracing.snapshots import Snapshot

_LATE = {
    "iotrace.errors": "Failure IotraceError UserError",
    "iotrace.globs": "Selection",
    "iotrace.profile.metrics": "FileStats Header SyscallStats",
    "iotrace.profile.reader": "Profile ProfileError open",
    "iotrace.text": "unescape",
    "iotrace.tracing.api": "Run trace",
    "iotrace.tracing.glances": "Glance",
    "iotrace.tracing.snapshots": "Snapshot",
}
_HOME = {name: module for module, names in _LATE.items() for name in names.split()}

__all__ = [
    "Failure",
    "FileStats",
    "Glance",
    "Header",
    "IotraceError",
    "Profile",
    "ProfileError",
    "Run",
    "Selection",
    "Snapshot",
    "SyscallStats",
    "UserError",
    "__version__",
    "open",
    "trace",
    "unescape",
    "version",
]

if not TYPE_CHECKING:  # or any name would pass for one of ours

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
