"""What became of files' names: asked when tracing ends, and before a file leaves the tables.

The kernel's own objects are asked first (`programs.files.ask`): the dentry that a file was opened by tells whether it
still has the file's name, whoever may have renamed or deleted it. Where it has been used for something else since, or
has another name, the path itself is asked, in its own mount namespace and from a process that may hang
(`iotrace.tracing.whereabouts`), and what is found there is compared by the kernel's numbers.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import contextmanager, suppress
from mmap import mmap as MemoryMap
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from iotrace.profile.values import DELETED, PRESENT, REPLACED
from iotrace.tracing.decoding import device_name
from iotrace.tracing.names import OWN_DEVICES, Fate, Name, Names
from programs.facts.maps import ASKED_ROWS
from programs.facts.records import (
    ASK_DESCRIPTOR,
    ASK_MOVED,
    ASK_NO_DESCRIPTOR,
    ASK_SAME,
    ASK_UNKNOWN,
    AskFile,
    Asking,
    FileKey,
)
from pybpf.maps import MMAPABLE, Array, Map
from pybpf.syscalls import BpfError

if TYPE_CHECKING:
    from iotrace.tracing.mounts import Mounts
    from iotrace.tracing.whereabouts import Answer, Whereabouts

_LEARN_S = 0.5  # seconds between two looks at devices, each a child process,
_LOOKS = 8.0  # of which there may be so many at once
_MANY = 65536  # directories whose device is remembered
_WALKS = 32  # paths asked for before events are taken
_NUMBERS = [row.to_bytes(4, "little") for row in range(ASKED_ROWS)]  # keys of the map `asked`
_FIRST = _NUMBERS[0]
_MNT_NS = slice(FileKey.mnt_ns.offset, FileKey.mnt_ns.offset + FileKey.mnt_ns.total)
# Many files are asked for at once: their records are packed by position, in this order.
assert [*AskFile.fields] == [
    "dentry",
    "mount",
    "inode",
    "number",
    "chain",
    "generation",
    "descriptor",
    "verdict",
    "device",
    "seen",
]
assert [*Asking.fields] == ["tgid", "first", "count", "walk", "id"]


class Identity(NamedTuple):
    """What tells a file from others, in the kernel's numbers."""

    device: int
    inode: int
    generation: int


class Found(NamedTuple):
    """What is found under a path."""

    identity: Identity
    size: int  # bytes


def _identity(name: Name) -> Identity:
    """The file that had this name first."""
    _dentry, _chain, inode, device, generation, _mnt_ns, _pad = FileKey.struct.unpack(name.key)
    return Identity(device, inode, generation)


