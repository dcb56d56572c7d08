"""What a run sees of each family of calls, in words: `Header.coverage` of a profile, and what doctor shows.

A value is "full", or begins with "partial" or "none" and says what is missing.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from iotrace.tracing.inflight import NOTHING_LEFT, Left
from programs.facts.catalogue import BESIDE
from programs.facts.kernel import Kernel, Uring
from pybpf import features

AIO_CALLS = ("io_setup", "io_destroy", "io_submit", "io_getevents", "io_pgetevents")
URING_SETUP = "io_uring_setup"
NOTHING_COUNTED: Mapping[str, int] = {}


def coverage(
    attach: str,
    shown: Optional[Uring],
    missing: Sequence[str] = (),
    left: Left = NOTHING_LEFT,
    *,
    rings: Optional[int] = None,
    account: Mapping[str, int] = NOTHING_COUNTED,
    straight: bool = False,
    folios: bool = True,
    buffered: bool = False,
    over_time: Optional[str] = None,
    whose: str = "",
    timed: Optional[str] = None,
) -> Dict[str, str]:
    """Family of calls -> what a run sees of it. Seccomp and ptrace are there if they had a say in any call.

    `attach` is the way in, `shown` how the kernel shows io_uring's requests, `missing` are system calls that cannot be
    traced, `left` are requests whose completion was not seen. `rings` were made by what was traced; None if that was
    not counted. `account` is what the programs have counted besides, by the fields of `Lost`. `straight`: programs
    could not loop. `folios`: they could read what comes into the page cache, and not only that something does.
    `buffered`: there were reads by AIO or io_uring on descriptors that are not O_DIRECT. `over_time` is what is to be
    said of the intervals that were asked for, `whose` how rows are apart by who does the I/O, "" if they are not.
    `timed` is what is to be said of the latencies of data calls, where these have no program at their entry.
    """
    thirty_two = "none: left out; what was seen of them is counted in lost" if attach == "raw" else "none: left out"
    return {
        "synchronous": _synchronous(missing, entered=timed is None),
        "sendfile": "full",
        "aio": linux_aio(left.aio, missing),
        "io_uring": io_uring(shown, left.uring, None if URING_SETUP in missing else rings),
        "failed opens": _failed_opens(account),
        "durability": _durability(account, missing),
        "contents": _contents(account, missing),
        "mmap": "marked: mapped memory is read and written without a system call",
        "32-bit tasks": thirty_two,
        "storage": storage(attach, folios=folios, buffered=buffered),
        **({} if over_time is None else {"intervals": over_time}),
        **({"who": whose} if whose else {}),
        **({} if timed is None else {"latency": timed}),
        **dict(_intercepted(account)),
        **({"queue depth": _NO_DEPTH} if straight else {}),
    }


_NO_DEPTH = "none: it takes programs that loop (5.3); threads that only submit requests of AIO are not counted either"


_WITHOUT_ENTRY = (
    "reads and writes are seen when they return: an iovec that was overwritten by then, or a descriptor that another "
    "thread has closed or replaced, is taken for what it is by then"
)


def latency(timed: int, untimed: int, problem: Optional[str] = None) -> str:
    """What a run knows of the latencies of reads and writes where only some were timed; as `coverage`."""
    if problem is not None:
        return f"none: of reads and writes none could be timed: {problem}"
    if not timed:
        return "none: no read or write was made while they were timed" if untimed else "full"
    one_in = (timed + untimed) / timed
    return (
        f"partial: one in {one_in:.1f} reads and writes was timed at random, {timed:,} of {timed + untimed:,}; "
        "first and last times of these are those of the kernel's ticks"
    )


def storage(attach: str, *, folios: bool, buffered: bool) -> str:
    """Whether it is known of every read if it came from storage or from the page cache; as `coverage`."""
    lacks = []
    if attach == "perf" or not folios:
        lacks.append("not known of copies (sendfile, copy_file_range, splice)")
    if attach != "perf" and not folios:
        lacks.append("several pages brought in as one folio count as one page")
    if buffered:
        lacks.append("not known of reads by AIO and io_uring that are not O_DIRECT")
    return _partial(lacks, ())


def whose(by: str, kernel: Kernel) -> str:
    """How rows are apart by who does the I/O; "" if they are not."""
    if by == "process" and "task.leader" not in kernel.offsets:
        return "partial: by names of threads, as this kernel does not show which of them is the process's first"
    return "full" if by else ""


def _durability(beside: Mapping[str, int], missing: Sequence[str]) -> str:
    """Whether what stands as not synced is so: there are calls that sync files without naming them."""
    names = ("sync", "syncfs", "msync")
    calls = [f"{name} {beside[name]}" for name in names if beside.get(name)]
    made = [f"what is shown as unsynced may be durable, by {', '.join(calls)}"] if calls else []
    return _partial(made, [name for name in names if name in missing])


def _failed_opens(account: Mapping[str, int]) -> str:
    """Whether the path of each is known: not of io_uring's requests, of open_by_handle_at, of what is no address."""
    pathless = account.get("pathless", 0)
    return f"partial: the paths of {pathless} were not seen" if pathless else "full"


def _contents(beside: Mapping[str, int], missing: Sequence[str]) -> str:
    """Whether files were changed by other means than writes."""
    shown = {"clone": "clone (FICLONE)", "allocate": "fallocate", "truncate": "truncate"}
    calls = [f"{words} {beside[name]}" for name, words in shown.items() if beside.get(name)]
    made = [f"files were also changed by calls that are in no column: {', '.join(calls)}"] if calls else []
    cores = beside.get("cores", 0)
    if cores:
        made.append(
            f"{cores} core dump{'' if cores == 1 else 's'}, which the kernel writes by itself if the limits let it"
        )
    return _partial(made, [name for name in ("ioctl", "fallocate", "truncate", "ftruncate") if name in missing])


def _partial(made: List[str], unseen: Sequence[str]) -> str:
    parts = [*made, *([f"calls of {', '.join(unseen)} are not seen"] if unseen else [])]
    return "partial: " + "; ".join(parts) if parts else "full"


def _intercepted(calls: Mapping[str, int]) -> Iterator[Tuple[str, str]]:
    """What seccomp's filters and tracers have made of calls."""
    answered, trapped, replaced = (calls.get(what, 0) for what in ("answered", "trapped", "replaced"))
    seccomp = [f"no latency of calls that a filter answered: {answered}"] if answered else []
    if trapped:
        seccomp.append(f"calls that a filter made a SIGSYS of are not counted: {trapped}")
    if seccomp:
        yield "seccomp", f"partial: {'; '.join(seccomp)}"
    if replaced:
        yield "ptrace", f"partial: calls that a tracer took away are not counted: {replaced}"


def _synchronous(missing: Sequence[str], *, entered: bool) -> str:
    absent = [name for name in missing if name not in (*AIO_CALLS, URING_SETUP, *BESIDE)]
    return _partial([*([f"no {', '.join(absent)}"] if absent else []), *([] if entered else [_WITHOUT_ENTRY])], ())


def linux_aio(left: int = 0, missing: Sequence[str] = ()) -> str:
    """What a run sees of Linux AIO; `left` requests were not seen to complete, `missing` calls cannot be traced."""
    absent = [name for name in missing if name in AIO_CALLS]
    if absent:
        return f"none: no {', '.join(absent)}"
    return f"partial: {left} requests were not seen to complete" if left else "full"


def io_uring(shown: Optional[Uring], left: int = 0, rings: Optional[int] = None) -> str:
    """What a run sees of io_uring; the arguments are those of `coverage`, `left` requests were not seen to complete."""
    if shown is None:
        made = "" if rings is None else f"; {rings or 'no'} ring{'' if rings == 1 else 's'} made"
        has_types = features.FEATURES["kernel_btf"].supported()
        reason = "this kernel does not show its requests" if has_types else "this kernel has no type information (BTF)"
        return f"none: {reason}{made}"
    from programs.requests.uring.shapes import Shape, known  # noqa: PLC0415 - a run needs them at its end alone

    # What requests of a shape do, that a kernel may show too little of.
    done_by = {Shape.SPLICE: "splices", Shape.OPEN: "opens", Shape.CLOSE: "closes"}
    seen = {kind.shape for kind in known(shown).values()}
    lacks = [f"no {what}" for shape, what in done_by.items() if shape not in seen]
    if left:
        lacks.append(f"{left} requests were not seen to complete")
    return f"partial: {', '.join(lacks)}" if lacks else "full"