class Fates:
    """Asks for files by their ids; what is found out goes to `Names.fates`."""

    def __init__(
        self,
        names: Names,
        maps: Mapping[str, Map[Any]],
        run: Optional[Callable[[], None]],
        take: Callable[[], None],
        whereabouts: Callable[[], Whereabouts],
        *,
        at_once: int = ASKED_ROWS,
    ) -> None:
        """`run` runs the program `ask`, which answers `at_once` rows, None where it could not be loaded; `take` takes
        events."""
        self._names = names
        self._run = run
        self._take = take
        self._at_once = at_once
        self._whereabouts = whereabouts
        self._kept: Optional[Whereabouts] = None
        self._looks, self._counted = _LOOKS, 0.0  # how many there may be, at that time
        self._mounts: Dict[int, Mounts] = {}  # by mount namespace
        self._looked = -math.inf  # when
        self._devices: Dict[Tuple[int, bytes], int] = {}  # of paths in mount namespaces
        self._rows: Optional[MemoryMap] = None  # of the map `asked`, where it is shared memory
        if run is not None:
            asked = maps["asked"]
            self._put_row, self._read_row = asked.setter(), asked.finder()
            if isinstance(asked, Array) and asked.spec.flags & MMAPABLE and asked.stride == AskFile.size:
                self._rows = asked.mmap()
            self._put_task = maps["asking"].setter()

    def ask(self, ids: Iterable[int]) -> None:
        """Find out about these files, all of which have names."""
        first = self._names.first
        wanted = [file_id for file_id in ids if not first[file_id].unreachable]
        sizes: Dict[int, int] = {}
        verdicts = self._verdicts(wanted, sizes)
        states: Dict[int, Optional[str]] = {file_id: PRESENT for file_id in wanted if verdicts[file_id] == ASK_SAME}
        for file_id in states:  # it may have had another name meanwhile
            self._names.renamed.pop(file_id, None)
        # A dentry that was dropped to save memory looks like one whose file is gone: only the path can tell.
        by_path = [file_id for file_id in wanted if file_id not in states]
        by_path += self._covered(list(states))
        own = [file_id for file_id in wanted if first[file_id].fstype in OWN_DEVICES]
        if by_path or own:
            with self._asked() as whereabouts:
                found = self._by_path(whereabouts, by_path, sizes)
                states.update((file_id, state) for file_id, state in found.items() if state or file_id not in states)
                self._learn(whereabouts, own)
        for file_id in wanted:
            more = self._device(file_id) if own else None, sizes.get(file_id)
            self._names.fates[file_id] = Fate(states.get(file_id), self._renamed_to(file_id), *more)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within, the child that asks for paths is kept from one `ask` to the next.

        To make one takes as long as to ask for dozens of paths: all memory that is written to has to be copied then.
        """
        with self._whereabouts() as kept:
            self._kept = kept
            try:
                yield
            finally:
                self._kept = None

    @contextmanager
    def _asked(self) -> Iterator[Whereabouts]:
        if self._kept is not None:
            self._kept.renew()
            yield self._kept
        else:
            with self._whereabouts() as whereabouts:
                yield whereabouts

    def learn(self) -> None:
        """Ask for what may not be there any more in the end: the devices of file systems that have many."""
        if not self._names.uncertain:
            return
        now = time.monotonic()
        self._looks = min(self._looks + (now - self._counted) / _LEARN_S, _LOOKS)
        self._counted = now
        if self._looks < 1:
            return
        self._looks -= 1
        ids = [file_id for file_id in self._names.uncertain if file_id in self._names.first]
        self._names.uncertain.clear()
        with self._whereabouts() as whereabouts:
            self._learn(whereabouts, ids)

    # -- by the kernel's objects ------------------------------------------------------------------------------------

    def _verdicts(self, ids: Sequence[int], sizes: Dict[int, int]) -> Dict[int, int]:
        """By file; sizes that could be seen go to `sizes`."""
        found: Dict[int, int] = {}
        first, verdict, seen = self._names.first, AskFile.verdict.index, AskFile.seen.index
        for start in range(0, len(ids), ASKED_ROWS):
            batch = ids[start : start + ASKED_ROWS]
            rows = self._answers([_row(first[file_id]) for file_id in batch])
            verdicts = [row[verdict] for row in rows]
            found.update(zip(batch, verdicts))
            sizes.update((file_id, row[seen] - 1) for file_id, row in zip(batch, rows) if row[seen])
            moved = [(row, file_id) for row, file_id in enumerate(batch) if verdicts[row] == ASK_MOVED]
            for some in range(0, len(moved), _WALKS):
                self._follow(moved[some : some + _WALKS])
        return found

    def _answers(self, rows: Sequence[bytes]) -> List[Tuple[int, ...]]:
        """The rows as the program has left them."""
        if self._run is None:
            return [AskFile.struct.unpack(row) for row in rows]
        try:
            self._put_rows(rows)
            for start in range(0, len(rows), self._at_once):
                count = min(self._at_once, len(rows) - start)
                self._put_task(_FIRST, Asking.struct.pack(0, start, count, 0, 0))
                self._run()
            return list(AskFile.struct.iter_unpack(self._read_rows(len(rows))))
        except BpfError:  # then nobody can tell
            self._run = None
            return [AskFile.struct.unpack(row) for row in rows]

    def _put_rows(self, rows: Sequence[bytes]) -> None:
        if self._rows is not None:
            joined = b"".join(rows)
            self._rows[: len(joined)] = joined
            return
        for number, row in zip(_NUMBERS, rows):
            self._put_row(number, row)

    def _read_rows(self, count: int) -> bytes:
        if self._rows is not None:
            return self._rows[: count * AskFile.size]
        return b"".join(self._read_row(number) or b"" for number in _NUMBERS[:count])

    def _follow(self, rows: Sequence[Tuple[int, int]]) -> None:
        """Have the paths sent that files have by now, which go to `Names.renamed`: each by its row, and its id."""
        for row, file_id in rows:
            with suppress(BpfError):
                self._put_task(_FIRST, Asking.struct.pack(0, row, 1, 1, file_id))
                if self._run is not None:
                    self._run()
        self._take()

    def _renamed_to(self, file_id: int) -> Optional[bytes]:
        path = self._names.renamed.get(file_id)
        return None if path == self._names.first[file_id].path else path

    def _covered(self, ids: Sequence[int]) -> List[int]:
        """Those of the files whose paths may lead to something else by now, since it is mounted over them."""
        now = time.monotonic()
        if now >= self._looked + _LEARN_S:
            self._looked = now
            self._mounts.clear()
        found: List[int] = []
        for mnt_ns, group in _by_namespace(self._names, ids).items():
            mounts = self._mounts.get(mnt_ns)
            if mounts is None:
                with self._whereabouts() as whereabouts:
                    mounts = self._mounts[mnt_ns] = whereabouts.mounts(mnt_ns)
            for file_id in group:
                name = self._names.first[file_id]
                if mounts.may_hide(name.path, device_name(_identity(name).device).encode()):
                    found.append(file_id)
        return found

    # -- by their paths ---------------------------------------------------------------------------------------------

    def _by_path(self, whereabouts: Whereabouts, ids: Sequence[int], sizes: Dict[int, int]) -> Dict[int, Optional[str]]:
        found: Dict[int, Optional[str]] = {}
        first = self._names.first
        for mnt_ns, group in _by_namespace(self._names, ids).items():
            by_path: Dict[bytes, List[int]] = {}  # a name that is used again and again is asked for once
            for file_id in group:
                by_path.setdefault(first[file_id].path, []).append(file_id)
            left = iter(by_path.values())
            for answers in whereabouts.ask(mnt_ns, list(by_path)):
                there = iter(self._identities(answers))
                for answer, named in zip(answers, left):
                    if answer.descriptor < 0:
                        state = DELETED if answer.absent else None
                        for file_id in named:
                            found[file_id] = state
                        continue
                    place = next(there)
                    for file_id in named:
                        found[file_id] = _compared(place, _identity(first[file_id]))
                        if place is not None and found[file_id] == PRESENT:
                            sizes[file_id] = place.size
        return found

    def _identities(self, answers: Sequence[Answer]) -> List[Optional[Found]]:
        """What the descriptors among the answers refer to."""
        rows = [
            AskFile.pack(descriptor=answer.descriptor, verdict=ASK_UNKNOWN)
            for answer in answers
            if answer.descriptor >= 0
        ]
        found: List[Optional[Found]] = []
        for row in self._answers(rows):
            known = row[AskFile.verdict.index] == ASK_DESCRIPTOR
            words = (row[place.index] for place in (AskFile.device, AskFile.number, AskFile.generation))
            found.append(Found(Identity(*words), row[AskFile.seen.index] - 1) if known else None)
        return found

    # -- devices ----------------------------------------------------------------------------------------------------

    def _device(self, file_id: int) -> Optional[int]:
        """st_dev of a file, as far as it was asked for."""
        name = self._names.first[file_id]
        places = ((_namespace(name), path) for path in (name.path, os.path.dirname(name.path)))
        return next((self._devices[place] for place in places if place in self._devices), None)

    def _learn(self, whereabouts: Whereabouts, ids: Sequence[int]) -> None:
        """Ask for the directories that files are in, as a subvolume begins with a directory; where those are on
        another file system, as a file may be mounted by itself, for the files."""
        if len(self._devices) > _MANY:
            self._devices.clear()
        for path_of in (os.path.dirname, bytes):
            left = [file_id for file_id in ids if self._device(file_id) is None]
            for mnt_ns, group in _by_namespace(self._names, left).items():
                names = [self._names.first[file_id] for file_id in group]
                wanted = {path_of(name.path): _identity(name).device for name in names}
                self._ask_devices(whereabouts, mnt_ns, wanted)

    def _ask_devices(self, whereabouts: Whereabouts, mnt_ns: int, wanted: Dict[bytes, int]) -> None:
        """st_dev of these paths, if they are on the super block with that device."""
        left = iter(wanted.items())
        for answers in whereabouts.ask(mnt_ns, list(wanted), devices=True):
            there = iter(self._identities(answers))
            for answer, (path, device) in zip(answers, left):
                found = next(there) if answer.descriptor >= 0 else None
                if found is not None and found.identity.device == device:
                    self._devices[mnt_ns, path] = answer.device


def _row(name: Name) -> bytes:
    dentry, chain, inode, _device, generation, _mnt_ns, _pad = FileKey.struct.unpack(name.key)
    where = dentry, name.mount, name.inode, inode, chain
    return AskFile.struct.pack(*where, generation, ASK_NO_DESCRIPTOR, ASK_UNKNOWN, 0, 0)


def _compared(there: Optional[Found], known: Identity) -> Optional[str]:
    if there is None:
        return None
    return PRESENT if there.identity == known else REPLACED


def _by_namespace(names: Names, ids: Sequence[int]) -> Dict[int, List[int]]:
    groups: Dict[bytes, List[int]] = {}
    first = names.first
    for file_id in ids:
        word = first[file_id].key[_MNT_NS]
        if word in groups:
            groups[word].append(file_id)
        else:
            groups[word] = [file_id]
    return {int.from_bytes(word, "little"): group for word, group in groups.items()}


def _namespace(name: Name) -> int:
    """The inode number of the mount namespace that a file was seen in."""
    return int.from_bytes(name.key[_MNT_NS], "little")
